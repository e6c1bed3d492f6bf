"""The fleet of a run: a store, servers and proxies as processes, which are killed and follow.

The rule that it obeys: what is done to a process is noted when it is done, and when it is over,
so that a request which was lost is held against the right one. The first proxy, and who
follows it, has a name (`--id`); the others draw theirs.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from canary_trio.control.changes.documents import write_document
from canary_trio.control.sources.opening import open_source
from canary_trio.verify.documents import Servers, first_document
from canary_trio.verify.processes import (
    START_S,
    STORES,
    NotStarted,
    RunningProcess,
    python,
    run_process,
)
from http_trio.testing.ports import free_port
from kv_trio import KvError

SERVICE = "verify"
LAME_DUCK_S = 0.5
DRAIN_S = 5.0
"""How long a proxy that ends lets go on what is in progress."""


@attrs.frozen
class ProxyPorts:
    """Where one proxy of the fleet is, and those that follow it.

    Attributes:
        name: its address for HTTP/1.1.
        http2: its address for HTTP/2; empty where there is none.
    """

    name: str
    http2: str = ""

    def address(self, *, http2: bool = False) -> tuple[str, int]:
        """Give a host and a port."""
        host, _, port = (self.http2 if http2 else self.name).rpartition(":")
        return host.strip("[]"), int(port)


@attrs.define(eq=False)
class OwnFleet:
    """What a run has started.

    Attributes:
        directory: of the run.
        kind: of the store.
        servers: where they are.
        places: where the proxies are.
        url: of the store.
        program: the module that is run as `canary`.
    """

    directory: Path
    kind: str
    nursery: trio.Nursery
    servers: Servers
    places: list[ProxyPorts]
    url: str
    program: str
    _store_words: tuple[str, ...]
    _store: RunningProcess | None = None
    _second: RunningProcess | None = None
    _proxies: list[RunningProcess] = attrs.field(factory=list)
    _started: int = 0

    def __repr__(self) -> str:
        return f"<OwnFleet {self.kind} with {len(self.places)} proxies>"

    @staticmethod
    def planned(
        directory: Path,
        kind: str,
        proxies: int,
        nursery: trio.Nursery,
        *,
        program: str,
    ) -> OwnFleet:
        """Give one of which nothing runs yet."""
        port = free_port()
        return OwnFleet(
            directory,
            kind,
            nursery,
            Servers(*(f"127.0.0.1:{free_port()}" for _ in range(5))),
            [
                ProxyPorts(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
                for _ in range(proxies)
            ],
            f"{STORES[kind].scheme}://127.0.0.1:{port}",
            program,
            STORES[kind].words(port, directory),
        )

    async def start(self) -> None:
        """Start all of it, and wait until each proxy routes."""
        await self.start_store()
        await self._start("servers-a", *_server(self.servers.first))
        await self.start_second()
        async with open_source(self.url) as client:
            document = first_document(self.servers)
            await write_document(client, SERVICE, document, over=0)
        for place in self.places:
            self._proxies.append(await self._start_proxy(place))

    async def mend(self) -> None:
        """Start again what is not there, after a step that did not come to its end."""
        assert self._store is not None, "it was started"
        assert self._second is not None, "it was started"
        if self._store.process.poll() is None:
            self.let_store_go_on()
        else:
            await self.start_store()
        if self._second.process.poll() is not None:
            await self.start_second()

    async def _start(self, name: str, *words: str) -> RunningProcess:
        one: RunningProcess = await self.nursery.start(
            partial(run_process, name, words, self.directory)
        )
        if words[1:3] == ("-m", "canary_trio.verify.peers.server"):
            await one.says("listens")
        return one

    # === the store ===

    async def start_store(self) -> None:
        """Start it, with the data that it has, and wait until it takes writes."""
        self._store = await self._start("store", *self._store_words)
        with trio.move_on_after(START_S):
            while self._store.process.poll() is None:
                try:
                    async with open_source(self.url) as client:
                        await client.put("verify/ready", b"yes")
                        return
                except KvError:
                    await trio.sleep(0.05)
        raise NotStarted(
            f"the store takes no writes: {self._store.output[-500:].strip()}"
        )

    async def kill_store(self) -> None:
        """Kill it."""
        assert self._store is not None, "it was started"
        await self._store.kill()

    def stop_store(self) -> None:
        """Let it hang: it takes no turn any more, and its connections stay."""
        assert self._store is not None, "it was started"
        self._store.process.send_signal(signal.SIGSTOP)

    def let_store_go_on(self) -> None:
        """Let it take its turn again."""
        assert self._store is not None, "it was started"
        self._store.process.send_signal(signal.SIGCONT)

    # === the servers ===

    async def start_second(self) -> None:
        """Start the second process of servers, on the ports that it had."""
        self._second = await self._start("servers-b", *_server(self.servers.second))

    async def kill_second(self) -> None:
        """Kill it."""
        assert self._second is not None, "it was started"
        await self._second.kill()

    # === the proxies ===

    async def follow(self, number: int) -> None:
        """Start a proxy on the ports of one that runs, and wait until it serves."""
        self._proxies.append(await self._start_proxy(self.places[number]))
        last = len(self._proxies) - 1
        proxies = self._proxies
        proxies[number], proxies[last] = proxies[last], proxies[number]

    async def end_followed(self) -> str:
        """Ask the one that was followed to end; say what was wrong with its end."""
        old = self._proxies.pop()
        with trio.move_on_after(LAME_DUCK_S + DRAIN_S + 5):
            status = await old.end()
            return "" if status == 0 else f"{old.name} ended with status {status}"
        return f"{old.name} did not end within {LAME_DUCK_S + DRAIN_S + 5:g} s"

    async def _start_proxy(self, place: ProxyPorts) -> RunningProcess:
        self._started += 1
        named = place == self.places[0]
        one = await self._start(
            f"proxy-{self._started}",
            *python(self.program, "serve", SERVICE, "--config-server", self.url),
            *("--bind", place.name, "--h2c-bind", place.http2, "--no-admin"),
            *("--reuse-port", "--lame-duck", f"{LAME_DUCK_S:g}"),
            *("--drain", f"{DRAIN_S:g}", "--data", str(self.directory / "proxies")),
            *(("--id", "named") if named else ()),
        )
        await one.says("runs revision")
        return one


def _server(binds: tuple[str, ...]) -> tuple[str, ...]:
    return python("canary_trio.verify.peers.server", *binds)


@asynccontextmanager
async def own_fleet(
    directory: Path, kind: str, proxies: int, *, program: str = "canary_trio"
) -> AsyncIterator[OwnFleet]:
    """Start a fleet; end all of its processes at the end.

    Args:
        directory: for data and logs.
        kind: of the store, of `processes.STORES`.
        proxies: how many.
        program: the module that is run as `canary`; another one, to see what is found of it.

    Raises:
        NotStarted: one of them does not come up (in a group).
    """
    async with trio.open_nursery() as nursery:
        fleet = OwnFleet.planned(directory, kind, proxies, nursery, program=program)
        await fleet.start()
        yield fleet
        nursery.cancel_scope.cancel()
