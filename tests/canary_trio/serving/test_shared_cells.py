"""Processes that count together: real ones, on one cell, at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from canary_trio.routing.access.cells import WAYS
from canary_trio.serving.shared_cells import (
    RangeLock,
    inherited_cells,
    shared_memory,
)

DAY = 86_400 * 10**9
BURST = 200

TAKES = """
import sys, time
from canary_trio.serving import shared_cells
from canary_trio.serving.shared_cells import inherited_cells
shared_cells.PAUSES = 10**6  # however busy the machine is
cells = inherited_cells(int(sys.argv[1]))

class Slow:  # others have their turn between what is read and what is written
    def __init__(self, view): self.view = view
    def __setitem__(self, at, value): self.view[at] = value
    def __getitem__(self, at):
        found = self.view[at]
        time.sleep(0 if isinstance(at, slice) else 0.0001)
        return found

cells._view = Slow(cells._view)
key = cells.keys_of(b"web")(b"client")
print("ready", flush=True)
sys.stdin.readline()
interval, burst = int(sys.argv[2]), int(sys.argv[3])
tries = burst * 3 // 4
print(sum(not cells.take(key, 1000, interval, interval * (burst - 1)) for _ in range(tries)))
"""

HOLDS = """
import sys
from canary_trio.serving.shared_cells import RangeLock
print(RangeLock(int(sys.argv[1])).acquire(int(sys.argv[2])), flush=True)
sys.stdin.readline()
"""


def start(code: str, descriptor: int, *arguments: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(descriptor), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[descriptor],
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def memory() -> Iterator[int]:
    with shared_memory(WAYS) as descriptor:
        yield descriptor


def test_no_request_is_counted_twice_or_not_at_all(memory: int) -> None:
    processes = [start(TAKES, memory, DAY, BURST) for _ in range(2)]
    for process in processes:
        assert line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    passed = [int(process.communicate(timeout=30)[0]) for process in processes]

    assert sum(passed) == BURST  # of half as many again
    cells = inherited_cells(memory)
    key = cells.keys_of(b"web")(b"client")
    assert cells.ahead(key, 1000) == BURST * DAY


def test_who_starts_later_finds_what_was_counted(memory: int) -> None:
    first, later = inherited_cells(memory), inherited_cells(memory)
    keys = [cells.keys_of(b"web")(b"client") for cells in (first, later)]

    assert keys[0] == keys[1]
    assert first.take(keys[0], 1000, DAY, 0) == 0
    assert later.take(keys[1], 1000, DAY, 0) == DAY


@pytest.fixture
def holder(memory: int) -> Iterator[subprocess.Popen[str]]:
    process = start(HOLDS, memory, 128)
    assert line(process) == "True"
    yield process
    process.kill()
    process.communicate()


def test_a_process_that_stopped_with_a_lock_holds_up_nobody_for_long(
    memory: int, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    lock = RangeLock(memory)

    assert [lock.acquire(128) for _ in range(1000)] == [False] * 1000
    assert lock.missed == 1  # it waited for the first of them
    assert lock.acquire(256)  # of another set
    lock.release(256)
    cells = inherited_cells(memory)
    assert cells.take(1, 1000, DAY, 0) == 0
    assert cells.take(1, 1000, DAY, 0) == DAY


def test_a_process_that_is_killed_gives_its_lock_back(
    memory: int, holder: subprocess.Popen[str]
) -> None:
    lock = RangeLock(memory)
    assert not lock.acquire(128)

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(timeout=10)

    assert RangeLock(memory).acquire(128)
    assert "missed=1" in repr(lock)
