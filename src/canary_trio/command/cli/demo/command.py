"""The command `canary demo`: its options; what it does is imported when it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from canary_health.durations import Duration
from canary_trio.command.cli.options import store_options


@click.command()
@click.option(
    "--for",
    "for_s",
    type=Duration(min=0.1),
    metavar="TIME",
    help="End by itself.  [default: run until Ctrl-C]",
)
@click.option("--bind", default="127.0.0.1:8080", show_default=True)
@click.option("--admin", default="127.0.0.1:8081", show_default=True)
@click.option("--store", default="127.0.0.1:8500", show_default=True)
@click.option(
    "--data",
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store's directory.  [default: one that is removed at the end]",
)
def demo(**options: Any) -> None:
    """Run two example versions, a store and a proxy in one process, and watch."""
    from canary_trio.command.cli.demo.run import run  # noqa: PLC0415

    failure = run(**options)
    if failure:
        store_options.fail(failure)
