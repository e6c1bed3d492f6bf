"""The real commands, as processes; every wait has a limit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import http_trio
from http_trio.testing.peers import RawClient
from http_trio.testing.ports import free_port
from tests.e2e import version

BIN = Path(sys.executable).parent
PATIENCE_S = 40.0


@attrs.define(eq=False)
class Process:
    """A running command, and what it has printed."""

    process: trio.Process
    output: str = ""

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed something."""
        with trio.fail_after(PATIENCE_S):
            while not (match := re.search(pattern, self.output)):
                if self.process.poll() is not None:
                    await trio.sleep(0.05)
                    raise AssertionError(f"it ended: {self.output}")
                await trio.sleep(0.01)
            return match

    def kill(self) -> None:
        self.process.kill()

    async def ends(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; give the exit status."""
        self.process.send_signal(number)
        with trio.fail_after(PATIENCE_S):
            return await self.process.wait()


async def keep_running(
    *words: object,
    state: Path,
    task_status: trio.TaskStatus[Process] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a command until cancelled."""
    command = [str(BIN / str(words[0])), *map(str, words[1:])]
    env = {**os.environ, "CANARY_DATA": str(state), "PYTHONUNBUFFERED": "1"}
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
    )
    assert process.stdout is not None
    one = Process(process)
    task_status.started(one)
    try:
        await one._read()
        await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        with trio.move_on_after(PATIENCE_S, shield=True):
            await process.wait()
            await trio.aclose_forcefully(process.stdout)


@contextlib.asynccontextmanager
async def running(*words: object, state: Path) -> AsyncIterator[Process]:
    """Run a command until the block ends."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(keep_running, *words, state=state))
        nursery.cancel_scope.cancel()


@attrs.frozen
class Ran:
    """What a command that has ended said."""

    status: int
    out: str
    err: str


async def run(*words: object, status: int | None = 0, stdin: bytes = b"") -> Ran:
    """Run a command to its end; check its exit status, if one is given."""
    command = [str(BIN / str(words[0])), *map(str, words[1:])]
    with trio.fail_after(PATIENCE_S):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, stdin=stdin
        )
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert status is None or ran.status == status, (command, ran)
    return ran


@attrs.define
class World:
    """A store, two versions and as many proxies as a test starts."""

    path: Path
    nursery: trio.Nursery
    store_port: int = attrs.field(factory=free_port)
    versions: dict[str, str] = attrs.field(factory=dict)
    asked_to_be_slow: dict[str, trio.Event] = attrs.field(factory=dict)
    store: Process | None = None

    @property
    def store_url(self) -> str:
        return f"http://127.0.0.1:{self.store_port}"

    async def start(self, *words: object) -> Process:
        state = self.path / "state"
        one: Process = await self.nursery.start(
            partial(keep_running, *words, state=state)
        )
        return one

    async def start_versions(self, *names: str) -> None:
        """Serve versions in this process; those that a test kills it starts itself."""
        for name in names:
            asked = self.asked_to_be_slow[name] = trio.Event()
            handler = partial(version.response, name.encode(), asked.set)
            serving = partial(http_trio.serve, handler, ["127.0.0.1:0"])
            server: http_trio.HttpServer = await self.nursery.start(serving)
            self.versions[name] = f"http://{server.addresses[0]}"

    async def start_store(self) -> Process:
        bind = f"127.0.0.1:{self.store_port}"
        self.store = await self.start(
            "kv-trio", "serve", "--bind", bind, "--data", self.path / "kv"
        )
        await self.store.says("listens on")
        return self.store

    def document(self, **changes: Any) -> dict[str, Any]:
        return {
            "ratio": 0,
            "arms": {
                "stable": {"servers": [self.versions["v1"]]},
                "canary": {"servers": [self.versions["v2"]]},
            },
            **changes,
        }

    def write(self, **changes: Any) -> Path:
        file = self.path / "web.json"
        file.write_text(json.dumps(self.document(**changes)))
        return file

    async def start_proxy(
        self, *words: object, under: tuple[object, ...] = (), **changes: Any
    ) -> tuple[Process, str]:
        """Start a proxy; give it and its address when its first document is live.

        Args:
            words: options of its command.
            under: a command that runs another one, which is this.
            changes: of its document.
        """
        canary = (*under, BIN / "canary") if under else ("canary",)
        process = await self.start(
            *(*canary, "serve", "web", "--config-server", self.store_url),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--bootstrap", self.write(**changes), *words),
        )
        match = await process.says(r"listens on ([\d.:]+), admin on ([\d.:]+)")
        await process.says("runs revision")
        return process, match[1]

    async def canary(self, verb: str, *words: object, status: int | None = 0) -> Ran:
        return await run(
            "canary",
            verb,
            "web",
            *words,
            "--config-server",
            self.store_url,
            status=status,
        )


@contextlib.asynccontextmanager
async def world(path: Path, *, versions: bool = True) -> AsyncIterator[World]:
    """Start a store and the versions v1 and v2."""
    async with trio.open_nursery() as nursery:
        made = World(path, nursery)
        await made.start_store()
        if versions:
            await made.start_versions("v1", "v2")
        yield made
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def connected_to(address: str) -> AsyncIterator[RawClient]:
    host, _, port = address.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        yield RawClient(stream)


async def ask(address: str, times: int, path: bytes = b"/") -> list[str]:
    """Ask over one connection; give who answered."""
    async with connected_to(address) as client:
        responses = []
        for _ in range(times):
            head, body = await client.ask(path)
            assert head.startswith(b"HTTP/1.1 200 "), head
            responses.append(body.decode())
        return responses
