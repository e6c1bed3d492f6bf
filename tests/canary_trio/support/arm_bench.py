"""A set of servers with a clock that a test moves."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import attrs

from canary_trio.config.model import Arm, Server, ServerMode
from canary_trio.config.policies import Ejection
from canary_trio.upstream.server import ServerState
from canary_trio.upstream.server_set import ServerSet
from http_trio import Upstream

START = 1000.0
EJECTION = Ejection(failures=2, time=10.0, longest=40.0)


def a_server(server_set: ServerSet, name: str, **more: Any) -> ServerState:
    server = Server(f"http://{name}:80", **more)
    return ServerState(server, Upstream(server.url, (), name.encode()), server_set)


def an_arm(servers: list[ServerState], **more: Any) -> Arm:
    more.setdefault("ejection", EJECTION)
    return Arm(tuple(one.server for one in servers), **more)


@attrs.define
class Bench:
    """A server set with servers, and the time."""

    server_set: ServerSet
    servers: list[ServerState]
    now: float = START
    fallback: bool = False
    sticky: bool = False

    @classmethod
    def of(cls, count: int, *, fallback: bool = False, **more: Any) -> Bench:
        server_set = ServerSet(random.Random(1).random)
        servers = [a_server(server_set, f"s{n}") for n in range(count)]
        bench = cls(
            server_set, servers, fallback=fallback, sticky=more.pop("sticky", False)
        )
        bench.configure(**more)
        return bench

    def configure(self, **more: Any) -> None:
        self.server_set.configure(
            an_arm(self.servers, **more),
            self.servers,
            falls_back=self.fallback,
            sticky=self.sticky,
            now=self.now,
        )

    def mode(self, server: ServerState, mode: ServerMode, **more: Any) -> None:
        server.server = attrs.evolve(server.server, mode=mode)
        self.configure(**more)

    def fail(self, server: ServerState, times: int = 2, **more: Any) -> None:
        for _ in range(times):
            server.began(self.now)
            server.ended(self.now, False, self.now, **more)

    def picks(self, count: int = 60) -> Counter[ServerState | None]:
        return Counter(self.server_set.pick(None) for _ in range(count))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.server_set.tick(self.now)


KEYS = [b"user %d" % n for n in range(300)]
