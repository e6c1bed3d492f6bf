"""One limit of the rate of requests, made ready: whose key a request has. Pure.

The rule that it obeys: a request always has a key. One without the header, cookie or
parameter that a limit counts by, or with several, is counted by its address, beside those
that have one; and where it has no address, as at a Unix socket, with all that have none.
"""

from __future__ import annotations

import math

import attrs

from canary_trio.config.access import BY_ADDRESS, RateLimit
from canary_trio.config.rules import Source
from canary_trio.routing.access.cells import Cells
from canary_trio.routing.access.gate import NetworkSet
from canary_trio.routing.access.limit_key import GetValue, value_getter
from canary_trio.routing.request.request_view import network_of
from http_trio.http1.request_head import RequestHead

NS = 1_000_000_000
"""Nanoseconds of a second: the unit of all times here."""

ADDRESSES_KEPT = 4096
"""Clients whose keys a limit keeps at hand; then all are made anew."""


@attrs.define(eq=False)
class LimitCounts:
    """What a limit has done; it outlives configurations.

    Attributes:
        passed: requests that it let pass.
        refused: that it refused.
        dry_run: that it would have refused.
    """

    passed: int = 0
    refused: int = 0
    dry_run: int = 0


class OneLimit:
    """One limit, made ready.

    Attributes:
        name: its name.
        counts: what it has done.
        interval, tolerance: as `Cells.take` asks for them.
        policy: the value of its `RateLimit-Policy`.
        words: what it allows, for people.
        exempt: who is not counted; None where all are.
        dry_run: whether it refuses nothing.
        by: whose requests are counted together; None for those of all.
    """

    __slots__ = (
        "_all",
        "_by_address",
        "_get",
        "_keys",
        "_kept",
        "by",
        "counts",
        "dry_run",
        "exempt",
        "interval",
        "name",
        "policy",
        "tolerance",
        "words",
    )

    def __init__(
        self, owner: str, limit: RateLimit, cells: Cells, counts: LimitCounts
    ) -> None:
        self.name, self.by, self.dry_run = limit.name, limit.by, limit.dry_run
        self.counts = counts
        self.interval = max(1, round(limit.per * NS / limit.requests))
        self.tolerance = self.interval * (limit.at_once - 1)
        self.policy = policy_of(limit)
        self.words = f"{limit.requests} in {limit.per:g} s, {limit.at_once} at once"
        self.exempt = NetworkSet(limit.exempt) if limit.exempt else None
        self._keys = cells.keys_of(f"{owner}\n{limit.name}".encode())
        self._all = self._keys(b"")
        self._kept: dict[str, int] = {}
        self._get: GetValue | None = None
        self._by_address = BY_ADDRESS
        if limit.by is not None and limit.by.source is Source.ADDRESS:
            self._by_address = limit.by
        elif limit.by is not None:
            self._get = value_getter(limit.by)

    def __repr__(self) -> str:
        return f"<OneLimit {self.name} {self.counts}>"

    def words_of_key(self, head: RequestHead) -> str:
        """Say with whose requests one is counted."""
        if self.by is None:
            return "service"
        if self._get is None:
            return "address"
        named = f"{self.by.source.value} {self.by.name}"
        return named if self._get(head) else f"address, without {named}"

    def key_of(self, head: RequestHead, client: str) -> int:
        """Give the key of a request."""
        if self.by is None:
            return self._all
        if self._get is not None:
            value = self._get(head)
            if value is not None:
                return self._keys(b"=" + value)
        key = self._kept.get(client)
        if key is None:
            if len(self._kept) >= ADDRESSES_KEPT:
                self._kept.clear()
            by = self._by_address
            network = network_of(client, by.v4, by.v6)  # None at a Unix socket
            key = self._kept[client] = self._keys(b"@" + (network or b""))
        return key


def policy_of(limit: RateLimit) -> str:
    """Give the item that says a limit in `RateLimit-Policy`: whole seconds, at least one.

    >>> policy_of(RateLimit("a", 100, 60.0)), policy_of(RateLimit("a", 5, 0.25))
    ('"a";q=100;w=60', '"a";q=20;w=1')
    """
    window = math.ceil(limit.per)
    quota = max(1, int(limit.requests * window / limit.per))
    return f'"{limit.name}";q={quota};w={window}'
