"""Kill a store while it is written to, again and again; what it acknowledged is there.

    python -m tests.e2e.crash --rounds 100

In each round the store is started, compared with the record, written to by many
clients at once, and killed (SIGKILL) at some moment; now and then while it starts. The
record is a file to which a line is appended for every write that was acknowledged, and
for every state that a watcher was shown: both are promises. The watchers live on from
round to round, and have to come to the last state.

SIGKILL leaves the kernel's buffers alone, so this says nothing of a power cut; that the
store waits for the disk is tested in `test_durability`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import attrs
import trio

from http_trio.testing.ports import free_port
from kv_trio import Client, TxnOperation
from kv_trio.storage.engine import StorageEngine
from tests.e2e.processes import running
from tests.kv_trio.support.raw_client import Raw
from tests.kv_trio.support.store_model import Delete, Put, Ran, Transact, Wrote

WRITERS = 8
PAIR = ("t/a", "t/b")
COMES_AND_GOES = "d"
KILLED_AFTER_S = 0.12  # at most
STARTING_S = 0.5
PATIENCE_S = 30.0

Write = Callable[[Raw, str], Awaitable[None]]


@attrs.define(eq=False)
class Record:
    """What was promised of each key: a number, which is its value, and its index.

    The numbers of `COMES_AND_GOES` alternate: an even one is a delete.
    """

    file: TextIO
    sent: dict[str, int] = attrs.field(factory=dict)
    promised: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    index: int = 0
    lines: int = 0
    lately: list[tuple[str, int, int]] = attrs.field(factory=list)

    def next(self, key: str) -> int:
        """Take the number of the next write of a key."""
        self.sent[key] = self.sent.get(key, 0) + 1
        return self.sent[key]

    def promise(self, key: str, number: int, index: int) -> None:
        """Note that a client knows of a write."""
        print(json.dumps([key, number, index]), file=self.file, flush=True)
        self.lines += 1
        self.lately.append((key, number, index))
        self.index = max(self.index, index)
        self.promised[key] = max(self.promised.get(key, (0, 0)), (number, index))

    def compare(self, found: dict[str, tuple[int, int]], index: int) -> None:
        """Check what a store has after a start."""
        assert index >= self.index, f"the index fell from {self.index} to {index}"
        for key, (number, at) in self.promised.items():
            if key == COMES_AND_GOES and key not in found:
                gone = range(number + number % 2, self.sent[key] + 1, 2)
                assert gone, f"{key} is gone; {number} of {self.sent[key]} was there"
                continue
            assert key in found, f"{key} is gone; it was {number}"
            assert number <= found[key][0] <= self.sent[key], (key, number, found[key])
            assert number < found[key][0] or at == found[key][1], (key, at, found[key])
        assert found.get(PAIR[0]) == found.get(PAIR[1]), "half a transaction"


@attrs.define(eq=False)
class Trial:
    """A store that is killed, and those who use it."""

    directory: Path
    record: Record
    draw: random.Random
    port: int = attrs.field(factory=free_port)
    watched: dict[str, int] = attrs.field(factory=dict)
    promising: trio.Event = attrs.field(factory=trio.Event)
    killed: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serving(self) -> Any:
        words = ("kv-trio", "serve", "--bind", f"127.0.0.1:{self.port}")
        data = ("--data", self.directory / "kv", "--history-count", 10**6)
        return running(*words, *data, state=self.directory)

    async def run(self, rounds: int) -> None:
        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch)
            watching.start_soon(self._watch_pair)
            for number in range(rounds):
                if number % 5 == 4:
                    await self._kill_while_it_starts()
                await self._round()
            async with self.serving() as server:
                await server.says("listens on")
                await self._compare()
                await self._end_watches(watching)
        self._check_database()

    async def _round(self) -> None:
        async with self.serving() as server:
            await server.says("listens on")
            await self._compare()
            async with trio.open_nursery() as writing:
                for number in range(WRITERS):
                    writing.start_soon(self._until_killed, self._put, f"w/{number}")
                writing.start_soon(self._until_killed, self._put_pair, PAIR[0])
                writing.start_soon(self._until_killed, self._toggle, COMES_AND_GOES)
                self.killed, self.promising = False, trio.Event()
                await self.promising.wait()
                await trio.sleep(self.draw.random() * KILLED_AFTER_S)
                self.killed = True
                server.kill()

    async def _kill_while_it_starts(self) -> None:
        async with self.serving() as server:
            await trio.sleep(self.draw.random() * STARTING_S)
            server.kill()

    async def _compare(self) -> None:
        async with Client(self.url) as client:
            listing = await client.list("")
            past = {
                (key, revision.index): revision.entry and int(revision.entry.value)
                for key in self.record.promised
                for revision in await client.history(key, limit=1000)
            }
        present = {
            entry.key.decode(): (int(entry.value), entry.modify_index)
            for entry in listing.entries
        }
        self.record.compare(present, listing.index)
        for key, number, index in self.record.lately:
            deleted = key == COMES_AND_GOES and number % 2 == 0  # or was not there
            found = past.get((key, index))
            assert found == (None if deleted else number), (key, number, found)
        self.record.lately.clear()

    def _check_database(self) -> None:
        log = StorageEngine(self.directory / "kv")
        faults = log.check()
        log.close()
        assert not faults, faults

    # === clients ===

    async def _until_killed(self, write: Write, key: str) -> None:
        client = Raw(f"127.0.0.1:{self.port}")
        try:
            while True:
                await write(client, key)
        except (OSError, trio.BrokenResourceError, AssertionError):
            if not self.killed:
                raise
        finally:
            await client.close()

    async def _put(self, client: Raw, key: str) -> None:
        number = self.record.next(key)
        response = await client.do(Put(key, b"%d" % number))
        assert isinstance(response, Wrote)
        self._promise(key, number, response.index)

    async def _put_pair(self, client: Raw, key: str) -> None:
        del key
        number = max([self.record.next(key) for key in PAIR])
        steps = tuple(TxnOperation("set", key, b"%d" % number) for key in PAIR)
        response = await client.do(Transact(steps))
        assert isinstance(response, Ran)
        for name, _, index in response.gave:
            self._promise(name, number, index)

    async def _toggle(self, client: Raw, key: str) -> None:
        number = self.record.next(key)
        asked = Put(key, b"%d" % number) if number % 2 else Delete(key)
        response = await client.do(asked)
        assert isinstance(response, Wrote)
        self._promise(key, number, response.index)

    def _promise(self, key: str, number: int, index: int) -> None:
        self.record.promise(key, number, index)
        self.promising.set()

    async def _watch(self) -> None:
        async with Client(self.url) as client, client.watch("w/0") as states:
            async for state in states:
                if state.entry is not None:
                    number = int(state.entry.value)
                    assert number > self.watched.get("w/0", 0), "the watch went back"
                    self._saw("w/0", number, state.entry.modify_index)

    async def _watch_pair(self) -> None:
        async with Client(self.url) as client, client.watch_prefix("t/") as states:
            async for state in states:
                numbers = {int(entry.value) for entry in state.entries}
                assert len(numbers) <= 1, "a watcher saw half a transaction"
                for entry in state.entries:
                    key = entry.key.decode()
                    self._saw(key, int(entry.value), entry.modify_index)

    def _saw(self, key: str, number: int, index: int) -> None:
        self.watched[key] = number
        self.record.promise(key, number, index)

    async def _end_watches(self, watching: trio.Nursery) -> None:
        """Wait until the watchers have the last state of all."""
        client = Raw(f"127.0.0.1:{self.port}")
        await self._put(client, "w/0")
        await self._put_pair(client, PAIR[0])
        await client.close()
        last = {key: self.record.sent[key] for key in ("w/0", *PAIR)}
        with trio.fail_after(PATIENCE_S):
            while self.watched != last:
                await trio.sleep(0.01)
        watching.cancel_scope.cancel()


async def crash(directory: Path, rounds: int, seed: int) -> str:
    """Run the trial; give what it came to."""
    with (directory / "record").open("a") as file:
        record = Record(file)
        await Trial(directory, record, random.Random(seed)).run(rounds)
    writes = sum(record.sent.values())
    return (
        f"{rounds} kills: {writes} writes sent, {record.lines} promises in the record,"
        " none of them broken"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--dir", default=".", help="on the disk to use")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix=".crash-", dir=options.dir) as name:
        run = partial(crash, Path(name).resolve(), options.rounds, options.seed)
        print(trio.run(run))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
