"""What a command shows a store: the secret of an option, or of a file."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kv_trio.cli.connect import ConnectOptions, connect_options


@click.command()
@connect_options
def show(target: ConnectOptions) -> None:
    """Show what a command was told."""
    click.echo(f"{target.url} {target.token}")


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"secret\n", 0, "http://127.0.0.1:8500 secret\n"),
        (b"", 1, "expected one word"),
        (b"two words", 1, "expected one word"),
        (b"\xff", 1, "beyond ASCII"),
        (None, 1, "No such file"),
    ],
)
@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_secret_is_read_from_a_file(
    content: bytes | None, status: int, said: str, by: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    env = {"CANARY_TOKEN_FILE": str(file)} if by == "variable" else {}
    words = ["--token-file", str(file)] if by == "option" else []
    ran = CliRunner().invoke(show, words, env=env)

    assert ran.exit_code == status
    assert said in ran.output
