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
@click.argument("name")
@click.option("--read", multiple=True, metavar="PREFIX", help="May read below it.")
@click.option("--write", multiple=True, metavar="PREFIX", help="May also write.")
def token(name: str, read: tuple[str, ...], write: tuple[str, ...]) -> None:
    """Make a token: its secret on stderr, its lines for the token file on stdout.

    For example: kv-trio token web --read canary/web/ >> tokens.toml
    """
    from kv_trio.api.tokens import make_token  # noqa: PLC0415

    if not read and not write:
        raise click.UsageError("a token needs a --read or a --write PREFIX, or both")
    secret, lines = make_token(name, list(read), list(write))
    click.echo(f"secret, shown only now: {secret}", err=True)
    click.echo("\n" + lines, nl=False)
