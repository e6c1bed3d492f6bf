"""How the command speaks: lines for people, JSON for programs, and how it fails."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from kv_trio.state.entry import Entry, Revision

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


def describe(entry: Entry) -> dict[str, Any]:
    """Give an entry for programs; a value that is no text is given in base64 only."""
    shown: dict[str, Any] = {"key": as_text(entry.key), "index": entry.modify_index}
    shown |= {"created": entry.create_index, "flags": entry.flags}
    if entry.session is not None:
        shown["session"] = entry.session
    try:
        shown["value"] = entry.value.decode()
    except UnicodeDecodeError:
        shown["base64"] = base64.b64encode(entry.value).decode()
    return shown


def describe_revision(revision: Revision) -> dict[str, Any]:
    """Give one state of the past for programs."""
    from kv_trio.consul.encode import format_time  # noqa: PLC0415

    time = {"time": format_time(revision.time_ms)}
    if revision.entry is None:
        return {"key": as_text(revision.key), "index": revision.index, **time}
    return {**describe(revision.entry), **time}


def as_text(data: bytes) -> str:
    """Give bytes as text; what is none is marked."""
    return data.decode("utf-8", "replace")
