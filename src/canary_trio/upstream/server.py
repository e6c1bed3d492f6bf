"""One server of one arm: all that outlives a configuration.

A `ServerState` is keyed by its arm and its URL, so a server that serves two arms is
counted and judged apart. Who forwards tells it of each request, `began` and `ended`;
what that changes for the choice of servers it tells its `ServerListener`, at once.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable
from typing import Protocol

import attrs

from canary_trio.config.model import Server, ServerMode
from canary_trio.config.policies import ServerLimits
from canary_trio.upstream.outlier_detection import OutlierRecord
from canary_trio.upstream.pending_queue import PendingQueue, Waiter
from http_trio import Upstream

_SMOOTHING = 0.1  # the weight of the newest response in the mean latency


class ArmNews(enum.Enum):
    """What changes for an arm or one of its servers; the first four are of a server, the others of the arm."""

    EJECTED = "ejected"
    """Requests failed at it, so it is out for a time."""
    READMITTED = "readmitted"
    """That time is over, or a check finds it well."""
    DOWN = "down"
    """Its checks fail."""
    UP = "up"
    """They do no more, or it is not checked any more."""
    PANIC = "panic"
    """Too few servers are healthy, so health is ignored."""
    CALM = "calm"
    """Enough are again."""
    EMPTY = "empty"
    """No server is usable."""
    SERVING = "serving"
    """One is again."""


class ServerListener(Protocol):
    """Who is told what changes for the choice among an arm's servers."""

    def filled(self, server: ServerState, /) -> None:
        """Take that a server has no place for another request."""

    def freed(self, server: ServerState, /) -> None:
        """Take that a full server has a place again."""

    def failed(self, server: ServerState, now: float, *, unreachable: bool) -> None:
        """Take that a request failed at a server."""

    def left(self, server: ServerState) -> None:
        """Take that the last request of a removed server has ended."""

    def checked(
        self, server: ServerState, now: float, *, up: bool, unreachable: bool = False
    ) -> None:
        """Take what active checks have decided of a server."""

    def reached(self, server: ServerState, now: float) -> None:
        """Take that an active check finds a server well."""


@attrs.define(eq=False)
class ServerState:
    """One server of one arm.

    Attributes:
        server: as the running configuration has it.
        listener: who is told what changes for the choice of servers.
        weight: its present share among the others; it grows in a slow start.
        limit: requests in progress that it is given at most.
        crowded_at: requests in progress from which on places are short: who takes one
            is ready to be sent, and its client has not had its share.
        share: of the places that are short, those that one client is given.
        shares: by client, how many of them it has.
        debt: what round robin owes it.
        full: whether it has no place for another request now.
        most_in_flight: that there ever were at once.
        removed: whether the configuration has it no more.
        up: what active checks say; True until they say otherwise.
        check_error: what the latest active check found wrong; "" for nothing.
        ejected_until: when it comes back from an ejection; 0 if it is not out.
        unreachable: whether it went out since no connection could be made.
        since: when it was last taken out or came back, or when we came to know it; in
            seconds since 1970.
        warm_from: when its slow start began; 0 if it is warm.
        warmer_at: when its weight grows next, while it is cold.
        requests: given to it.
        failures: of these, without a response or with 5xx.
        latency_s: the mean of the latest responses; 0 before the first.
        queue: those that wait for a place; None before the first.
    """

    server: Server
    upstream: Upstream
    listener: ServerListener = attrs.field(repr=False)
    weight: float = 1.0
    limit: int = 1024
    crowded_at: int = 384
    share: int = 384
    shares: dict[str, int] = attrs.field(factory=dict, repr=False)
    in_flight: int = 0
    most_in_flight: int = 0
    debt: float = 0.0
    full: bool = False
    removed: bool = False
    up: bool = True
    check_error: str = ""
    ejected_until: float = 0.0
    unreachable: bool = False
    since: float = attrs.field(factory=time.time)
    warm_from: float = 0.0
    warmer_at: float = 0.0
    requests: int = 0
    failures: int = 0
    latency_s: float = 0.0
    record: OutlierRecord = attrs.field(factory=OutlierRecord)
    queue: PendingQueue | None = None

    @property
    def name(self) -> str:
        """The URL of the server."""
        return self.server.url

    @property
    def ready(self) -> bool:
        """Whether the configuration lets it serve new users."""
        return self.server.mode is ServerMode.READY

    @property
    def healthy(self) -> bool:
        """Whether neither active nor passive checks have taken it out."""
        return self.up and not self.ejected_until

    def limit_to(self, limits: ServerLimits) -> None:
        """Take what it may be given; one client gets half of its share uncounted.

        To count from the first request on would cost each one, and only who has more
        than others have is to be held back.
        """
        self.limit = limits.in_flight
        most = max(1, math.ceil(limits.in_flight * limits.client_share))
        self.crowded_at = most // 2
        self.share = most - self.crowded_at

    def has_room_for(self, client: str) -> bool:
        """Whether it has a place for another request of a client; "" for no client."""
        if self.full:
            return False
        if self.in_flight < self.crowded_at or not client:
            return True
        return self.shares.get(client, 0) < self.share

    def take_share(self, client: str) -> str:
        """Count one of the places that are short as a client's; give whose."""
        if client:
            self.shares[client] = self.shares.get(client, 0) + 1
        return client

    def give_share(self, client: str) -> str:
        """Count it no more; give "", for nobody's."""
        left = self.shares.pop(client) - 1
        if left:
            self.shares[client] = left
        return ""

    def queue_up(self, waiter: Waiter, client: str, limits: ServerLimits) -> bool:
        """Let a request of a client wait for a place; give False if too many do."""
        queue = self.queue
        if queue is None:
            queue = self.queue = PendingQueue(self)
        most = limits.pending
        if client:
            most = min(most, max(1, math.ceil(most * limits.client_share)))
        if len(queue) >= limits.pending or queue.count(client) >= most:
            return False
        queue.join(waiter, client)
        return True

    def began(self, now: float) -> None:
        """Note that a request goes to it; each is followed by one `ended`."""
        del now
        self.requests += 1
        self.in_flight += 1
        if self.in_flight > self.most_in_flight:  # noqa: PLR1730  # the hot path
            self.most_in_flight = self.in_flight
        if self.in_flight >= self.limit and not self.full:
            self.full = True
            self.listener.filled(self)

    def ended(
        self,
        now: float,
        ok: bool | None,  # noqa: FBT001  # as read aloud: ended, ok, begun then
        started: float,
        *,
        unreachable: bool = False,
    ) -> None:
        """Note that a request, or a try of it, is over.

        Args:
            now: the event loop's clock.
            ok: whether it had a response below 500; None if it tells nothing of the
                server, such as a client that went away.
            started: when it was sent.
            unreachable: no connection could be made, so no request can be served.
        """
        self.in_flight -= 1
        if self.full and self.in_flight < self.limit:
            self.full = False
            self.listener.freed(self)
        if ok:
            seconds = now - started
            mean = self.latency_s
            self.latency_s = mean + (seconds - mean) * _SMOOTHING if mean else seconds
            if self.record.in_a_row or self.record.on_trial:
                self.record.succeeded()
        elif ok is not None:
            self.failures += 1
            self.listener.failed(self, now, unreachable=unreachable)
        if self.queue:
            self.queue.freed()
        if self.removed and not self.in_flight:
            self.listener.left(self)


OnNews = Callable[[ArmNews, ServerState | None], None]
"""Takes a change, and the server that it is of."""
