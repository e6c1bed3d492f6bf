"""docs/commands.md names each command once, and what it says of all of them holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
GROUPS = {"canary": canary, "kv-trio": kv_trio}


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        if isinstance(below, click.Group):
            yield from commands(below, *path, name)
        else:
            yield (*path, name)


ALL = [path for name, group in GROUPS.items() for path in commands(group, name)]


def test_each_command_has_one_row_of_exit_statuses() -> None:
    table = PAGE.read_text().partition("## Exit statuses")[2].partition("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = Counter(re.findall(r"`([^`]+)`", " ".join(rows)))

    assert named == Counter(" ".join(path) for path in ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_wrong_usage_is_status_2(path: tuple[str, ...]) -> None:
    name, *rest = path
    ran = CliRunner().invoke(GROUPS[name], [*rest, "--no-such-option"])

    assert ran.exit_code == 2
    assert "--no-such-option" in ran.output


@pytest.mark.parametrize("name", GROUPS)
def test_commands_and_options_are_completed(name: str) -> None:
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    assert f"{variable}=bash_source {name}" in PAGE.read_text()
    complete = BashComplete(GROUPS[name], {}, name, variable)

    assert [one.value for one in complete.get_completions([], "hist")] == ["history"]
    found = complete.get_completions(["history"], "--config")
    assert [one.value for one in found] == ["--config-server"]
