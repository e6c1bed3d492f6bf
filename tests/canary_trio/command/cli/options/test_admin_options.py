"""Options about admin listeners: what goes together, and what a secret's file must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from canary_trio.admin.asking.client import AdminCredentials
from canary_trio.command.cli.options.admin_options import (
    DEFAULT_ADMIN,
    asker_options,
    credentials,
    listener_options,
    settle_admin,
)
from http_trio import Tls


@click.command()
@listener_options
def serve(admin: str | None) -> dict[str, Any]:
    """Give what the options come to."""
    return settle_admin(admin, None)


@click.command()
@asker_options
def ask() -> AdminCredentials:
    """Give what is shown."""
    return credentials()


@pytest.mark.parametrize(
    ("words", "admin", "tls"),
    [
        ([], DEFAULT_ADMIN, None),
        (["--admin", "0.0.0.0:1", "--admin-open"], "0.0.0.0:1", None),
        (["--no-admin"], None, None),
        (
            ["--admin-tls-cert", "a", "--admin-tls-client-ca", "c"],
            DEFAULT_ADMIN,
            Tls(Path("a"), client_ca=Path("c"), client_required=False),
        ),
    ],
)
def test_what_they_come_to(
    words: list[str], admin: str | None, tls: Tls | None
) -> None:
    given = serve.main(words, standalone_mode=False)

    assert (given["admin"], given.get("admin_tls")) == (admin, tls)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-admin", "--admin", "a:1"], "--admin and --no-admin"),
        (["--no-admin", "--admin-open"], "--admin-open and --no-admin"),
        (["--no-admin", "--admin-host", "a"], "--admin-host and --no-admin"),
        (
            ["--no-admin", "--admin-token-file", "a"],
            "--admin-token-file and --no-admin",
        ),
        (["--no-admin", "--admin-tls-cert", "a"], "--admin-tls-cert and --no-admin"),
        (["--admin-tls-key", "a"], "--admin-tls-key needs an --admin-tls-cert"),
        (["--admin-tls-client-ca", "a"], "--admin-tls-client-ca needs an"),
        (["--admin", "a:1,proxy"], "the PROXY protocol is for clients only"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(words: list[str], said: str) -> None:
    ran = CliRunner().invoke(serve, words)

    assert ran.exit_code == 2
    assert said in ran.output


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o660, 0o602])
def test_a_secret_that_others_can_read_or_write_is_refused(
    mode: int, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("s\n")
    file.chmod(mode)
    ran = CliRunner().invoke(
        ask, ["--admin-token-file", str(file)], standalone_mode=False
    )

    if mode in (0o600, 0o400, 0o640):
        assert ran.return_value == AdminCredentials("s")
    else:
        assert isinstance(ran.exception, click.UsageError)
        assert "others can read or write it" in str(ran.exception)


@pytest.mark.parametrize("text", ["", "two words", '[[token]]\nname = "a"\n'])
def test_a_file_that_holds_no_secret_is_wrong_usage(text: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(0o600)

    assert CliRunner().invoke(ask, ["--admin-token-file", str(file)]).exit_code == 2


def test_where_it_is_shown_is_what_was_named(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ran = CliRunner().invoke(ask, ["--admin-ca", str(ca)])
    assert (ran.exit_code, "does not exist" in ran.output) == (2, True)
    ca.write_text("")
    words = ["--admin-ca", str(ca), "--admin-at", "a:1", "--admin-at", "b:2"]
    given = ask.main(words, standalone_mode=False)

    assert given == AdminCredentials(None, ca=ca, named=frozenset({"a:1", "b:2"}))


@pytest.mark.parametrize(
    ("option", "value", "is_right"),
    [
        ("--admin-address", "proxy-1.example:8081", True),
        ("--admin-address", "https://proxy-1.example:8081", True),
        ("--admin-address", "https://[2001:db8::1]:8081", True),
        ("--admin-address", "unix:/run/canary.sock", True),
        ("--admin-address", "http://proxy:8081", False),
        ("--admin-address", "proxy", False),
        ("--admin-address", "proxy:http", False),
        ("--admin-address", "proxy:0", False),
        ("--admin-address", "proxy:65536", False),
        ("--admin-address", "proxy:" + "9" * 5000, False),
        ("--admin-address", "user@proxy:8081", False),
        ("--admin-address", "proxy:8081/status", False),
        ("--admin-address", "a b:1", False),
        ("--admin-address", "2001:db8::1:8081", False),
        ("--admin-address", "", False),
        ("--admin-at", "10.0.0.1:8081", True),
        ("--admin-at", "https://10.0.0.1:8081", False),
        ("--admin-at", "10.0.0.1", False),
        ("--admin-host", "canary.example.org", True),
        ("--admin-host", "a b", False),
        ("--admin-host", "https://a", False),
        ("--admin-host", "", False),
    ],
)
def test_an_address_that_nobody_could_ask_is_refused(
    option: str, value: str, *, is_right: bool
) -> None:
    command = ask if option == "--admin-at" else serve
    found = CliRunner().invoke(command, [option, value])

    assert found.exit_code == (0 if is_right else 2)
    if not is_right:
        assert f"{option} {value!r}: expected " in found.output
