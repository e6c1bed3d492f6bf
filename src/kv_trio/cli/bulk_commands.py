"""The commands of `kv-trio` for many keys: `export`, `import`, `compact`, `backup`.

What takes long to import is imported inside functions, so that `--help` is quick.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kv_trio.cli.connect import ConnectOptions, as_json, connect_options, run
from kv_trio.cli.output import as_text, fail, show_json

if TYPE_CHECKING:
    from kv_trio.client.client import Client
    from kv_trio.state.txn_operation import TxnOperation

_LOT_OPERATIONS = 64  # of a transaction, as many as every Consul takes
_LOT_BYTES = 500 * 1024  # of a transaction's JSON; servers take 512 KiB
_UINT64 = 2**64


@click.command()
@click.argument("prefix", default="")
@connect_options
def export(prefix: str, target: ConnectOptions) -> None:
    """Print the keys that begin with PREFIX as `consul kv export` does."""
    listing = run(target, lambda client: client.list(prefix))
    shown = [
        {
            "key": as_text(entry.key),
            "flags": entry.flags,
            "value": base64.b64encode(entry.value).decode(),
        }
        for entry in listing.entries
    ]
    click.echo(json.dumps(shown, indent="\t", ensure_ascii=False))


@click.command("import")
@click.argument("file", type=click.File("rb"))
@as_json
@connect_options
def import_(file: Any, target: ConnectOptions, *, as_json: bool) -> None:
    """Write the keys of FILE (- for standard input), which `export` printed.

    The file is checked whole before anything is written. Up to 64 keys are written at
    once, each lot whole or not at all; a value that fills one is written by itself.
    """
    operations = _parse_export(file.read())
    lots = _lots(operations)

    async def write(client: Client) -> None:
        from kv_trio.errors import KvError  # noqa: PLC0415

        written = 0
        try:
            for lot in lots:
                await _write_lot(client, lot, written)
                written += len(lot)
        except KvError as exc:
            fail(f"{exc}; {written} keys are written")

    run(target, write)
    if as_json:
        show_json({"written": len(operations)})
    else:
        click.echo(f"{len(operations)} keys written")


@click.command()
@click.option("--index", type=click.IntRange(min=0), help="Up to this one; else all.")
@as_json
@connect_options
def compact(index: int | None, target: ConnectOptions, *, as_json: bool) -> None:
    """Forget the states that were replaced; the present ones stay."""
    forgotten = run(target, lambda client: client.compact(index))
    if as_json:
        show_json({"forgotten": forgotten})
    else:
        click.echo(f"{forgotten} old states forgotten")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@as_json
@connect_options
def backup(file: Path, target: ConnectOptions, *, as_json: bool) -> None:
    """Write a copy of the whole store to FILE, while it runs.

    To restore it, put it as kv.sqlite into an empty data directory.
    """
    try:
        size = run(target, lambda client: client.back_up(file))
    except OSError as exc:
        fail(f"cannot write {file}: {exc.strerror or exc}")
    if as_json:
        show_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{size} bytes in {file}")


async def _write_lot(client: Client, lot: list[TxnOperation], written: int) -> None:
    if _size_of(lot[0]) > _LOT_BYTES:  # by itself, as no transaction takes it
        (one,) = lot
        await client.put(one.key.decode(), one.value, flags=one.flags)
        return
    outcome = await client.transact(lot)
    if not outcome.done:
        fail(f"{outcome.failed[0].reason}; {written} keys are written")


def _parse_export(data: bytes) -> list[TxnOperation]:
    """Read the output of `export`; all faults are shown at once."""
    from kv_trio.consul.json_body import parse_json  # noqa: PLC0415

    try:
        items = parse_json(data)
    except ValueError as exc:
        fail(f"the file is no JSON: {exc}")
    if not isinstance(items, list):
        fail("the file is no export: expected a list of objects with key and value")
    operations: list[TxnOperation] = []
    faults: list[str] = []
    for number, item in enumerate(items):
        try:
            operations.append(_parse_item(item))
        except (TypeError, KeyError, AttributeError, ValueError) as exc:
            faults.append(f"[{number}]: {exc!r}, expected key, value in base64, flags")
    if faults:
        fail(f"nothing is written, since the file is no export: {'; '.join(faults)}")
    return operations


def _parse_item(item: Any) -> TxnOperation:
    from kv_trio.state.txn_operation import TxnOperation  # noqa: PLC0415

    key, flags = item["key"], item.get("flags", 0)
    if not isinstance(key, str) or not key:
        raise ValueError("the key is no text")
    if type(flags) is not int or not 0 <= flags < _UINT64:
        raise ValueError("the flags are no number of 64 bits")
    value = base64.b64decode(item["value"] or "", validate=True)
    return TxnOperation("set", key, value, flags=flags)


def _lots(operations: list[TxnOperation]) -> list[list[TxnOperation]]:
    """Divide operations into lots that a transaction can take, or of a large one."""
    lots: list[list[TxnOperation]] = []
    total = 0
    for operation in operations:
        size = _size_of(operation)
        total += size
        if not lots or len(lots[-1]) >= _LOT_OPERATIONS or total > _LOT_BYTES:
            lots.append([])
            total = size
        lots[-1].append(operation)
    return lots


def _size_of(operation: TxnOperation) -> int:
    """Give the bytes of an operation in a transaction's JSON."""
    from kv_trio.consul.txn_operation import dump_operation  # noqa: PLC0415

    return len(json.dumps(dump_operation(operation))) + len(", ")
