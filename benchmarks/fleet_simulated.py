"""A fleet without a data plane: what so many proxies cost one store.

Each simulated proxy has the four connections of a real one, three of them parked polls: of the
document, of what waits to be confirmed, and of the secret. Over the fourth it reports, renews its
session and reads its report, as often as a real one does. When its poll of the document is
answered it asks again and reports at once. The store is a real one, durable, on processor 0; the
fleet is one loop over an epoll on processor 1, which is slower than so many machines would
be, so times are upper bounds. Sessions have a long time to live here: between two measurements
nobody renews them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.store_clients import Connections
from benchmarks.store_peers import Server, kv_trio, ready, settle

RENEWED_EVERY_S = 10 / 3
"""How often a proxy renews its session of 10 s, and reads its report."""

EACH = 4
"""Connections of one proxy."""

_WAIT = "wait=600s"
_CONFIG = "canary/web/config"
_ID = re.compile(rb'"ID": ?"([^"]+)"')
_INDEX = re.compile(rb"\r\nX-Consul-Index: (\d+)\r\n")


@attrs.frozen
class FleetCost:
    """What a store did for a fleet.

    Attributes:
        proxies: that were simulated.
        heard_ms: by change, from the start of its write until the last proxy had it.
        said_ms: by change, until the last report of it was durable, and answered.
        cpu_ms: by change, processor time of the store, reports included.
        fleet_ms: by change, processor time of the simulation, which is not the store's.
        idle: part of a core that the store used while nothing changed.
        kib_each: resident memory for each proxy, over the store without any.
    """

    proxies: int
    heard_ms: Sequence[float]
    said_ms: Sequence[float]
    cpu_ms: Sequence[float]
    fleet_ms: Sequence[float]
    idle: float
    kib_each: float


class SimulatedFleet:
    """Proxies that hang on one store."""

    def __init__(self, kept: Connections, count: int) -> None:
        self._kept = kept
        self._writer, *rest = kept.fds
        configs, pendings, secrets, self._talkers = (
            rest[at * count : (at + 1) * count] for at in range(EACH)
        )
        self._sessions: list[str] = []
        self._ask(self._writer, _put("canary/web/secret", b"s" * 44))
        self._talker_of = dict(zip(configs, self._talkers, strict=True))
        self._number_of = {fd: number for number, fd in enumerate(self._talkers)}
        bodies = [
            json.dumps({"Name": f"p{number}", "Behavior": "delete"}).encode()
            for number in range(count)
        ]
        for data in self._ask_all(
            _request("PUT", "session/create", body) for body in bodies
        ):
            found = _ID.search(data)
            assert found is not None, "a session has an ID"
            self._sessions.append(found[1].decode())
        self._index = self._change_index(self._ask(self._writer, self._document(0)))
        self._ask_all(map(self._report, range(count)))
        now = self._now()
        for fd in pendings:
            kept.send(fd, _poll("canary/web/pending", now))
        for fd in secrets:
            kept.send(fd, _poll("canary/web/secret", now))
        for fd in configs:
            kept.send(fd, _poll(_CONFIG, self._index))
        settle(kept.server)

    def change(self, number: int) -> tuple[float, float]:
        """Write; give the seconds until all have it, and until all said so."""
        kept, talker_of = self._kept, self._talker_of
        request = self._document(number)
        heard = said = 0
        heard_at = 0.0
        begun = time.perf_counter()
        kept.send(self._writer, request)
        written = False
        while said < len(talker_of) or not written:
            for fd in kept.poll():
                data = kept.receive(fd)
                if not data:
                    continue
                assert data.startswith(b"HTTP/1.1 200"), data
                if fd == self._writer:
                    written = True
                elif fd in talker_of:
                    heard += 1
                    heard_at = time.perf_counter()
                    self._index = self._change_index(data)
                    talker = talker_of[fd]
                    kept.send(fd, _poll(_CONFIG, self._index))
                    kept.send(talker, self._report(self._number_of[talker]))
                elif fd in self._number_of:
                    said += 1
                else:
                    raise SystemExit(f"a poll of what did not change ended: {data!r}")
        assert heard == len(talker_of), heard
        return heard_at - begun, time.perf_counter() - begun

    def idle(self, seconds: float) -> float:
        """Renew sessions as so many proxies do; give the part of a core that it took."""
        server, kept = self._kept.server, self._kept
        each_s = RENEWED_EVERY_S / len(self._talkers)
        used, begun = server.cpu_s(), time.perf_counter()
        sent = answered = 0
        while (now := time.perf_counter()) < begun + seconds or answered < 2 * sent:
            if now >= begun + sent * each_s and now < begun + seconds:
                number = sent % len(self._talkers)
                path = f"session/renew/{self._sessions[number]}"
                kept.send(self._talkers[number], _request("PUT", path))
                sent += 1
            elif answered == 2 * sent:
                time.sleep(min(max(begun + sent * each_s - now, 0.0), seconds))
            if answered == 2 * sent:
                continue
            for fd in kept.poll():
                if data := kept.receive(fd):
                    assert data.startswith(b"HTTP/1.1 200"), data
                    answered += 1
                    if b'"ID"' in data:  # that was the renewal
                        path = f"kv/{_report_key(self._number_of[fd])}?consistent="
                        kept.send(fd, _request("GET", path))
        return (server.cpu_s() - used) / (time.perf_counter() - begun)

    def _report(self, number: int) -> bytes:
        told = {
            "id": f"p{number}", "running": self._index, "attempted": self._index,
            "failed": None, "address": "10.0.0.1:8080", "admin": "10.0.0.1:8081",
            "move": "", "certificates": [], "digest": "fb47820fc623", "tries_over": 0,
            "beside": 0,
        }  # fmt: skip
        path = f"kv/{_report_key(number)}?acquire={self._sessions[number]}"
        return _request("PUT", path, json.dumps(told).encode())

    def _document(self, number: int) -> bytes:
        servers = [[f"http://10.0.{arm}.{n}:8000" for n in (1, 2, 3)] for arm in (1, 2)]
        arms = {
            "stable": {"servers": servers[0]},
            "canary": {"servers": servers[1]},
        }
        told = {"arms": arms, "ratio": number % 100 / 100}
        return _put(_CONFIG, json.dumps(told).encode())

    def _ask(self, fd: int, request: bytes) -> bytes:
        self._kept.send(fd, request)
        while True:
            for ready_fd in self._kept.poll():
                assert ready_fd == fd, "nobody else is spoken to"
                if data := self._kept.receive(fd):
                    assert data.startswith(b"HTTP/1.1 200"), data
                    return data

    def _ask_all(self, requests: Iterable[bytes]) -> list[bytes]:
        """Let each proxy ask, all at once; give the responses in their order."""
        for fd, request in zip(self._talkers, requests, strict=True):
            self._kept.send(fd, request)
        found: dict[int, bytes] = {}
        while len(found) < len(self._talkers):
            for fd in self._kept.poll():
                if data := self._kept.receive(fd):
                    assert data.startswith(b"HTTP/1.1 200"), data
                    found[fd] = data
        return [found[fd] for fd in self._talkers]

    def _now(self) -> int:
        """Give an index that nothing of the fleet is newer than."""
        return self._change_index(
            self._ask(self._writer, _request("GET", "kv/canary/?keys"))
        )

    @staticmethod
    def _change_index(data: bytes) -> int:
        found = _INDEX.search(data)
        assert found is not None, data
        return int(found[1])


def simulate(
    directory: Path, count: int, changes: int, idle_s: float, pause_s: float = 0.1
) -> FleetCost:
    """Let so many proxies hang on a store of their own, and change its document."""
    with _pinned(), ready(kv_trio(), directory) as server:
        os.sched_setaffinity(server.pid, {0})
        settle(server)
        bare = server.rss()
        with Connections(server, EACH * count + 1) as kept:
            fleet = SimulatedFleet(kept, count)
            fleet.change(-1)  # the first one warms up
            rows = [_one(fleet, server, number, pause_s) for number in range(changes)]
            idle = fleet.idle(idle_s)
            each = (server.rss() - bare) / count / 1024
    heard, said, cpu, own = zip(*rows, strict=True)
    return FleetCost(count, heard, said, cpu, own, idle, each)


def told(cost: FleetCost) -> str:
    """Write it as one line."""
    heard, said, cpu, own = (
        statistics.median(row)
        for row in (cost.heard_ms, cost.said_ms, cost.cpu_ms, cost.fleet_ms)
    )
    return (
        f"{cost.proxies:>6,} proxies: all have a change after {heard:.1f} ms"
        f" (worst {max(cost.heard_ms):.1f}), have said so after {said:.1f} ms"
        f" (worst {max(cost.said_ms):.1f});\n"
        f"                 the store's CPU {cpu:.1f} ms a change, the simulation's"
        f" {own:.1f}; idle {cost.idle:.1%} of a core; {cost.kib_each:.1f} KiB each"
    )


def _one(
    fleet: SimulatedFleet, server: Server, number: int, pause_s: float
) -> tuple[float, float, float, float]:
    settle(server)
    used, own = server.cpu_s(), time.process_time()
    heard, said = fleet.change(number + 1)
    own = time.process_time() - own
    settle(server)
    cpu = server.cpu_s() - used
    time.sleep(pause_s)
    return heard * 1e3, said * 1e3, cpu * 1e3, own * 1e3


@contextlib.contextmanager
def _pinned() -> Iterator[None]:
    """Stay on processor 1 meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _report_key(number: int) -> str:
    return f"canary/web/proxies/p{number}"


def _poll(key: str, index: int) -> bytes:
    return _request("GET", f"kv/{key}?index={index}&{_WAIT}")


def _put(key: str, value: bytes) -> bytes:
    return _request("PUT", f"kv/{key}", value)


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} /v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n"
    length = f"Content-Length: {len(body)}\r\n" if method == "PUT" else ""
    return f"{head}{length}\r\n".encode() + body
