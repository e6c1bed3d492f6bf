"""Active checks: each server of an arm with `health` is asked at intervals. Shell and core.

A server is up until the first check, which decides alone; from then on it takes `fall`
bad ones in a row to be down and `rise` good ones to be up. What was learnt outlives a
change of the document; a server in maintenance is not asked, and begins anew after it.

By `health.grpc` a server is asked in the way of gRPC (`grpc.health.v1`), over HTTP/2.

The checks are ordinary tasks on connections of their own, so the event loop never
waits for one; at most `CHECKS_AT_ONCE` go on at a time, and those that are due wait.
One file, since what is learnt, when it is asked and how are one loop.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterable

import attrs
import trio

from canary_trio.config.model import ServerMode
from canary_trio.config.policies import Health
from canary_trio.upstream.balancers import Draw
from canary_trio.upstream.server import ServerState
from http_trio import FailureReason, FetchResult, NoResponse, Upstream, fetch
from http_trio.http1.grpc import (
    health_request,
    is_grpc,
    is_serving,
    parse_grpc_status,
)

_log = logging.getLogger(__name__)

CHECKS_AT_ONCE = 32
"""Checks that go on at the same time. With more, those that are due wait."""

BODY = 1024 * 1024
"""Bytes of a response to a check that are read at most."""

UNREACHABLE = frozenset(
    {FailureReason.UNREACHABLE, FailureReason.CONNECT_TIMEOUT, FailureReason.UNTRUSTED}
)


@attrs.define(eq=False)
class HealthState:
    """What the checks of one server say; pure.

    Attributes:
        up: the verdict.
        proven: whether a check has decided it.
        against: checks in a row that contradict it.
    """

    up: bool = True
    proven: bool = False
    against: int = 0

    def note(self, rule: Health, *, good: bool) -> bool:
        """Note a check; tell whether the verdict has changed."""
        needed = 1 if not self.proven else rule.rise if good else rule.fall
        self.proven = True
        if good is self.up:
            self.against = 0
            return False
        self.against += 1
        if self.against < needed:
            return False
        self.up, self.against = good, 0
        return True


def pause_s(rule: Health, draw: float) -> float:
    """Give how long after a check the next one is; draw is uniform in [0, 1)."""
    return rule.interval * (1 + rule.jitter * (2 * draw - 1))


def is_good(rule: Health, status: int) -> bool:
    """Tell whether a status is one that a healthy server gives."""
    return any(low <= status <= high for low, high in rule.status)


def find_fault(rule: Health, found: FetchResult) -> str:
    """Say what is wrong with a response; "" for nothing."""
    if rule.grpc is None:
        return "" if is_good(rule, found.status) else f"status {found.status}"
    if found.status != 200 or not is_grpc(found.value(b"content-type")):
        return f"status {found.status}, and no response of gRPC"
    status = parse_grpc_status(found.value(b"grpc-status"))
    if status:
        return f"grpc-status {status}"
    return "" if is_serving(found.body) else "it does not say SERVING"


def request(rule: Health, upstream: Upstream) -> bytes:
    """Give what a server is asked."""
    host = rule.host.encode("latin-1") if rule.host else upstream.host
    if rule.grpc is not None:
        body = health_request(rule.grpc)
        return (
            b"POST %b/grpc.health.v1.Health/Check HTTP/1.1\r\nHost: %b\r\n"
            b"User-Agent: canary-trio (health check)\r\nTE: trailers\r\n"
            b"Content-Type: application/grpc\r\nContent-Length: %d\r\n\r\n%b"
            % (upstream.prefix, host, len(body), body)
        )
    target = upstream.prefix + rule.path.encode("latin-1")
    return (
        b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: canary-trio (health check)\r\n"
        b"Accept: */*\r\nConnection: close\r\n\r\n" % (target, host)
    )


@attrs.define(eq=False)
class _Watch:
    """One server that is checked."""

    server: ServerState
    rule: Health
    verdict: HealthState = attrs.field(factory=HealthState)


Ask = Callable[[Upstream, bytes], Awaitable[FetchResult]]
"""Ask an upstream a request. Raises NoResponse."""


async def ask_by_fetch(upstream: Upstream, request: bytes) -> FetchResult:
    """Ask over a connection of its own."""
    method, _, _ = request.partition(b" ")
    return await fetch(
        upstream, request, method=method, body_limit=BODY, keep_body=method == b"POST"
    )


class HealthChecker:
    """The active checks of one proxy."""

    def __init__(
        self,
        draw: Draw,
        now: Callable[[], float],
        ask: Ask = ask_by_fetch,
        *,
        places: trio.Semaphore | None = None,
    ) -> None:
        """Begin with none.

        Args:
            draw: chance, for the jitter.
            now: the clock of the rosters.
            ask: how a server is asked.
            places: of checks at a time, shared with others; its own by default.
        """
        self._draw = draw
        self._now = now
        self._ask = ask
        self._watches: dict[ServerState, _Watch] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._numbers = itertools.count()
        self._news = trio.Event()
        self._places = places or trio.Semaphore(CHECKS_AT_ONCE)

    def __repr__(self) -> str:
        down = sum(not watch.verdict.up for watch in self._watches.values())
        return f"<Checks servers={len(self._watches)} down={down}>"

    def __bool__(self) -> bool:
        return bool(self._watches)

    def follow(self, servers: Iterable[tuple[ServerState, Health | None]]) -> None:
        """Take over which servers are checked, and how; the others are up."""
        before, self._watches = self._watches, {}
        for server, rule in servers:
            if rule is None or server.server.mode is ServerMode.MAINTENANCE:
                continue
            watch = before.pop(server, None)
            if watch is None:
                watch = _Watch(server, rule)
                self._schedule(watch, trio.current_time())
                self._news.set()
            watch.rule = rule
            self._watches[server] = watch
        for server in before:
            server.check_error = ""
            if not server.up:
                server.listener.checked(server, self._now(), up=True)

    async def run(self) -> None:
        """Check until cancelled."""
        self._due.clear()  # and those that a failure has cut off
        for watch in self._watches.values():
            self._schedule(watch, trio.current_time())
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                await self._begin_due(nursery)
                soonest = self._due[0][0] if self._due else math.inf
                with trio.move_on_after(max(0.0, soonest - trio.current_time())):
                    await self._news.wait()

    async def _begin_due(self, nursery: trio.Nursery) -> None:
        while self._due and self._due[0][0] <= trio.current_time():
            await self._places.acquire()
            _, _, watch = heapq.heappop(self._due)
            if self._watches.get(watch.server) is watch:
                nursery.start_soon(self._check, watch)
            else:
                self._places.release()

    async def _check(self, watch: _Watch) -> None:
        try:
            found = await self._find_error(watch)
        finally:
            self._places.release()
        if self._watches.get(watch.server) is not watch:
            return  # the document has changed meanwhile
        if found is not None:
            self._conclude(watch, found[0], unreachable=found[1])
        self._schedule(watch, trio.current_time() + pause_s(watch.rule, self._draw()))
        self._news.set()

    async def _find_error(self, watch: _Watch) -> tuple[str, bool] | None:
        """Give what is wrong, and whether it is unreachable; None where we lacked files."""
        rule, upstream = watch.rule, watch.server.upstream
        try:
            with trio.move_on_after(rule.timeout):
                found = await self._ask(upstream, request(rule, upstream))
                return find_fault(rule, found), False
        except NoResponse as exc:
            if exc.failure.condition is FailureReason.FULL:
                return None
            return str(exc), exc.failure.condition in UNREACHABLE
        except Exception as exc:
            _log.exception("%s: its check failed", upstream.name)
            return f"{type(exc).__name__}: {exc}", False
        return f"no response within {rule.timeout:g} s", False

    def _conclude(self, watch: _Watch, error: str, *, unreachable: bool) -> None:
        server = watch.server
        server.check_error = error
        changed = watch.verdict.note(watch.rule, good=not error)
        up = watch.verdict.up
        if up and not error:
            server.listener.reached(server, self._now())
        if not changed:
            return
        server.listener.checked(server, self._now(), up=up, unreachable=unreachable)

    def _schedule(self, watch: _Watch, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), watch))
