"""The options of `canary serve` that say what is logged, where and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_ACCESS_LOG = click.option(
    "--access-log",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    envvar="CANARY_ACCESS_LOG",
    show_envvar=True,
    metavar="FILE",
    help="Where a line per request goes; - for standard output.  [default: nowhere]",
)
_ACCESS_LOG_FORMAT = click.option(
    "--access-log-format",
    type=click.Choice(["json", "text"]),
    default="json",
    envvar="CANARY_ACCESS_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="Lines of JSON, or of the Common Log Format with more behind it.",
)
_LOG_FORMAT = click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    envvar="CANARY_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="How the proxy's own log is written, on standard error.",
)


def log_options(command: F) -> F:
    """Give a command the options of both logs."""
    return _ACCESS_LOG(_ACCESS_LOG_FORMAT(_LOG_FORMAT(command)))
