"""The limits of one service or route, made ready: what passes, and what is told of it. Pure.

The rule that it obeys: a request that one limit refuses counts against none, and those
that only look on (`dry_run`) count as if they refused. Who refuses says so in the fields of
the IETF's draft (draft-ietf-httpapi-ratelimit-headers-11):

    RateLimit-Policy: "per-client";q=100;w=60
    RateLimit: "per-client";r=0;t=12

    q  requests that a time of w whole seconds allows
    r  requests that are left: none, or it would have passed
    t  seconds until one passes; so says Retry-After, of the limit that takes longest
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from canary_trio.config.access import RateLimit
from canary_trio.routing.access.cells import Cells
from canary_trio.routing.access.rate_limit import (
    NS,
    LimitCounts,
    OneLimit,
)
from http_trio.http1.grpc import RESOURCE_EXHAUSTED
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response import Response, error_response


@attrs.frozen
class Standing:
    """How a request stands with a limit that it counts against.

    Attributes:
        limit: its name.
        by: with whose requests it is counted, in words.
        rule: how many may pass, in words.
        dry_run: whether the limit refuses nothing.
        left: requests that may come at once; None where nothing was counted.
        wait_s: until one passes; 0 where one does now.
    """

    limit: str
    by: str
    rule: str
    dry_run: bool
    left: int | None = None
    wait_s: float = 0.0


@attrs.frozen
class Excess:
    """A request that limits refuse.

    Attributes:
        waits: those limits, each with the nanoseconds until it lets one pass.
    """

    waits: Sequence[tuple[OneLimit, int]]

    @property
    def limit(self) -> str:
        """The name of the limit that takes longest."""
        return max(self.waits, key=lambda one: one[1])[0].name

    def response(self) -> Response:
        """Give the response."""
        seconds = [(limit, -(-wait // NS)) for limit, wait in self.waits]
        retry_s = max(wait_s for _, wait_s in seconds)
        response = error_response(
            429,
            f"more than the limit {self.limit} allows; try again in {retry_s} s",
            retry_after_s=retry_s,
        )
        policies = ", ".join(limit.policy for limit, _ in seconds)
        limits = ", ".join(f'"{limit.name}";r=0;t={wait}' for limit, wait in seconds)
        response.headers += (
            (b"RateLimit-Policy", policies.encode()),
            (b"RateLimit", limits.encode()),
        )
        response.grpc_status = RESOURCE_EXHAUSTED
        return response


class RateLimiter:
    """The limits of one service or route.

    Args:
        owner: whose limits they are; what was counted is kept by this and their names.
        limits: as the document says them.
        cells: where it is kept what each client has left.
        counts: gives what a limit of a name has done.
    """

    def __init__(
        self,
        owner: str,
        limits: Iterable[RateLimit],
        cells: Cells,
        counts: Callable[[str], LimitCounts],
    ) -> None:
        self._limits = [
            OneLimit(owner, limit, cells, counts(limit.name)) for limit in limits
        ]
        self._cells = cells

    def __repr__(self) -> str:
        return f"<RateLimiter {self._limits}>"

    def check(self, head: RequestHead, client: str, now: int) -> Excess | None:
        """Count a request; None if it may pass.

        Args:
            head: its.
            client: its address.
            now: nanoseconds, on the clock of all who share the cells.
        """
        take = self._cells.take
        taken: list[tuple[OneLimit, int]] = []
        for place, limit in enumerate(self._limits, 1):
            if limit.exempt is not None and client in limit.exempt:
                continue
            key = limit.key_of(head, client)
            wait = take(key, now, limit.interval, limit.tolerance)
            if not wait:
                limit.counts.passed += 1
                taken.append((limit, key))
            elif limit.dry_run:
                limit.counts.dry_run += 1
            else:
                limit.counts.refused += 1
                self._give_back(taken)
                others = self._limits[place:]
                waits = [(limit, wait), *self._waits(others, head, client, now)]
                return Excess(waits)
        return None

    def standings(
        self, head: RequestHead, client: str, now: int | None
    ) -> Iterator[Standing]:
        """Tell how a request stands, and count nothing; without a time, with whom."""
        for limit in self._limits:
            if limit.exempt is not None and client in limit.exempt:
                continue
            by = limit.words_of_key(head)
            found = Standing(limit.name, by, limit.words, limit.dry_run)
            if now is not None:
                ahead = self._cells.ahead(limit.key_of(head, client), now)
                left = (limit.tolerance + limit.interval - ahead) // limit.interval
                wait = min(max(ahead - limit.tolerance, 0), limit.interval)
                found = attrs.evolve(found, left=max(left, 0), wait_s=wait / NS)
            yield found

    def _give_back(self, taken: Iterable[tuple[OneLimit, int]]) -> None:
        """Undo what a request took that another limit refuses."""
        for limit, key in taken:
            self._cells.give_back(key, limit.interval)
            limit.counts.passed -= 1

    def _waits(
        self,
        limits: Iterable[OneLimit],
        head: RequestHead,
        client: str,
        now: int,
    ) -> Iterator[tuple[OneLimit, int]]:
        """Give which of these would refuse a request too, and how long they would."""
        for limit in limits:
            if limit.dry_run or (limit.exempt is not None and client in limit.exempt):
                continue
            ahead = self._cells.ahead(limit.key_of(head, client), now)
            if ahead > limit.tolerance:
                yield limit, ahead - limit.tolerance
