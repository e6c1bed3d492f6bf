"""Files of users: read whole or not at all, and written so that nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from canary_trio.errors import BadPasswords
from canary_trio.proxy.auth import password_file, password_hash
from canary_trio.proxy.auth.password_file import (
    USER_BYTES,
    USERS,
    check_user,
    delete_user,
    load_passwords,
    set_password,
)
from canary_trio.proxy.auth.password_hash import BadHash

HASH = "$scrypt$ln=1,r=1,p=1$" + "A" * 22 + "$" + "A" * 43


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_hash, "_LN", 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "staff"


def test_users_are_added_changed_and_deleted(file: Path) -> None:
    assert set_password(file, "ann", "one")
    assert set_password(file, "bob", "two")
    assert not set_password(file, "ann", "three")
    users = load_passwords(file).users
    assert list(users) == ["ann", "bob"]
    assert users["ann"].matches(b"three")
    assert not users["ann"].matches(b"one")

    assert delete_user(file, "ann")
    assert not delete_user(file, "ann")
    assert list(load_passwords(file).users) == ["bob"]


def test_what_else_is_in_a_file_stays(file: Path) -> None:
    file.write_text(f"# staff\n\nann:{HASH}:a note\n#bob:{HASH}\n")
    set_password(file, "bob", "x")
    set_password(file, "ann", "y")

    rows = file.read_text().splitlines()
    assert rows[0] == "# staff"
    assert [row.partition(":")[0] for row in rows] == [
        "# staff",
        "",
        "ann",
        "#bob",
        "bob",
    ]


def test_a_file_is_for_its_owner(file: Path) -> None:
    set_password(file, "ann", "one")
    assert file.stat().st_mode & 0o777 == 0o600

    for before, after in (
        (0o644, 0o640),
        (0o640, 0o640),
        (0o600, 0o600),
        (0o606, 0o600),
    ):
        file.chmod(before)
        set_password(file, "ann", "two")
        assert file.stat().st_mode & 0o777 == after


def test_a_link_stays_one(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    set_password(file, "ann", "one")
    link.symlink_to(file)
    set_password(link, "bob", "two")

    assert link.is_symlink()
    assert list(load_passwords(file).users) == ["ann", "bob"]


def test_a_write_that_fails_leaves_what_was_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_password(file, "ann", "one")
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadPasswords, match="No space left"):
        set_password(file, "bob", "two")

    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_two_who_write_do_not_lose_a_user(file: Path) -> None:
    (file.parent / ".staff.unfinished").touch()

    with pytest.raises(BadPasswords, match="somebody else writes it now"):
        set_password(file, "ann", "one")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ann\n", "line 1: found no colon"),
        (
            f"# a\nann:{HASH}\nann:{HASH}\n".encode(),
            "line 3: found 'ann' a second time",
        ),
        (f":{HASH}\n".encode(), "line 1: found ''"),
        (b"ann:secret\n", "line 1: found no hash that is known"),
        (b"ann:\n", "no hash that is known"),
        (b"\xff:\n", "bad byte at 0"),
        (f"a\x00b:{HASH}\n".encode(), "expected a user's name"),
        (f"{'a' * (USER_BYTES + 1)}:{HASH}\n".encode(), "expected a user's name"),
    ],
)
def test_a_file_with_a_fault_is_not_taken(
    file: Path, content: bytes, words: str
) -> None:
    file.write_bytes(content)

    with pytest.raises(BadPasswords) as caught:
        load_passwords(file)

    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "secret" not in str(caught.value)


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "regular file"),
    ):
        with pytest.raises(BadPasswords, match=words):
            load_passwords(path)


def test_a_file_has_a_size(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("".join(f"u{number}:{HASH}\n" for number in range(USERS + 1)))
    with pytest.raises(BadPasswords, match="more than 10000 users"):
        load_passwords(file)
    monkeypatch.setattr(password_file, "FILE_BYTES", 100)
    with pytest.raises(BadPasswords, match="more than 100 bytes"):
        load_passwords(file)


def test_an_empty_file_lets_nobody_in(file: Path) -> None:
    file.write_text("# nobody\n")
    found = load_passwords(file)

    assert not found.users
    assert not found.decoy().matches(b"")


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", " a", "#a", "a\x9b", "\udc80"])
def test_a_users_name_has_a_form(name: str, file: Path) -> None:
    with pytest.raises(BadHash, match="expected a user's name"):
        check_user(name)
    with pytest.raises(BadHash):
        set_password(file, name, "x")
    assert not file.exists()
