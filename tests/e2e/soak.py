"""All protocols at once through one proxy, with faults: does it err, does it leak?

The real proxy on a real store, each a process. Clients of HTTP/1.1, of HTTP/2 with TLS and
without, WebSockets over both, and gRPC over HTTP/2 with TLS and without ask all the time;
some give up, reset, or read slowly, servers cut and talk nonsense, and four times a second a
document moves everything elsewhere, and recalls what cannot move. Between rounds there is
rest. What must hold: no wrong response; and at each rest descriptors, tasks and exchanges
are what they were before the first round, and memory what it was after the first ones.

    python -m tests.e2e.soak --seconds 60
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from canary_trio import read_document, wait_applied, write_document
from canary_trio.control.changes.documents import write_first
from kv_trio import Client
from tests.e2e.processes import BIN, Process, World, world
from tests.e2e.soak_clients import (
    live_grpc,
    live_slow_http1,
    live_slow_http2,
    live_websocket_http1,
    live_websocket_http2,
    open_http2,
)
from tests.http_trio.integration import chaos, http2_chaos
from tests.http_trio.integration.http2_chaos import Tally, live_http1, live_http2
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.grpc_peers import grpc_server

CHANGE_S = 0.25
ROUNDS = 6
REST_S = 30.0  # until what was going on must have ended
MORE_MEMORY = 4 * 1024  # KiB between the rest after a third of the rounds and the last
REST = {"ratio": 0, "arms": {"stable": {"servers": ["http://127.0.0.1:1"]}}}
"""A document that leads nowhere: of all servers nothing is kept."""

EXCHANGES = {
    *("Connection", "Http2Connection", "Http2Stream", "Exchange", "ProxiedRequest"),
    *("_FastPath", "ForwardTask", "Tunnel"),
    *("UpstreamConnection", "MultiplexedConnection", "UpstreamStream"),
}
"""What a request is made of, and nothing of it is kept."""


@attrs.frozen
class Found:
    """What came of it.

    Attributes:
        tally: what the clients saw.
        memory: of the proxy at each rest, in KiB.
        seen: the classes of which there were some under load; of the others it is not
            known that none is left.
    """

    tally: Tally
    memory: list[int] = attrs.field(factory=list)
    seen: set[str] = attrs.field(factory=set)


@attrs.frozen
class Held:
    """What the proxy holds, as it is seen from outside."""

    descriptors: int
    tasks: int
    exchanges: dict[str, int]
    memory: int = attrs.field(eq=False)
    objects: dict[str, int] = attrs.field(eq=False, repr=False)


@attrs.frozen
class Soak:
    """The processes, and where they are."""

    proxy: Process
    told: Path
    ports: dict[str, int]
    client: Client
    authority: Authority
    tally: Tally
    clients: int
    servers: list[str]
    calls: str

    # === what is asked for ===

    def document(self, number: int) -> dict[str, Any]:
        """Give a document; each moves what the one before has placed."""
        one, other = self.servers[:2] if number % 2 else self.servers[1::-1]
        return {
            "ratio": (number % 4) / 4,
            "arms": {
                "stable": {"servers": [one], "ejection": False},
                "canary": {"servers": [other], "ejection": False},
                "calls": {
                    "servers": [self.calls],
                    "ejection": False,
                    "fallback": None,
                },
                "broken": {
                    "servers": [self.servers[2]],
                    "ejection": False,
                    "fallback": None,
                    "timeouts": {"response": 5, "idle": 5},
                },
            },
            "rules": [
                {
                    "header": "content-type",
                    "equals": "application/grpc",
                    "arm": "calls",
                },
                {"header": "host", "equals": "h", "arm": "broken"},
            ],
            "connections": {"change": "recall", "time": 3},
        }

    async def write(self, document: dict[str, Any]) -> int:
        """Write a document; give its revision."""
        _, over = await read_document(self.client, "web")
        self.tally.right["documents"] += 1
        return await write_document(self.client, "web", document, over=over)

    async def install(self, document: dict[str, Any]) -> None:
        """Write a document, and wait until the proxy routes by it."""
        revision = await self.write(document)
        with trio.fail_after(20):
            await wait_applied(self.client, "web", revision)

    async def change(self) -> None:
        for number in itertools.count(1):
            await trio.sleep(CHANGE_S)
            await self.write(self.document(number))

    # === rounds ===

    async def live(self, seconds: float, seed: int) -> Held:
        """Let all of them ask for so long; give what the proxy holds meanwhile."""
        over, ended, ports = trio.Event(), threading.Event(), self.ports
        secure, plain = ports["tls"], ports["h2c"]
        tls = partial(open_http2, secure, self.authority)
        kinds: list[Callable[[random.Random], Awaitable[None]]] = [
            lambda chance: live_http1(
                secure, self.authority, chance, self.tally, over, recalled=True
            ),
            lambda chance: live_http2(tls, chance, self.tally, over, recalled=True),
            lambda chance: live_http2(
                partial(open_http2, plain), chance, self.tally, over, recalled=True
            ),
            lambda chance: self._live_broken(chance, over),
            lambda chance: live_slow_http1(ports["plain"], chance, self.tally, over),
            lambda chance: live_slow_http2(tls, chance, self.tally, over),
            lambda chance: live_websocket_http1(ports["plain"], self.tally, over),
            lambda chance: live_websocket_http2(tls, self.tally, over),
            lambda chance: self._live_grpc(plain, None, chance, ended),
            lambda chance: self._live_grpc(secure, self.authority, chance, ended),
        ]
        await self.install(self.document(0))
        async with trio.open_nursery() as living:
            changing = await living.start(_stoppable, self.change)
            for number in range(self.clients):
                chance = random.Random(seed * self.clients + number)
                living.start_soon(kinds[number % len(kinds)], chance)
            try:
                await trio.sleep(seconds / 2)
                held = await self.held()
                await trio.sleep(seconds / 2)
            finally:  # a thread hears of nothing else
                over.set()
                ended.set()
            changing.cancel()
            living.cancel_scope.deadline = trio.current_time() + 1
        return held

    async def _live_broken(self, chance: random.Random, over: trio.Event) -> None:
        seen = chaos.Tally()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await chaos.live(self.ports["plain"], chance.randrange(10**6), seen, over)
        self.tally.right["kept HTTP/1.1"] += seen.healthy
        self.tally.right["broken servers"] += seen.others.total()
        self.tally.wrong.extend(seen.wrong)

    async def _live_grpc(
        self,
        port: int,
        authority: Authority | None,
        chance: random.Random,
        ended: threading.Event,
    ) -> None:
        ca = None if authority is None else authority.ca_file.read_bytes()
        await trio.to_thread.run_sync(live_grpc, port, ca, chance, self.tally, ended)

    # === what is left ===

    async def held(self) -> Held:
        """Ask the proxy from outside."""
        self.told.unlink(missing_ok=True)
        pid = self.proxy.process.pid
        self.proxy.process.send_signal(signal.SIGUSR2)
        with trio.fail_after(20):
            while not self.told.exists():
                await trio.sleep(0.02)
        counts = json.loads(self.told.read_text())
        exchanges = {
            kind: count
            for name, count in counts.items()
            if (kind := name.rpartition(".")[2]) in EXCHANGES
        }
        return Held(
            descriptors=_descriptors(pid),
            tasks=counts.pop("tasks"),
            exchanges=exchanges,
            memory=_memory(pid),
            objects=counts,
        )

    async def at_rest(self, wanted: Held | None) -> Held:
        """Wait until it holds what it held; give what it holds, for good or ill."""
        await self.install(REST)
        held = await self.held()
        with trio.move_on_after(REST_S):
            while wanted is not None and held != wanted:
                await trio.sleep(0.3)
                held = await self.held()
        return held


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _memory(pid: int) -> int:
    """Give how much of a process is in memory, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def _stoppable(
    work: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await work()


async def _listen(nursery: trio.Nursery, serve: Any) -> str:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    return f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def _start(
    made: World, authority: Authority, told: Path
) -> tuple[Process, dict[str, int]]:
    cert, key = authority.issue()
    proxy = await made.start(
        *("python", "-m", "tests.e2e.told", told, BIN / "canary", "serve", "web"),
        *("--config-server", made.store_url, "--admin", "127.0.0.1:0"),
        *("--bind", "127.0.0.1:0", "--tls-bind", "127.0.0.1:0"),
        *("--h2c-bind", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key),
        *("--access-log", made.path / "access.log"),
    )
    line = (await proxy.says(r"listens on .*admin on.*")).group()
    await proxy.says("runs revision")
    found = {
        kind: int(re.search(pattern + r"127\.0\.0\.1:(\d+)", line)[1])  # type: ignore[index]
        for kind, pattern in {
            "plain": r"on ",
            "tls": "https://",
            "h2c": "h2c://",
        }.items()
    }
    return proxy, found


async def soak(
    path: Path, *, clients: int, seconds: float, seed: int, rounds: int
) -> Found:
    """Let them loose, and check what is left.

    Raises:
        AssertionError: something is left, or something was wrong.
    """
    tally, told = Tally(), path / "told.json"
    with grpc_server() as server:
        async with (
            world(path, versions=False) as made,
            Client(made.store_url) as client,
        ):
            await write_first(client, "web", json.dumps(REST).encode())
            moody = http2_chaos.serve_moody, http2_chaos.serve_moody, chaos.serve_moody
            authority = Authority(path)
            proxy, ports = await _start(made, authority, told)
            one = Soak(
                proxy=proxy,
                told=told,
                ports=ports,
                client=client,
                authority=authority,
                tally=tally,
                clients=clients,
                servers=[await _listen(made.nursery, serve) for serve in moody],
                calls=f"h2c://127.0.0.1:{server.port}",
            )
            found = await _rounds(one, seconds / rounds, seed, rounds)
            errors = re.findall("(?i).*(?:error|warning|traceback).*", proxy.output)
            assert not errors, errors[:5]
            assert await proxy.ends() == 0, proxy.output[-2000:]
    assert not tally.wrong, tally.wrong[:10]
    return found


async def _rounds(one: Soak, seconds: float, seed: int, rounds: int) -> Found:
    found = Found(one.tally)
    before = await one.at_rest(None)
    print(f"before: {before}")
    for number in range(rounds):
        found.seen.update((await one.live(seconds, seed + number)).exchanges)
        held = await one.at_rest(before)
        print(f"round {number + 1}: {held}")
        assert held == before, _more(before, held)
        found.memory.append(held.memory)
    return found


def _more(before: Held, held: Held) -> str:
    more = Counter(held.objects)
    more.subtract(before.objects)
    most = ", ".join(
        f"{count} {kind}" for kind, count in more.most_common(12) if count > 0
    )
    return f"{before} became {held}; objects: {most}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    print(
        f"all protocols through one proxy, {options.seconds:g} s, seed {options.seed}"
    )
    with tempfile.TemporaryDirectory() as directory:
        start = partial(
            soak,
            clients=options.connections,
            seconds=options.seconds,
            seed=options.seed,
            rounds=options.rounds,
        )
        found = trio.run(start, Path(directory))
    right = found.tally.right.most_common()
    print(", ".join(f"{count} {what}" for what, count in right))
    if unseen := EXCHANGES - found.seen:
        sys.exit(f"never seen, so not known to be gone: {unseen}")
    more = found.memory[-1] - found.memory[options.rounds // 3]
    if more > MORE_MEMORY:
        sys.exit(f"memory leaks: {more} KiB more, of {found.memory} at each rest")
    print("all right; no descriptor, task, exchange or memory is left")


if __name__ == "__main__":
    main()
