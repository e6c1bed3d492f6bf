"""How the command speaks: lines for people, JSON for programs, and how it fails."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

NO_KEY = 3
"""Exit status where there is no such key."""

NOT_HELD = 4
"""Exit status where the condition of a write did not hold."""


def fail(reason: str, status: int = 1) -> NoReturn:
    """Say why it failed, in one line on stderr, and exit."""
    click.echo(f"kv-trio: {reason}", err=True)
    sys.exit(status)


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def faint(text: str) -> str:
    """Give text that stands back, on a terminal; click drops the colour elsewhere."""
    return click.style(text, dim=True)
