"""The commands of `kv-trio` for a key, or the keys with a prefix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kv_trio.cli.connect import ConnectOptions, as_json, connect_options, run
from kv_trio.cli.output import (
    NO_KEY,
    NOT_HELD,
    as_text,
    describe_revision,
    entry_as_dict,
    fail,
    faint,
    show_json,
)

if TYPE_CHECKING:
    from kv_trio.client.client import Client
    from kv_trio.client.results import Snapshot
    from kv_trio.state.entry import Entry


@click.command()
@click.argument("key")
@click.option("--at", type=click.IntRange(min=0), help="What it was at this index.")
@as_json
@connect_options
def get(key: str, at: int | None, target: ConnectOptions, *, as_json: bool) -> None:
    """Print a key's value, as it is."""

    async def read(client: Client) -> Entry | None:
        if at is not None:
            return await client.get_at(key, at)
        return (await client.get(key)).entry

    entry = run(target, read)
    if entry is None:
        fail(f"no key {key!r}" + ("" if at is None else f" at index {at}"), NO_KEY)
    if as_json:
        show_json(entry_as_dict(entry))
    else:
        sys.stdout.buffer.write(entry.value)
        if sys.stdout.isatty() and not entry.value.endswith(b"\n"):
            click.echo()


@click.command()
@click.argument("key")
@click.argument("value")
@click.option("--cas", type=click.IntRange(min=0), help="Only if at this index.")
@click.option("--flags", type=click.IntRange(min=0, max=2**64 - 1), default=0)
@as_json
@connect_options
def put(
    key: str,
    value: str,
    cas: int | None,
    flags: int,
    target: ConnectOptions,
    *,
    as_json: bool,
) -> None:
    """Write a key. VALUE is text, @FILE, or - for standard input.

    --cas 0 writes it only if it is absent.
    """
    data = _read_value(value)
    written = run(target, lambda client: client.put(key, data, cas=cas, flags=flags))
    if as_json:
        show_json({"done": written.done, "index": written.index})
    if not written.done:
        found = f"it is at {written.index}" if written.index else "it is absent"
        fail(f"{key!r} is not at index {cas}: {found}", NOT_HELD)
    if not as_json:
        click.echo(f"index {written.index}")


@click.command()
@click.argument("key")
@click.option("--recurse", is_flag=True, help="All keys that begin with KEY.")
@click.option("--cas", type=click.IntRange(min=1), help="Only if at this index.")
@as_json
@connect_options
def delete(
    key: str,
    cas: int | None,
    target: ConnectOptions,
    *,
    recurse: bool,
    as_json: bool,
) -> None:
    """Remove a key."""
    if recurse and cas is not None:
        raise click.UsageError("--cas is of one key; leave out --recurse")
    done = run(target, lambda client: client.delete(key, cas=cas, recurse=recurse))
    if as_json:
        show_json({"done": done})
    if not done:
        fail(f"{key!r} is not at index {cas}: it was changed, or is absent", NOT_HELD)


@click.command("list")
@click.argument("prefix", default="")
@as_json
@connect_options
def list_(prefix: str, target: ConnectOptions, *, as_json: bool) -> None:
    """Print the keys that begin with PREFIX, with their indexes."""
    listing = run(target, lambda client: client.list(prefix))
    if as_json:
        show_json([entry_as_dict(entry) for entry in listing.entries])
        return
    for entry in listing.entries:
        click.echo(f"{faint(f'{entry.modify_index:>8}')}  {as_text(entry.key)}")


@click.command()
@click.argument("key")
@click.option("--prefix", is_flag=True, help="All keys that begin with KEY.")
@as_json
@connect_options
def watch(key: str, target: ConnectOptions, *, prefix: bool, as_json: bool) -> None:
    """Print each state of a key as it comes, until Ctrl-C."""

    async def follow(client: Client) -> None:
        if prefix:
            await _follow_prefix(client, key, as_json=as_json)
            return
        async with client.watch(key) as states:
            async for state in states:
                _show_state(key, state, as_json=as_json)

    run(target, follow)


@click.command()
@click.argument("key")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@as_json
@connect_options
def history(key: str, limit: int, target: ConnectOptions, *, as_json: bool) -> None:
    """Print the states that a key had, the newest first."""
    revisions = run(target, lambda client: client.history(key, limit=limit))
    if not revisions:
        fail(f"nothing is known of a key {key!r}", NO_KEY)
    if as_json:
        show_json([describe_revision(revision) for revision in revisions])
        return
    for revision in revisions:
        shown = describe_revision(revision)
        value = "(deleted)" if revision.entry is None else as_text(revision.entry.value)
        when = faint(f"{revision.index:>8}  {shown['time']}")
        click.echo(f"{when}  {value}")


async def _follow_prefix(client: Client, prefix: str, *, as_json: bool) -> None:
    """Print the keys that changed, and those that were deleted, at each change."""
    known: dict[bytes, Entry] = {}
    async with client.watch_prefix(prefix) as states:
        async for state in states:
            now = {entry.key: entry for entry in state.entries}
            for key in [key for key in known if key not in now]:
                _show(as_text(key), None, state.index, as_json=as_json)
            for entry in sorted(now.values(), key=lambda entry: entry.modify_index):
                if known.get(entry.key) != entry:
                    shown = as_text(entry.key)
                    _show(shown, entry, entry.modify_index, as_json=as_json)
            known = now


def _show_state(key: str, state: Snapshot, *, as_json: bool) -> None:
    _show(key, state.entry, state.index, as_json=as_json)


def _show(key: str, entry: Entry | None, index: int, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {"key": key, "index": index} if entry is None else entry_as_dict(entry)
        )
    else:
        value = "(absent)" if entry is None else as_text(entry.value)
        click.echo(f"{faint(f'{index:>8}')}  {key}  {value}")
    sys.stdout.flush()


def _read_value(value: str) -> bytes:
    try:
        if value == "-":
            return sys.stdin.buffer.read()
        if value.startswith("@"):
            return Path(value[1:]).read_bytes()
    except OSError as exc:
        fail(f"cannot read {value[1:]}: {exc.strerror}")
    return value.encode("utf-8", "surrogateescape")  # as the shell gave it
