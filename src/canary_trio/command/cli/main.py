"""The command `canary`: serve a service, and look at and change its document.

Exit status: 0 done; 1 refused or failed, with one line on stderr per fault; 2 wrong
usage; 3 written, but when `--wait` ran out not live everywhere, no proxy was live, or
the store went away before that was known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from canary_health.commands import health_of
from canary_health.finite import Finite
from canary_trio.command.cli.changes.documents import apply, get, schema, set_, validate
from canary_trio.command.cli.changes.secret import secret
from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.passwd import passwd
from canary_trio.command.cli.rollout.simulate import rollout
from canary_trio.command.cli.serve import serve
from canary_trio.command.cli.views.explain import explain
from canary_trio.command.cli.views.status import services, status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="canary-trio")
def main() -> None:
    """A canary-release reverse proxy that is reconfigured while it runs."""


for _command in (
    serve,
    get,
    set_,
    apply,
    validate,
    schema,
    explain,
    status,
    secret,
    rollout,
    passwd,
    services,
):
    main.add_command(_command)


main.add_command(health_of("canary"))


@main.command()
@click.option(
    "--for",
    "for_s",
    type=Finite(min=0.1),
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
    from canary_trio.command.cli.demo.run import run  # noqa: PLC0415

    failure = run(**options)
    if failure:
        store_options.fail(failure)
