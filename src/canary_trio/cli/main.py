"""The command `canary`: serve a service, and look at and change its document.

Exit status: 0 done; 1 refused or failed, with one line on stderr per fault; 2 wrong
usage; 3 written, but not live everywhere when `--wait` ran out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from canary_trio.cli import store_options as asking
from canary_trio.cli.explain import explain
from canary_trio.cli.log_options import log_options
from canary_trio.cli.serve_options import listen_options, settle
from canary_trio.cli.status import status

if TYPE_CHECKING:
    from canary_trio.control.documents import Fleet
    from kv_trio import Client

_wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Return when every live proxy routes by the new revision.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A canary-release reverse proxy that is reconfigured while it runs."""


main.add_command(explain)
main.add_command(status)


@main.command()
@click.argument("service")
@asking.config_server
@listen_options
@click.option(
    "--admin", default="127.0.0.1:8081", show_default=True, help="Where /status is."
)
@click.option(
    "--bootstrap",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A document to write if the store has none.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="CANARY_STATE",
    help="Where the last good document is kept.  [default: ~/.local/state/canary-trio]",
)
@click.option("--id", "proxy_id", help="The proxy's name.  [default: HOST-PORT]")
@log_options
def serve(**options: Any) -> None:
    """Serve SERVICE by its document in the store, until SIGTERM or Ctrl-C."""
    from canary_trio.process.serve_process import run  # noqa: PLC0415  # keeps --help quick, as below

    bootstrap = options.pop("bootstrap")
    if bootstrap is not None:
        options["bootstrap"] = _read_valid(bootstrap)
    listening = ("binds", "tls_binds", "tls_cert", "tls_key")
    options |= settle(**{name: options.pop(name) for name in listening})
    failure = run(**options, **click.get_current_context().meta[asking.ASKER])
    if failure:
        asking.fail(failure)


@main.command()
@click.argument("service")
@asking.config_server
def get(service: str, config_server: str) -> None:
    """Print the document of SERVICE."""
    from canary_trio.control.documents import read_document  # noqa: PLC0415

    text, _ = asking.ask(config_server, lambda client: read_document(client, service))
    sys.stdout.buffer.write(text)


@main.command("set")
@click.argument("service")
@click.argument("assignments", nargs=-1, required=True, metavar="FIELD=VALUE...")
@asking.config_server
@_wait
@asking.as_json
def set_(
    service: str,
    assignments: tuple[str, ...],
    config_server: str,
    wait_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Change fields of the document of SERVICE: canary set web ratio=0.25 --wait 2."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.assignments import apply_assignments  # noqa: PLC0415
    from canary_trio.control.documents import read_document  # noqa: PLC0415

    async def changed(client: Client) -> tuple[dict[str, Any], int]:
        text, revision = await read_document(client, service)
        return apply_assignments(parse(text), assignments), revision

    _write(service, config_server, changed, wait_s, as_json=as_json)


@main.command()
@click.argument("service")
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@asking.config_server
@_wait
@asking.as_json
def apply(
    service: str, file: Path, config_server: str, wait_s: float | None, *, as_json: bool
) -> None:
    """Make FILE (- for standard input) the document of SERVICE."""
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.documents import read_document  # noqa: PLC0415
    from canary_trio.errors import NoDocument  # noqa: PLC0415

    text = _read_valid(file)

    async def replacing(client: Client) -> tuple[dict[str, Any], int]:
        try:
            revision = (await read_document(client, service))[1]
        except NoDocument:
            revision = 0
        return parse(text), revision

    _write(service, config_server, replacing, wait_s, as_json=as_json)


@main.command()
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
def validate(file: Path) -> None:
    """Tell whether FILE is a valid document, and all that is wrong with it."""
    _read_valid(file)
    click.echo(f"{file} is valid")


@main.command()
@click.option("--markdown", is_flag=True, help="Print tables for people instead.")
def schema(*, markdown: bool) -> None:
    """Print the JSON Schema of a document (draft 2020-12)."""
    from canary_trio.config.json_schema import json_schema, reference  # noqa: PLC0415

    click.echo(reference() if markdown else json.dumps(json_schema(), indent=2))


@main.command()
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="End by itself.  [default: run until Ctrl-C]",
)
@click.option("--bind", default="127.0.0.1:8080", show_default=True)
@click.option("--admin", default="127.0.0.1:8081", show_default=True)
@click.option("--store", default="127.0.0.1:8500", show_default=True)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store's directory.  [default: one that is removed at the end]",
)
def demo(**options: Any) -> None:
    """Run two example versions, a store and a proxy in one process, and watch."""
    from canary_trio.cli.demo import run  # noqa: PLC0415

    failure = run(**options)
    if failure:
        asking.fail(failure)


def _write(
    service: str,
    config_server: str,
    prepare: Callable[[Client], Awaitable[tuple[dict[str, Any], int]]],
    wait_s: float | None,
    *,
    as_json: bool,
) -> None:
    """Write what `prepare` gives over the revision that it gives; wait, and say so."""
    import trio  # noqa: PLC0415

    from canary_trio.control.documents import read_fleet, wait_applied, write_document  # noqa: PLC0415

    async def write(client: Client) -> tuple[int, Fleet | None, float]:
        document, over = await prepare(client)
        begun = trio.current_time()
        revision = await write_document(client, service, document, over=over)
        if wait_s is None:
            return revision, None, 0.0
        with trio.move_on_after(wait_s):
            fleet = await wait_applied(client, service, revision)
            return revision, fleet, trio.current_time() - begun
        fleet = await read_fleet(client, service, revision)
        return revision, fleet, trio.current_time() - begun

    revision, fleet, took_s = asking.ask(config_server, write)
    _say_written(revision, fleet, took_s, as_json=as_json)


def _say_written(
    revision: int, fleet: Fleet | None, took_s: float, *, as_json: bool
) -> None:
    if fleet is None:
        click.echo(
            json.dumps({"revision": revision})
            if as_json
            else f"revision {revision} written"
        )
        return
    live, known = len(fleet.live), len(fleet.reports)
    lagging = [report.id for report in fleet.lagging]
    refusing = [report.id for report in fleet.refusing]
    if as_json:
        shown: dict[str, object] = {"revision": revision, "live": live}
        shown |= {"proxies": known, "lagging": lagging, "refusing": refusing}
        shown["ms"] = took_s * 1e3
        click.echo(json.dumps(shown))
    else:
        in_time = f" in {took_s * 1e3:.1f} ms"
        click.echo(f"revision {revision} live on {live}/{known} proxies{in_time}")
    if not known:
        click.echo("canary: no proxy of this service is running", err=True)
    for report in fleet.refusing:
        assert report.failed is not None, "that is what refusing means"
        for problem in report.failed.problems:
            click.echo(f"canary: refused by {report.id}: {problem}", err=True)
    if refusing:
        sys.exit(1)
    if lagging:
        click.echo(f"canary: not yet live on: {', '.join(lagging)}", err=True)
        sys.exit(3)


def _read_valid(file: Path) -> bytes:
    from canary_trio.config.document import load  # noqa: PLC0415
    from canary_trio.errors import InvalidConfig  # noqa: PLC0415

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        asking.fail(f"cannot read {file}: {exc.strerror}")
    try:
        load(text)
    except InvalidConfig as exc:
        asking.fail(*(f"{file}: {problem}" for problem in exc.problems))
    return text
