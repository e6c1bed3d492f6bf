"""Stores in turn on one port and one directory, under load: nobody is refused, nothing is lost.

Each is started while the one before it serves, and waits for the directory; that one is
asked to end then. Clients write all the time, each key once, and others hang in long polls.
What was acknowledged must be there at the end, and no connection may be refused or reset.

    python -m tests.e2e.store_handover --rounds 20
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import PATIENCE_S, Process, keep_running

WRITERS = 4  # of each kind: over connections that are kept, and over new ones
POLLERS = 8


class Load:
    """Clients that write and watch until they are told to stop, and what went wrong."""

    def __init__(self, url: str) -> None:
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self.acknowledged: dict[str, str] = {}
        self._url = url
        self._stop = False

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(WRITERS):
                write = partial(self._write, f"kept/{number}")
                nursery.start_soon(self._repeat, "kept", write, 1000)
                write = partial(self._write, f"new/{number}")
                nursery.start_soon(self._repeat, "new", write, 1)
            for _ in range(POLLERS):
                nursery.start_soon(self._repeat, "poll", self._poll(), 1000)
            task_status.started()

    def stop(self) -> None:
        self._stop = True

    async def _repeat(
        self, kind: str, ask: Callable[[httpx.AsyncClient, int], Any], times: int
    ) -> None:
        """Ask over one client so often, and then over a new one."""
        count = 0
        while not self._stop:
            try:
                async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
                    for _ in range(times):
                        await ask(client, count)
                        self.done[kind] += 1
                        count += 1
                        if self._stop:
                            return
                        await trio.sleep(0.002)
            except Exception as exc:  # each is a client that lost
                self.faults.append(f"{kind}: {type(exc).__name__}: {exc}")
                count += 1
                await trio.sleep(0.05)

    async def _write(self, key: str, client: httpx.AsyncClient, count: int) -> None:
        name, value = f"{key}/{count}", f"{key} {count}"
        response = await client.put(f"{self._url}/v1/kv/{name}", content=value)
        assert (response.status_code, response.text) == (200, "true"), response.text
        self.acknowledged[name] = value

    def _poll(self) -> Callable[[httpx.AsyncClient, int], Awaitable[None]]:
        """Wait for changes of a prefix that never come, and of one that do."""
        index = 0

        async def poll(client: httpx.AsyncClient, count: int) -> None:
            nonlocal index
            key = "kept/0/" if count % 2 else "quiet/"
            response = await client.get(
                f"{self._url}/v1/kv/{key}?keys&index={index}&wait=8s"
            )
            assert response.status_code in (200, 404), response.text
            found = int(response.headers["X-Consul-Index"])
            assert found >= index, "the index never falls"
            index = found

        return poll


async def start_store(nursery: trio.Nursery, path: Path, port: int) -> Process:
    """Start one more store on the port and the directory."""
    process: Process = await nursery.start(
        partial(
            keep_running,
            *("kv-trio", "serve", "--bind", f"127.0.0.1:{port}"),
            *("--data", path / "kv", "--reuse-port"),
            state=path,
        )
    )
    return process


@asynccontextmanager
async def serving(path: Path, port: int) -> AsyncIterator[tuple[trio.Nursery, Process]]:
    async with trio.open_nursery() as nursery:
        first = await start_store(nursery, path, port)
        await first.says("listens on")
        yield nursery, first
        nursery.cancel_scope.cancel()


async def hand_over(path: Path, rounds: int) -> tuple[Counter[str], list[str]]:
    """Let stores follow each other; give what was done, and what went wrong."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serving(path, port) as (nursery, first):
        store = first
        load = Load(url)
        async with trio.open_nursery() as clients:
            await clients.start(load.run)
            for _ in range(rounds):
                following = await start_store(nursery, path, port)
                await following.says("waits for the data")
                store.process.send_signal(signal.SIGTERM)
                with trio.fail_after(PATIENCE_S):
                    status = await store.process.wait()
                if status:
                    load.faults.append(f"it ended with {status}: {store.output}")
                await following.says("listens on")
                store = following
            load.stop()
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            response = await client.get(f"{url}/v1/kv/?keys")
            lost = load.acknowledged.keys() - set(response.json())
        load.faults += [f"lost: {name}" for name in sorted(lost)]
    return load.done, load.faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory() as directory:
        done, faults = trio.run(hand_over, Path(directory), rounds)
    print(json.dumps({"rounds": rounds, "requests": done, "faults": len(faults)}))
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
