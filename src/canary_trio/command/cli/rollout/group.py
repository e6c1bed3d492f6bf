"""The command `canary rollout`: an arm's ratio, raised step by step."""

from __future__ import annotations

import click

from canary_health.command_group import CommandGroup

_HERE = "canary_trio.command.cli.rollout."

COMMANDS = {
    "start": _HERE + "starting:start",
    "lint": _HERE + "starting:lint",
    "status": _HERE + "view:status",
    "simulate": _HERE + "simulate:simulate",
    "finish": _HERE + "finishing:finish",
    "undo": _HERE + "finishing:undo",
    **{
        name: f"{_HERE}telling:{name.replace('-', '_')}"
        for name in (
            *("promote", "pause", "resume", "abort", "retry"),
            *("skip-gate", "approve"),
        )
    },
}
"""Where each command is, as `module:attribute`; it is imported when it is run."""


@click.group(cls=CommandGroup, places=COMMANDS)
def rollout() -> None:
    """Raise the ratio of an arm step by step; see docs/rollouts.md."""
