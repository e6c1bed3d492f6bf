"""The command `canary admin-token`: a token for who may ask admin listeners."""

from __future__ import annotations

import click


@click.command("admin-token")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["read", "write"]),
    default="read",
    show_default=True,
    help="What it may do; write includes read.",
)
def admin_token(name: str, role: str) -> None:
    """Make a token: its secret on stderr, its lines for the file of tokens on stdout.

    The file is that of `canary serve --admin-token-file`. For example: canary admin-token
    grafana >> admin.toml
    """
    from canary_trio.admin.asking.tokens import make_admin_token  # noqa: PLC0415  # keeps --help quick

    try:
        secret, lines = make_admin_token(name, role)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    click.echo(f"secret, shown only now: {secret}", err=True)
    click.echo("\n" + lines, nl=False)
