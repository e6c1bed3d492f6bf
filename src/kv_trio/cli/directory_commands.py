"""The commands of whoever operates a store, that ask no server: `check` and `token`.

What takes long to import is imported inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from kv_trio.cli.connect import as_json
from kv_trio.cli.output import fail, show_json


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@as_json
def check(directory: Path, *, as_json: bool) -> None:
    """Read a data DIRECTORY whole, and tell what is wrong with it.

    Its server must not run.
    """
    from kv_trio.errors import KvError  # noqa: PLC0415
    from kv_trio.storage.directory import DATABASE  # noqa: PLC0415
    from kv_trio.storage.engine import StorageEngine  # noqa: PLC0415

    if not (directory / DATABASE).exists():
        fail(f"there is no {DATABASE} in {directory}")
    try:
        engine = StorageEngine(directory)
        try:
            faults, counts = engine.check(), engine.counts()
        finally:
            engine.close()
    except KvError as exc:
        fail(str(exc))
    if as_json:
        show_json({"whole": not faults, "faults": faults, "rows": counts})
    for fault in [] if as_json else faults:
        click.echo(f"kv-trio: {fault}", err=True)
    if faults:
        fail(f"{len(faults)} faults in {directory}; restore it from a backup")
    if not as_json:
        shown = ", ".join(f"{count} {table}" for table, count in counts.items())
        click.echo(f"{directory} is whole: {shown}")


@click.command()
@click.argument("name", required=False)
@click.option("--read", multiple=True, metavar="PREFIX", help="May read below it.")
@click.option("--write", multiple=True, metavar="PREFIX", help="May also write.")
@click.option(
    "--for-proxy",
    multiple=True,
    metavar="SERVICE",
    help="May do what a proxy of `canary serve SERVICE` must; for a gateway, name it and"
    " each of its services: --for-proxy @edge --for-proxy web.",
)
@click.option(
    "--for-operator",
    multiple=True,
    metavar="SERVICE",
    help="May do what somebody must who changes SERVICE with `canary`.",
)
@click.option(
    "--no-drive",
    is_flag=True,
    help="With --for-proxy: not what a proxy needs to change a document by itself, to revert"
    " what nobody confirmed and to take the steps of a rollout; so it cannot write the first"
    " document either (canary serve --bootstrap).",
)
def token(
    name: str | None,
    read: tuple[str, ...],
    write: tuple[str, ...],
    for_proxy: tuple[str, ...],
    for_operator: tuple[str, ...],
    *,
    no_drive: bool,
) -> None:
    """Make a token: its secret on stderr, its lines for the token file on stdout.

    For example: kv-trio token --for-proxy web >> tokens.toml
    or: kv-trio token backup --read "" >> tokens.toml
    """
    from kv_trio.api.tokens import make_token  # noqa: PLC0415
    from kv_trio.state import roles  # noqa: PLC0415

    if no_drive and not for_proxy:
        raise click.UsageError("--no-drive says something of --for-proxy only")
    bad = [one for one in for_proxy + for_operator if not roles.is_name(one)]
    if bad:
        raise click.UsageError(f"{bad[0]!r} is no name of a service or a gateway")
    rights = [
        r for one in for_proxy for r in roles.proxy_rights(one, drives=not no_drive)
    ]
    rights += [r for one in for_operator for r in roles.operator_rights(one)]
    if not read and not write and not rights:
        raise click.UsageError(
            "a token needs a --read or a --write PREFIX, a --for-proxy or a --for-operator"
            " SERVICE, or several of them"
        )
    if name is None and for_proxy:
        name = roles.role_name("proxy", for_proxy[0])
    elif name is None and for_operator:
        name = roles.role_name("operator", for_operator[0])
    elif name is None:
        raise click.UsageError("a token needs a NAME")
    reads = dict.fromkeys([*read, *(r.key for r in rights if not r.writes)])
    writes = dict.fromkeys([*write, *(r.key for r in rights if r.writes)])
    secret, lines = make_token(name, list(reads), list(writes))
    click.echo(f"secret, shown only now: {secret}", err=True)
    click.echo("\n" + lines, nl=False)
