"""Lines reach the file in order; its trouble never reaches the traffic."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.lowlevel

from canary_trio.telemetry import access_log
from canary_trio.telemetry.access_log import AccessLog, BadLog
from canary_trio.telemetry.counters import Counters
from canary_trio.telemetry.decision_labels import unrouted
from http_trio.net.process import resources

_MARK = unrouted(Counters())


@attrs.define
class _Head:
    method: bytes = b"GET"
    asked: bytes = b"/"


@attrs.define
class Exchange:
    target: bytes = b"/"
    client: str = "192.0.2.7"
    protocol: str = "HTTP/1.1"
    response_bytes: int = 2

    @property
    def head(self) -> _Head:
        return _Head(asked=self.target)


def _record(log: AccessLog, target: bytes = b"/") -> None:
    exchange = cast(Any, Exchange(target))
    log.record(exchange, _MARK, 200, 0.1, server="", request_id=b"", retries=0)


@asynccontextmanager
async def _writing(path: Path) -> AsyncIterator[AccessLog]:
    log = AccessLog(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        with trio.fail_after(30):
            yield log
        nursery.cancel_scope.cancel()


async def _until_handled(log: AccessLog, lines: int) -> None:
    while log.written + log.dropped < lines:
        await trio.sleep(0.005)


def _targets(path: Path) -> list[str]:
    return [json.loads(line)["target"] for line in path.read_bytes().splitlines()]


async def test_lines_are_written_in_order_and_soon(tmp_path: Path) -> None:
    path = tmp_path / "log"
    async with _writing(path) as log:
        for number in range(100):
            _record(log, b"/%d" % number)
        await _until_handled(log, 100)
        assert _targets(path) == [f"/{number}" for number in range(100)]
        _record(log, b"/more")
        await _until_handled(log, 101)

    assert _targets(path)[100:] == ["/more"]
    assert log.dropped == 0


async def test_the_last_lines_are_written_at_the_end(tmp_path: Path) -> None:
    async with _writing(tmp_path / "log") as log:
        _record(log)

    assert log.written == 1
    assert _targets(tmp_path / "log") == ["/"]


async def test_what_comes_after_the_end_harms_nobody(tmp_path: Path) -> None:
    async with _writing(tmp_path / "log") as log:
        pass
    _record(log)

    assert not _targets(tmp_path / "log")


async def test_a_moved_file_is_left_at_the_next_reopening(tmp_path: Path) -> None:
    path = tmp_path / "log"
    async with _writing(path) as log:
        _record(log, b"/old")
        await _until_handled(log, 1)
        path.rename(tmp_path / "log.1")
        _record(log, b"/still old")
        await _until_handled(log, 2)
        log.reopen()
        while not path.exists():
            await trio.sleep(0.005)
        _record(log, b"/new")

    assert _targets(tmp_path / "log.1") == ["/old", "/still old"]
    assert _targets(path) == ["/new"]


async def test_a_file_that_cannot_be_reopened_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dir").mkdir()
    path = tmp_path / "dir" / "log"
    async with _writing(path) as log:
        (tmp_path / "dir").rename(tmp_path / "moved")
        log.reopen()
        _record(log)

    assert "goes on in the old file" in caplog.text
    assert _targets(tmp_path / "moved" / "log") == ["/"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_a_full_disk_costs_lines_which_are_counted() -> None:
    async with _writing(Path("/dev/full")) as log:
        for _ in range(2):
            _record(log)
            await _until_handled(log, 1)
            _record(log)
        await _until_handled(log, 4)

    assert (log.written, log.dropped) == (0, 4)
    assert log.trouble == "No space left on device"


async def test_a_closed_pipe_costs_lines_and_a_new_reader_gets_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    async with _writing(path) as log:
        os.close(reader)
        _record(log, b"/lost")
        await _until_handled(log, 1)
        assert log.dropped == 1

        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        _record(log, b"/read")
        await _until_handled(log, 2)
        said = os.read(reader, 4096)
        os.close(reader)

    assert b"/read" in said
    assert b"/lost" not in said


async def test_a_reader_that_is_stuck_costs_lines_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "BUFFER_BYTES", 10_000)
    monkeypatch.setattr(access_log, "LAST_S", 0.1)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    async with _writing(path) as log:
        while not log.dropped:  # the pipe is full, then the buffer
            for _ in range(100):
                _record(log, b"/" + b"x" * 2000)
            await trio.lowlevel.checkpoint()

    said = os.read(reader, 4096)
    os.close(reader)  # which lets the thread go that still writes
    assert said.startswith(b'{"time"')


async def test_a_line_that_was_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(path)
    os.set_blocking(log._fd, False)  # so that a full pipe is an error at once
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        count = 0
        with trio.fail_after(30):
            while not log.dropped:
                count += 1
                _record(log, b"/" + b"x" * 9999)
                await _until_handled(log, count)
            said = b""
            while len(said) < log.written * 10_000:
                said += os.read(reader, 1 << 20)
            _record(log, b"/next")
            await _until_handled(log, count + 1)
        said += os.read(reader, 1 << 20)
        nursery.cancel_scope.cancel()
    os.close(reader)

    *whole, torn, last = said.splitlines()
    assert len(whole) == log.written - 1
    assert json.loads(last)["target"] == "/next"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(torn)


@pytest.mark.parametrize("where", ["missing/log", "."])
def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path, where: str) -> None:
    with pytest.raises(BadLog, match=r"cannot open the access log .*: "):
        AccessLog(tmp_path / where)


def test_a_pipe_without_a_reader_is_an_error_and_no_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadLog, match="cannot open"):
        AccessLog(tmp_path / "pipe")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_without_descriptors_the_old_file_goes_on(
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(path: Path) -> int:
        raise OSError(code, os.strerror(code), str(path))

    async with _writing(tmp_path / "log") as log:
        monkeypatch.setattr(resources, "open_to_append", refuse)
        log.reopen()
        for number in range(3):
            _record(log)
            await _until_handled(log, number + 1)

    assert caplog.text.count("goes on in the old file") == 1
    assert _targets(tmp_path / "log") == ["/"] * 3
