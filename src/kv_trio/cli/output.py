"""The output of the commands: lines for people, JSON for programs, and failures."""

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
    """Print why a command failed, in one line on stderr, and exit."""
    click.echo(f"kv-trio: {reason}", err=True)
    sys.exit(status)


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def faint(text: str) -> str:
    """Give text in a faint colour, which click drops where there is no terminal."""
    return click.style(text, dim=True)


def entry_as_dict(entry: Entry) -> dict[str, Any]:
    """Give an entry as JSON for programs; a value that is no text is in base64."""
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
    """Give one state of the past as JSON for programs."""
    from kv_trio.consul.encode import format_time  # noqa: PLC0415  # so --help is quick

    time = {"time": format_time(revision.time_ms)}
    if revision.entry is None:
        return {"key": as_text(revision.key), "index": revision.index, **time}
    return {**entry_as_dict(revision.entry), **time}


def as_text(data: bytes) -> str:
    """Give bytes as text; those that are no UTF-8 are marked."""
    return data.decode("utf-8", "replace")
