"""The commands that read, check and change the document of a service.

What is written is checked here first, so a fault is named before anything changes; and a
change goes over the revision that it was made of, so it never undoes another one. One file,
since each of them reads a document, and checks it, in the same words.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import click

from canary_trio.command.cli.changes import writing
from canary_trio.command.cli.changes.writing import How
from canary_trio.command.cli.options import store_options
from canary_trio.control.changes.drafts import Draft

if TYPE_CHECKING:
    from canary_trio.control.changes.pending import PendingChange
    from canary_trio.control.sources.source import KeyStore


@click.command()
@click.argument("service")
@store_options.config_server
@store_options.as_json
def get(service: str, config_server: str, *, as_json: bool) -> None:
    """Print the document of SERVICE; on stderr, what of it waits to be confirmed.

    With --json its revision, and what waits, stand beside it.
    """
    from canary_trio.control.changes.pending import words_of  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.waiting import read_pending  # noqa: PLC0415

    async def read(client: KeyStore) -> tuple[bytes, int, PendingChange | None]:
        text, revision = await read_document(client, service)
        return text, revision, (await read_pending(client, service)).change

    text, revision, change = store_options.ask(config_server, read)
    if as_json:
        waits = None if change is None else change.shown(round(time.time() * 1000))
        table = {"service": service, "revision": revision, "document": _json(text)}
        click.echo(json.dumps({**table, "pending": waits}, indent=2))
        return
    sys.stdout.buffer.write(text)
    sys.stdout.flush()
    if change is not None:
        shown = change.shown(round(time.time() * 1000))
        click.echo(f"canary: {words_of(service, shown)}", err=True)


def _json(text: bytes) -> object:
    """Give what a document is; one that is no JSON, as its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "replace")


@click.command("set")
@click.argument("service")
@click.argument("assignments", nargs=-1, required=True, metavar="FIELD=VALUE...")
@writing.options_rehearsed
def set_(service: str, assignments: tuple[str, ...], how: How) -> None:
    """Change fields of the document of SERVICE: canary set web ratio=0.25 --wait 2.

    A path goes by names and places, as in arms.canary.servers[0].weight=3; names of other
    signs are written ["a.b"]. A value is JSON, or else text. A place behind the end of a
    list adds to it. `canary unset` removes a field.
    """
    from canary_trio.control.changes.assignments import apply_assignments  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415

    async def changed(client: KeyStore) -> Draft:
        text, revision = await read_document(client, service)
        return Draft(apply_assignments(_stored(service, text), assignments), revision)

    writing.write(service, changed, how)


@click.command()
@click.argument("service")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@writing.options
def unset(service: str, paths: tuple[str, ...], how: How) -> None:
    """Remove fields of the document of SERVICE: canary unset web arms.canary.fallback.

    All paths are of the document as it is, so rules[0] rules[1] are the first two rules.
    """
    from canary_trio.control.changes.assignments import remove_fields  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415

    async def changed(client: KeyStore) -> Draft:
        text, revision = await read_document(client, service)
        return Draft(remove_fields(_stored(service, text), paths), revision)

    writing.write(service, changed, how)


