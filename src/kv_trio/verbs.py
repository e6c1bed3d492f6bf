"""The verbs of the command `kv-trio` that ask a server."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from kv_trio.output import NO_KEY, NOT_HELD, fail, faint, show_json

if TYPE_CHECKING:
    from kv_trio.client import Client, Snapshot
    from kv_trio.core import Entry, Revision
    from kv_trio.txn import Step

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_CA_FILE = "kv_trio.ca_file"  # of the context
_STEPS = 64  # of a transaction; what every Consul takes
_STEP_BYTES = 256 * 1024  # of values in one of them


@attrs.frozen
class Target:
    """The server that is asked, and how."""

    url: str
    token: str | None


def asks(verb: F) -> F:
    """Give a verb the options that say which server is asked."""
    url = click.option(
        "--url",
        envvar="KV_TRIO_URL",
        show_envvar=True,
        default="http://127.0.0.1:8500",
        show_default=True,
        help="The store's server.",
    )
    token = click.option(
        "--token",
        envvar=["KV_TRIO_TOKEN", "CONSUL_HTTP_TOKEN"],
        show_envvar=True,
        help="The secret of a token.",
    )
    ca_file = click.option(
        "--ca-file",
        envvar=["KV_TRIO_CA_FILE", "CONSUL_CACERT"],
        show_envvar=True,
        expose_value=False,
        callback=_keep_ca_file,
        metavar="FILE",
        help="The authorities that an https:// server is verified by, as PEM."
        "  [default: the system's]",
    )
    return url(token(ca_file(verb)))


def _keep_ca_file(context: click.Context, _: click.Parameter, file: str | None) -> None:
    context.meta[_CA_FILE] = file


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("key")
@click.option("--at", type=click.IntRange(min=0), help="What it was at this index.")
@_as_json
@asks
def get(
    key: str, at: int | None, url: str, token: str | None, *, as_json: bool
) -> None:
    """Print a key's value, as it is."""

    async def ask(client: Client) -> Entry | None:
        if at is not None:
            return await client.get_at(key, at)
        return (await client.get(key)).entry

    entry = run(Target(url, token), ask)
    if entry is None:
        fail(f"no key {key!r}" + ("" if at is None else f" at index {at}"), NO_KEY)
    if as_json:
        show_json(describe(entry))
    else:
        sys.stdout.buffer.write(entry.value)
        if sys.stdout.isatty() and not entry.value.endswith(b"\n"):
            click.echo()


@click.command()
@click.argument("key")
@click.argument("value")
@click.option("--cas", type=click.IntRange(min=0), help="Only if at this index.")
@click.option("--flags", type=click.IntRange(min=0, max=2**64 - 1), default=0)
@_as_json
@asks
def put(
    key: str,
    value: str,
    cas: int | None,
    flags: int,
    url: str,
    token: str | None,
    *,
    as_json: bool,
) -> None:
    """Write a key. VALUE is text, @FILE, or - for standard input.

    --cas 0 writes it only if it is absent.
    """
    data = _read_value(value)
    written = run(
        Target(url, token), lambda client: client.put(key, data, cas=cas, flags=flags)
    )
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
@asks
def delete(
    key: str, cas: int | None, url: str, token: str | None, *, recurse: bool
) -> None:
    """Remove a key."""
    if recurse and cas is not None:
        raise click.UsageError("--cas is of one key; leave out --recurse")
    done = run(
        Target(url, token), lambda client: client.delete(key, cas=cas, recurse=recurse)
    )
    if not done:
        fail(f"{key!r} is not at index {cas}: somebody else has changed it", NOT_HELD)


@click.command("list")
@click.argument("prefix", default="")
@_as_json
@asks
def list_(prefix: str, url: str, token: str | None, *, as_json: bool) -> None:
    """Print the keys that begin with PREFIX, with their indexes."""
    listing = run(Target(url, token), lambda client: client.list(prefix))
    if as_json:
        show_json([describe(entry) for entry in listing.entries])
        return
    for entry in listing.entries:
        click.echo(f"{faint(f'{entry.modify_index:>8}')}  {_text(entry.key)}")


@click.command()
@click.argument("key")
@click.option("--prefix", is_flag=True, help="All keys that begin with KEY.")
@_as_json
@asks
def watch(
    key: str, url: str, token: str | None, *, prefix: bool, as_json: bool
) -> None:
    """Print each state of a key as it comes, until Ctrl-C."""

    async def follow(client: Client) -> None:
        if prefix:
            await _follow_prefix(client, key, as_json=as_json)
            return
        async with client.watch(key) as states:
            async for state in states:
                _show_state(key, state, as_json=as_json)

    run(Target(url, token), follow)


@click.command()
@click.argument("key")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@_as_json
@asks
def history(
    key: str, limit: int, url: str, token: str | None, *, as_json: bool
) -> None:
    """Print the states that a key had, the newest first."""
    revisions = run(Target(url, token), lambda client: client.history(key, limit=limit))
    if as_json:
        show_json([describe_revision(revision) for revision in revisions])
        return
    if not revisions:
        fail(f"nothing is known of a key {key!r}", NO_KEY)
    for revision in revisions:
        shown = describe_revision(revision)
        value = "(deleted)" if revision.entry is None else _text(revision.entry.value)
        when = faint(f"{revision.index:>8}  {shown['time']}")
        click.echo(f"{when}  {value}")


