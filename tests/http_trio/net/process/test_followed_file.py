"""A file is read again when it changes, and nothing that is wrong with it ends that."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from http_trio import FollowedFile


def read_number(path: Path) -> int:
    text = path.read_text()
    if text == "odd":
        raise ZeroDivisionError(text)
    return int(text)


async def test_a_faulty_file_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, path, found = logging.getLogger("followed"), tmp_path / "f", list[int]()
    path.write_text("1")
    file = FollowedFile(path, read_number, fault=ValueError, what="numbers", log=log)
    assert file.value == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run, found.append)
        for text, lines in (("x", 1), ("x", 1), ("odd", 2), ("22", 2)):
            path.write_text(text)
            file.look_soon()
            with trio.fail_after(30):
                while len(caplog.records) < lines or (text == "22" and not found):
                    await trio.sleep(0.001)
            await trio.sleep(0.02)
            assert file.value == (22 if text == "22" else 1)
        nursery.cancel_scope.cancel()

    assert found == [22]
    told = [one.getMessage().partition(":")[0] for one in caplog.records]
    assert told == ["the numbers stay as they were"] * 2


async def test_a_file_that_cannot_be_read_at_first_is_an_error(tmp_path: Path) -> None:
    log = logging.getLogger("followed")
    with pytest.raises(OSError, match="No such file"):
        FollowedFile(tmp_path / "f", read_number, fault=OSError, what="it", log=log)
