"""The command `canary policy`: what a store must let a proxy, or an operator, do."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", metavar="SERVICE")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option(
    "--store",
    type=click.Choice(["kv-trio", "consul", "etcd"]),
    default="kv-trio",
    show_default=True,
    help="Which store is told.",
)
@click.option(
    "--operator", is_flag=True, help="For who changes documents, not for proxies."
)
@click.option(
    "--no-drive",
    is_flag=True,
    help="For proxies that never change a document by themselves: they neither revert what"
    " nobody confirmed, nor take the steps of a rollout, nor can they write the first document (--bootstrap). One"
    " proxy of the fleet must.",
)
def policy(
    name: str, services: tuple[str, ...], *, store: str, operator: bool, no_drive: bool
) -> None:
    """Print the least rights of the proxies of SERVICE, as its store is told them.

    For a gateway, such as @edge, the services of its table follow: canary policy @edge
    web shop --store consul. A Consul is told by a policy, an etcd by the commands that
    make a role, a kv-trio by the command that makes a token.
    """
    from canary_trio.command.cli.options.store_options import fail  # noqa: PLC0415
    from canary_trio.control.sources import policies  # noqa: PLC0415
    from canary_trio.control.store_keys import BadName  # noqa: PLC0415

    if services and (operator or not name.startswith("@")):
        raise click.UsageError("services follow a gateway only, such as @edge web shop")
    try:
        text = policies.policy(
            store, name, services, is_operator=operator, drives=not no_drive
        )
    except BadName as exc:
        fail(str(exc))
    click.echo(text, nl=False)
