"""A file of roles: what it grants, what is refused of it, and how it changes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.admin.asking.tokens import (
    AdminRole,
    Caller,
    RoleFile,
    Roles,
    make_admin_token,
    parse_roles,
)
from canary_trio.errors import BadToken

HASH = "sha256:" + "0" * 64


@given(st.lists(st.sampled_from(["read", "write"]), min_size=1, max_size=5))
def test_what_was_made_is_found_and_nothing_else(roles: list[str]) -> None:
    made = [make_admin_token(f"t{n}", role) for n, role in enumerate(roles)]
    granted = parse_roles("\n".join(lines for _, lines in made))

    for number, (secret, _) in enumerate(made):
        role = AdminRole.WRITE if roles[number] == "write" else AdminRole.READ
        assert granted.find(secret.encode()) == Caller(f"t{number}", role)
        assert granted.find(secret[:-1].encode()) is None
        assert secret not in "".join(lines for _, lines in made)
    assert granted.find(b"") is None


def test_a_certificate_has_the_role_of_its_subject() -> None:
    text = '[[certificate]]\nsubject = "CN=anna"\nrole = "write"\n'

    assert parse_roles(text) == Roles({}, {"CN=anna": AdminRole.WRITE})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[token]", "no TOML"),
        ("tokens = 1", "tokens: unknown"),
        ("token = 1", "token: expected tables"),
        ("token = [1]", r"token\[0\]: expected a table"),
        (f'[[token]]\nname = "a"\nhash = "{HASH}"', r"role: expected read or write"),
        (f'[[token]]\nname = "a"\nhash = "{HASH}"\nrole = "root"', "role: expected"),
        ('[[token]]\nname = "a"\nrole = "read"\nhash = "secret"', "hash: expected"),
        ('[[token]]\nname = "a"\nrole = "read"', "canary admin-token"),
        (f'[[token]]\nname = "a b"\nhash = "{HASH}"\nrole = "read"', "name: expected"),
        (
            f'[[token]]\nname = "a"\nhash = "{HASH}"\nrole = "read"\n' * 2,
            "a is there already",
        ),
        (
            f'[[token]]\nname = "a"\nhash = "{HASH}"\nrole = "read"\nread = []',
            "read: unknown",
        ),
        ('[[certificate]]\nrole = "read"', "subject: expected"),
        (
            "".join(
                f'[[token]]\nname = "{name}"\nhash = "{HASH}"\nrole = "read"\n'
                for name in "ab"
            ),
            r"token\[1\].hash: it is the secret of a",
        ),
        (
            '[[certificate]]\nsubject = "CN=a"\nrole = "read"\n' * 2,
            r"certificate\[1\].subject: CN=a is there already",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BadToken, match=said):
        parse_roles(text)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "admin.toml"
    file.write_text(make_admin_token("a", "read")[1])
    file.chmod(0o666)

    with pytest.raises(BadToken, match="chmod go-w"):
        RoleFile(file)


async def test_a_change_holds_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "admin.toml"
    file.write_text("")
    file.chmod(0o600)
    roles = RoleFile(file)
    secret, lines = make_admin_token("anna", "write")

    async def until(text: str) -> None:
        roles.look_soon()
        with trio.fail_after(30):
            while text not in caplog.text:
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(roles.run)
        file.write_text(lines)
        await until("1 admin tokens read")
        assert roles.roles.find(secret.encode()) == Caller("anna", AdminRole.WRITE)

        file.write_text("[[token]")
        await until("stay as they were")
        assert roles.roles.find(secret.encode()) == Caller("anna", AdminRole.WRITE)

        file.write_text("")
        await until("0 admin tokens read")
        assert roles.roles.find(secret.encode()) is None
        nursery.cancel_scope.cancel()