@click.command()
@click.argument("service")
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@click.option(
    "--to",
    metavar="N|NAME|SHARE%",
    help="Let only N of the live proxies, or the one of this name, or such a share of the"
    " users (10%) try it, while the rest stay at the present document: until `canary"
    " confirm`, `canary revert`, or the end of --confirm-within (here by default an hour).",
)
@click.option(
    "--judge",
    "judged",
    is_flag=True,
    help="With --to SHARE%: go back by itself, too, where a judge finds it worse than the"
    " present document, by the evidence that judges an arm.",
)
@writing.options_rehearsed
def apply(service: str, file: Path, to: str | None, how: How, *, judged: bool) -> None:
    """Make FILE the document of SERVICE: canary apply web web.json --wait 2.

    FILE is JSON, or by its name YAML (.yaml, .yml) or TOML; - is JSON on standard input.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.errors import NoDocument  # noqa: PLC0415

    text = read_valid(file, service)
    if to is not None:
        from canary_trio.command.cli.changes import trying  # noqa: PLC0415

        trying.try_out(service, parse(text), to, how, judged=judged)
        return
    if judged:
        raise click.UsageError("--judge needs --to SHARE%, such as --to 10%")

    async def replacing(client: KeyStore) -> Draft:
        try:
            revision = (await read_document(client, service))[1]
        except NoDocument:
            revision = 0
        return Draft(parse(text), revision)

    writing.write(service, replacing, how)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[SERVICE] FILE")
@store_options.as_json
def validate(names: tuple[str, ...], *, as_json: bool) -> None:
    """Tell whether FILE is a valid document, and all that is wrong: canary validate web.json.

    It is JSON, or by its name YAML or TOML, as for `apply`. It is taken for the table of a gateway if it has routes, or if SERVICE is such as
    @edge.
    """
    if len(names) > 2:
        raise click.UsageError(f"found {len(names)} arguments, expected [SERVICE] FILE")
    file = Path(names[-1])
    if file.is_dir():
        raise click.BadParameter(f"{file} is a directory, expected a file")
    service = names[0] if len(names) == 2 else None
    if as_json:
        _tell_validity(file, service)
    read_valid(file, service)
    click.echo(f"{file} is valid")


def _tell_validity(file: Path, service: str | None) -> NoReturn:
    """Tell as JSON whether a file holds a valid document; what cannot be read, in words."""
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    problems = []
    try:
        _load_valid(file, service)
    except InvalidConfig as exc:
        problems = [attrs.asdict(problem) for problem in exc.problems]
    click.echo(json.dumps({"valid": not problems, "problems": problems}, indent=2))
    sys.exit(1 if problems else 0)


@click.command()
@click.option("--markdown", is_flag=True, help="Print tables for people instead.")
@click.option("--gateway", is_flag=True, help="Of a gateway's document instead.")
def schema(*, markdown: bool, gateway: bool) -> None:
    """Print the JSON Schema of a document (2020-12): canary schema > canary.json."""
    from canary_trio.config.document import DOCUMENT  # noqa: PLC0415
    from canary_trio.config.json_schema import json_schema, reference  # noqa: PLC0415
    from canary_trio.routing.edge.table_codec import TABLE_SCHEMA  # noqa: PLC0415

    of = TABLE_SCHEMA if gateway else DOCUMENT.schema
    click.echo(reference(of) if markdown else json.dumps(json_schema(of), indent=2))


def read_valid(file: Path, service: str | None = None) -> bytes:
    """Give the JSON of a file that holds a valid document, or end the command.

    Args:
        file: - for standard input.
        service: whose document it is to be; None to tell by what it has.
    """
    from canary_trio.control.changes.formats import yaml_hint  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        return _load_valid(file, service)
    except InvalidConfig as exc:
        hint = yaml_hint(exc.problems, file.name)
        faults = [f"{file}: {problem}" for problem in exc.problems]
        store_options.fail(*faults, *([hint] if hint else []))


def _load_valid(file: Path, service: str | None) -> bytes:
    """Give the JSON of a file that holds a valid document.

    Raises:
        InvalidConfig: what it holds is none.
    """
    from canary_trio.control.changes.documents import check_document  # noqa: PLC0415
    from canary_trio.control.changes.formats import parse_file  # noqa: PLC0415
    from canary_trio.control.store_keys import BadName  # noqa: PLC0415
    from canary_trio.errors import MissingExtra  # noqa: PLC0415

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        store_options.fail(f"cannot read {file}: {exc.strerror}")
    try:
        document = parse_file(text, file.name)
        is_table = "routes" in document and "arms" not in document
        check_document(service or ("@" if is_table else "") + "any", document)
    except BadName as exc:
        store_options.fail(str(exc))
    except MissingExtra as exc:
        store_options.fail(f"{file}: {exc}")
    if file.suffix.lower() in (".yaml", ".yml", ".toml"):
        return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
    return text


def _stored(service: str, text: bytes) -> dict[str, Any]:
    """Give the document of the store, parsed; say what to do where it is none."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        return parse(text)
    except InvalidConfig as exc:
        store_options.fail(
            f"{service}: what the store holds is no document: {exc}",
            f"go back with: canary undo {service}; or write one with: canary apply"
            f" {service} FILE",
        )
