"""The command `canary passwd`: the users of a file, for `basic_auth` of a document."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from canary_trio.command.cli.options import store_options


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("user")
@click.option(
    "--stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from standard input, up to the end of its first line.",
)
@click.option("--delete", is_flag=True, help="Take USER out of the file.")
def passwd(file: Path, user: str, *, from_stdin: bool, delete: bool) -> None:
    """Give USER a password in FILE, which is made if it is not there.

    The password is asked for, twice, and not shown. What is kept of it is salted and dear to
    guess (scrypt). FILE is replaced whole, with mode 0600; a proxy that serves by it
    (`canary serve --passwords`) takes the change up within seconds, or at SIGHUP at once.
    """
    from canary_trio.errors import BadPasswords  # noqa: PLC0415
    from canary_trio.proxy.auth import password_file  # noqa: PLC0415  # keeps --help quick
    from canary_trio.proxy.auth.password_hash import BadHash  # noqa: PLC0415

    if delete and from_stdin:
        raise click.UsageError("--delete takes no password: leave --stdin out")
    try:
        password_file.check_user(user)
        if delete:
            if not password_file.delete_user(file, user):
                store_options.fail(f"{file}: there is no user {user!r}")
            click.echo(f"{user} is no more in {file}")
            return
        password = _read_line() if from_stdin else _ask()
        is_new = password_file.set_password(file, user, password)
    except (BadHash, BadPasswords) as exc:
        store_options.fail(str(exc))
    click.echo(f"{user} {'is new in' if is_new else 'has a new password in'} {file}")


def _ask() -> str:
    password: str = click.prompt(
        "Password", hide_input=True, confirmation_prompt="The same again"
    )
    return password


def _read_line() -> str:
    line = sys.stdin.buffer.readline()
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
