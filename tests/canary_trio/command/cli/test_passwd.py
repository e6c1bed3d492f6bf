"""The command `canary passwd`: asked for, read, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from canary_trio.command.cli.main import main
from canary_trio.proxy.auth import password_hash
from canary_trio.proxy.auth.password_file import load_passwords


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_hash, "_LN", 2)


def passwd(*words: object, typed: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["passwd", *map(str, words)], input=typed)


def test_a_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "staff"
    ran = passwd(file, "ann", typed="secret\nsecret\n")

    assert (ran.exit_code, "secret" in ran.output) == (0, False)
    assert f"ann is new in {file}" in ran.output
    assert load_passwords(file).users["ann"].matches(b"secret")


def test_two_that_differ_are_asked_for_again(tmp_path: Path) -> None:
    file = tmp_path / "staff"
    ran = passwd(file, "ann", typed="secret\nother\nsecret\nsecret\n")

    assert ran.exit_code == 0
    assert load_passwords(file).users["ann"].matches(b"secret")


@pytest.mark.parametrize("typed", [b"a b", b"a b\n", b"a b\r\nmore\n"])
def test_a_program_gives_one_line(tmp_path: Path, typed: bytes) -> None:
    file = tmp_path / "staff"
    ran = passwd(file, "ann", "--stdin", typed=typed)

    assert ran.exit_code == 0
    assert load_passwords(file).users["ann"].matches(b"a b")


def test_a_user_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "staff"
    passwd(file, "ann", "--stdin", typed="x")

    assert passwd(file, "ann", "--delete").exit_code == 0
    assert not load_passwords(file).users
    gone = passwd(file, "ann", "--delete")
    assert (gone.exit_code, gone.stderr) == (
        1,
        f"canary: {file}: there is no user 'ann'\n",
    )


@pytest.mark.parametrize(
    ("words", "typed", "status", "said"),
    [
        (("a:b", "--stdin"), "x", 1, "expected a user's name"),
        (("ann", "--stdin"), "", 1, "found 0 bytes"),
        (("ann", "--stdin"), "x" * 2000, 1, "found 2000 bytes"),
        (("ann", "--stdin", "--delete"), "", 2, "leave --stdin out"),
    ],
)
def test_what_makes_no_sense_writes_nothing(
    tmp_path: Path, words: tuple[str, ...], typed: str, status: int, said: str
) -> None:
    file = tmp_path / "staff"
    ran = passwd(file, *words, typed=typed)

    assert (ran.exit_code, said in ran.stderr) == (status, True)
    assert not file.exists()


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    ran = passwd(tmp_path / "none" / "staff", "ann", "--stdin", typed="x")

    assert ran.exit_code == 1
    assert "No such file" in ran.stderr
