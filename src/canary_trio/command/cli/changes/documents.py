"""The commands that read, check and change the document of a service.

What is written is checked here first, so a fault is named before anything changes; and a
change goes over the revision that it was made of, so it never undoes another one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from canary_health.finite import Finite
from canary_trio.command.cli.changes.written import FIRST_S, Wait, Written, say_written
from canary_trio.command.cli.options import store_options

if TYPE_CHECKING:
    from canary_trio.control.fleet.report import Fleet
    from canary_trio.control.sources.source import KeyStore

_wait_option = click.option(
    "--wait",
    "wait_s",
    type=Finite(min=0, min_open=True),
    metavar="SECONDS",
    help="Return when every live proxy routes by the new revision; status 3 if that is not"
    f" so in time, or no proxy is live (the first is awaited for {FIRST_S:g} s).",
)
_expect_option = click.option(
    "--expect",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --wait: go on until at least N proxies are live; status 3 if they are not"
    " in time.",
)


def _wait(command: store_options.F) -> store_options.F:
    return _wait_option(_expect_option(command))


@click.command()
@click.argument("service")
@store_options.config_server
def get(service: str, config_server: str) -> None:
    """Print the document of SERVICE."""
    from canary_trio.control.changes.documents import read_document  # noqa: PLC0415

    text, _ = store_options.ask(
        config_server, lambda client: read_document(client, service)
    )
    sys.stdout.buffer.write(text)


@click.command("set")
@click.argument("service")
@click.argument("assignments", nargs=-1, required=True, metavar="FIELD=VALUE...")
@store_options.config_server
@_wait
@store_options.as_json
def set_(
    service: str,
    assignments: tuple[str, ...],
    config_server: str,
    wait_s: float | None,
    expect: int | None,
    *,
    as_json: bool,
) -> None:
    """Change fields of the document of SERVICE: canary set web ratio=0.25 --wait 2."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.assignments import apply_assignments  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_document  # noqa: PLC0415

    async def changed(client: KeyStore) -> tuple[dict[str, Any], int]:
        text, revision = await read_document(client, service)
        return apply_assignments(parse(text), assignments), revision

    _write(service, config_server, changed, _waiting(wait_s, expect), as_json=as_json)


@click.command()
@click.argument("service")
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@store_options.config_server
@_wait
@store_options.as_json
def apply(
    service: str,
    file: Path,
    config_server: str,
    wait_s: float | None,
    expect: int | None,
    *,
    as_json: bool,
) -> None:
    """Make FILE (- for standard input) the document of SERVICE."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_document  # noqa: PLC0415
    from canary_trio.errors import NoDocument  # noqa: PLC0415

    text = read_valid(file, service)

    async def replacing(client: KeyStore) -> tuple[dict[str, Any], int]:
        try:
            revision = (await read_document(client, service))[1]
        except NoDocument:
            revision = 0
        return parse(text), revision

    _write(service, config_server, replacing, _waiting(wait_s, expect), as_json=as_json)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[SERVICE] FILE")
def validate(names: tuple[str, ...]) -> None:
    """Tell whether FILE is a valid document, and all that is wrong with it.

    It is taken for the table of a gateway if it has routes, or if SERVICE is such as
    @edge.
    """
    if len(names) > 2:
        raise click.UsageError(f"found {len(names)} arguments, expected [SERVICE] FILE")
    file = Path(names[-1])
    if file.is_dir():
        raise click.BadParameter(f"{file} is a directory, expected a file")
    read_valid(file, names[0] if len(names) == 2 else None)
    click.echo(f"{file} is valid")


@click.command()
@click.option("--markdown", is_flag=True, help="Print tables for people instead.")
@click.option("--gateway", is_flag=True, help="Of a gateway's document instead.")
def schema(*, markdown: bool, gateway: bool) -> None:
    """Print the JSON Schema of a document (draft 2020-12)."""
    from canary_trio.config.document import DOCUMENT  # noqa: PLC0415
    from canary_trio.config.json_schema import json_schema, reference  # noqa: PLC0415
    from canary_trio.routing.edge.table_codec import TABLE_SCHEMA  # noqa: PLC0415

    of = TABLE_SCHEMA if gateway else DOCUMENT.schema
    click.echo(reference(of) if markdown else json.dumps(json_schema(of), indent=2))


def _waiting(wait_s: float | None, expect: int | None) -> Wait | None:
    if wait_s is not None:
        return Wait(wait_s, expect)
    if expect is not None:
        raise click.UsageError("--expect N says what --wait SECONDS is to wait for")
    return None


def _write(
    service: str,
    config_server: str,
    prepare: Callable[[KeyStore], Awaitable[tuple[dict[str, Any], int]]],
    wait: Wait | None,
    *,
    as_json: bool,
) -> None:
    """Write what `prepare` gives over the revision that it gives; wait, and say so."""
    import trio  # noqa: PLC0415

    from canary_trio.control.changes.documents import read_fleet, write_document  # noqa: PLC0415
    from kv_trio import KvError  # noqa: PLC0415

    unconfirmed = ""

    async def write(client: KeyStore) -> tuple[Written, Fleet | None]:
        nonlocal unconfirmed
        document, over = await prepare(client)
        moves_to = str(document.get("config_server") or "").rstrip("/")
        if wait is not None and moves_to not in ("", client.url):
            wait.moves_to = moves_to
            fleet = await read_fleet(client, service, 0)
            wait.before = frozenset(report.id for report in fleet.reports)
        begun = trio.current_time()
        revision = await write_document(client, service, document, over=over)
        found = None
        if wait is not None:
            try:
                found = await wait.run(client, service, revision)
            except KvError as exc:  # of the wait: what is written, is written
                unconfirmed = str(exc)
        took_s = trio.current_time() - begun
        return Written(revision, changed=revision != over, took_s=took_s), found

    written, fleet = store_options.ask(config_server, write)
    if unconfirmed:
        say_written(written, None, None, as_json=as_json)
        click.echo(f"canary: where it is live is not known: {unconfirmed}", err=True)
        sys.exit(3)
    say_written(written, fleet, wait, as_json=as_json)


def read_valid(file: Path, service: str | None = None) -> bytes:
    """Give the text of a file that holds a valid document, or end the command.

    Args:
        file: - for standard input.
        service: whose document it is to be; None to tell by what it has.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import check_document  # noqa: PLC0415
    from canary_trio.control.store_keys import BadName  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        store_options.fail(f"cannot read {file}: {exc.strerror}")
    try:
        document = parse(text)
        is_table = "routes" in document and "arms" not in document
        check_document(service or ("@" if is_table else "") + "any", document)
    except BadName as exc:
        store_options.fail(str(exc))
    except InvalidConfig as exc:
        store_options.fail(*(f"{file}: {problem}" for problem in exc.problems))
    return text
