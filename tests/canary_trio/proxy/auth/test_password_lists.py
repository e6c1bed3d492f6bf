"""Files of users: named plainly, read once, followed, and kept when they break."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from canary_trio.errors import BadPasswords
from canary_trio.proxy.auth.password_lists import PasswordLists
from tests.canary_trio.proxy.auth.test_password_file import HASH


async def looked(lists: PasswordLists) -> None:
    """Let all files be looked at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lists.run)
        await trio.testing.wait_all_tasks_blocked()
        lists.look_soon()
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()


async def test_a_file_is_followed(tmp_path: Path) -> None:
    lists, file = PasswordLists(tmp_path), tmp_path / "staff"
    file.write_text(f"ann:{HASH}\n")
    found = await lists.take("staff")
    assert list(found.current.users) == ["ann"]
    assert await lists.take("staff") is found

    file.write_text(f"ann:{HASH}\nbob:{HASH}\n")
    await looked(lists)
    assert list(found.current.users) == ["ann", "bob"]


async def test_what_makes_no_sense_changes_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lists, file = PasswordLists(tmp_path), tmp_path / "staff"
    file.write_text(f"ann:{HASH}\n")
    found = await lists.take("staff")

    file.write_text("ann:plain\n")
    await looked(lists)
    await looked(lists)
    assert list(found.current.users) == ["ann"]
    assert "line 1" in found.fault
    assert caplog.text.count("the users that were read before stay") == 1

    file.unlink()
    await looked(lists)
    assert list(found.current.users) == ["ann"]
    assert "No such file" in found.fault

    file.write_text(f"bob:{HASH}\n")
    await looked(lists)
    assert (list(found.current.users), found.fault) == (["bob"], "")


async def test_what_never_made_sense_cannot_be_taken(tmp_path: Path) -> None:
    lists = PasswordLists(tmp_path)
    with pytest.raises(BadPasswords, match="No such file"):
        await lists.take("staff")
    (tmp_path / "staff").write_text(f"ann:{HASH}\n")
    assert list((await lists.take("staff")).current.users) == ["ann"]


async def test_without_a_directory_one_is_told_of_the_option() -> None:
    with pytest.raises(BadPasswords, match="--passwords DIR"):
        await PasswordLists().take("staff")