@click.command()
@click.argument("prefix", default="")
@asks
def export(prefix: str, url: str, token: str | None) -> None:
    """Print the keys that begin with PREFIX as `consul kv export` does."""
    listing = run(Target(url, token), lambda client: client.list(prefix))
    shown = [
        {
            "key": _text(entry.key),
            "flags": entry.flags,
            "value": base64.b64encode(entry.value).decode(),
        }
        for entry in listing.entries
    ]
    click.echo(json.dumps(shown, indent="\t", ensure_ascii=False))


@click.command("import")
@click.argument("file", type=click.File("rb"))
@asks
def import_(file: Any, url: str, token: str | None) -> None:
    """Write the keys of FILE (- for standard input), which `export` printed.

    The file is checked whole before anything is written. Up to 64 keys are written at
    once, each lot whole or not at all.
    """
    steps = _parse_export(file.read())
    lots = _lots(steps)

    async def write(client: Client) -> None:
        written = 0
        for lot in lots:
            done = await client.transact(lot)
            if not done.done:
                fail(f"{done.failed[0].reason}; {written} keys are written")
            written += len(lot)

    run(Target(url, token), write)
    click.echo(f"{len(steps)} keys written")


@click.command()
@click.option("--index", type=click.IntRange(min=0), help="Up to this one; else all.")
@asks
def compact(index: int | None, url: str, token: str | None) -> None:
    """Forget the states that were replaced; the present ones stay."""
    forgotten = run(Target(url, token), lambda client: client.compact(index))
    click.echo(f"{forgotten} old states forgotten")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@asks
def backup(file: Path, url: str, token: str | None) -> None:
    """Write a copy of the whole store to FILE, while it runs.

    To restore it, put it as kv.sqlite into an empty data directory.
    """
    try:
        size = run(Target(url, token), lambda client: client.back_up(file))
    except OSError as exc:
        fail(f"cannot write {file}: {exc.strerror or exc}")
    click.echo(f"{size} bytes in {file}")


VERBS: tuple[click.Command, ...] = (
    *(get, put, delete, list_, watch, history),
    *(export, import_, compact, backup),
)


def run(target: Target, ask: Callable[[Client], Awaitable[T]]) -> T:
    """Ask the server; a failure is one line and exit status 1."""
    import trio  # noqa: PLC0415  # keeps --help quick, as below

    from http_trio import HttpError  # noqa: PLC0415
    from kv_trio.client import Client  # noqa: PLC0415
    from kv_trio.errors import KvError, StoreUnreachable  # noqa: PLC0415

    ca_file = click.get_current_context().meta[_CA_FILE]

    async def connected() -> T:
        async with Client(target.url, token=target.token, ca_file=ca_file) as client:
            return await ask(client)

    try:
        return trio.run(connected)
    except StoreUnreachable as exc:
        fail(f"{exc}; is the server running?  kv-trio serve")
    except (HttpError, KvError) as exc:
        fail(str(exc))
    except KeyboardInterrupt:
        sys.exit(0)


def describe(entry: Entry) -> dict[str, Any]:
    """Give an entry for programs; a value that is no text is given in base64 only."""
    shown: dict[str, Any] = {"key": _text(entry.key), "index": entry.modify_index}
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
    from kv_trio.render import format_time  # noqa: PLC0415

    time = {"time": format_time(revision.time_ms)}
    if revision.entry is None:
        return {"key": _text(revision.key), "index": revision.index, **time}
    return {**describe(revision.entry), **time}


async def _follow_prefix(client: Client, prefix: str, *, as_json: bool) -> None:
    """Print what is new, and what is gone, each time."""
    known: dict[bytes, Entry] = {}
    async with client.watch_prefix(prefix) as states:
        async for state in states:
            now = {entry.key: entry for entry in state.entries}
            for key in [key for key in known if key not in now]:
                _show(_text(key), None, state.index, as_json=as_json)
            for entry in sorted(now.values(), key=lambda entry: entry.modify_index):
                if known.get(entry.key) != entry:
                    shown = _text(entry.key)
                    _show(shown, entry, entry.modify_index, as_json=as_json)
            known = now


def _show_state(key: str, state: Snapshot, *, as_json: bool) -> None:
    _show(key, state.entry, state.index, as_json=as_json)


def _show(key: str, entry: Entry | None, index: int, *, as_json: bool) -> None:
    if as_json:
        show_json({"key": key, "index": index} if entry is None else describe(entry))
    else:
        value = "(absent)" if entry is None else _text(entry.value)
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
    return value.encode()


def _parse_export(data: bytes) -> list[Step]:
    """Read what `export` printed; all faults are told at once."""
    from kv_trio.txn import Step  # noqa: PLC0415

    try:
        asked = json.loads(data)
    except ValueError as exc:
        fail(f"the file is no JSON: {exc}")
    if not isinstance(asked, list):
        fail("the file is no export: expected a list of objects with key and value")
    steps: list[Step] = []
    faults: list[str] = []
    for at, one in enumerate(asked):
        try:
            value = base64.b64decode(one["value"] or "", validate=True)
            steps.append(Step("set", one["key"], value, flags=one.get("flags", 0)))
        except (TypeError, KeyError, AttributeError, binascii.Error) as exc:
            faults.append(f"[{at}]: {exc!r}, expected key, value in base64, flags")
    if faults:
        fail(f"nothing is written, since the file is no export: {'; '.join(faults)}")
    return steps


def _lots(steps: list[Step]) -> list[list[Step]]:
    """Divide steps into lots that a transaction can take."""
    lots: list[list[Step]] = []
    size = 0
    for step in steps:
        size += len(step.value)
        if not lots or len(lots[-1]) >= _STEPS or size > _STEP_BYTES:
            lots.append([])
            size = len(step.value)
        lots[-1].append(step)
    return lots


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
