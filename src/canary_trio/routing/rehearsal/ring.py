"""The last requests that came, as much of them as routing looks at. Pure but for its state.

Requests are sampled: all are noted until the ring is full, and where few come; where many do,
fewer, but one in 1,024 at least, drawn evenly. So a request costs a step of a counter, and what
is noted reaches back seconds on a busy proxy, and up to an hour on a quiet one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from canary_trio.config.rules import Key
from canary_trio.routing.buckets import bucket
from canary_trio.routing.rehearsal.noted_request import (
    Hidden,
    NotedRequest,
    StandIns,
    digest_of,
)
from canary_trio.routing.rehearsal.reads import Name, Reads
from canary_trio.routing.request.request_view import SLOTS, RequestReader
from canary_trio.routing.router import Router
from http_trio.http1.request_head import RequestHead

NOTED = 1000
"""Requests that are noted of one service in one process."""

MOST_NOTED = 10_000
"""Of one service at most, for asking about them takes a proxy's time: 0.1 ms each."""

NOTED_S = 3600.0
"""For how long what is noted of a request is used."""

PATH_BYTES = 4096
"""Of a path; a request with a longer one is not noted."""

VALUE_BYTES = 1024
"""Of a value that is kept as it is; of a longer one only its digest is."""

_PACE_S = 0.02  # less between two noted ones, and fewer are noted
_SPARSEST = 1024
_KEY_BYTES = 32


class NotedRequests:
    """A ring of what was noted.

    Attributes:
        left: requests that go by before the next one is noted. Who serves counts it down,
            and calls `note` when it is below 0.
    """

    __slots__ = (
        *("left", "_also", "_gap", "_key", "_last", "_looked_for", "_noted", "_number"),
        *("_read", "_reads", "_router", "_size", "_spacing", "_stand_ins", "_uniform"),
    )

    def __init__(
        self, size: int, uniform: Callable[[], float], draw: Callable[[int], bytes]
    ) -> None:
        """Note up to `size` requests, none for 0.

        Args:
            size: of the ring.
            uniform: draws from [0, 1).
            draw: gives so many random bytes.
        """
        self.left = 0 if size else 1 << 62
        self._size, self._uniform, self._key = size, uniform, draw(_KEY_BYTES)
        self._noted: deque[NotedRequest] = deque(maxlen=size)
        self._number = self._gap = 0
        self._spacing, self._last = 1, -_PACE_S
        self._router: Router | None = None
        self._reads = self._also = self._looked_for = Reads()
        self._read = RequestReader(()).read
        self._stand_ins = StandIns(b"")

    def __repr__(self) -> str:
        return f"<NotedRequests {len(self._noted)} of {self._number}>"

    @property
    def is_off(self) -> bool:
        """Whether nothing is noted."""
        return not self._size

    @property
    def stand_ins(self) -> StandIns:
        """Give what stands in for values that are not kept."""
        return self._stand_ins

    def note(
        self,
        router: Router,
        head: RequestHead,
        client: str,
        now: float,
        *,
        secure: bool,
        certificate: bool,
    ) -> None:
        """Note a request, and draw how many go by before the next.

        Args:
            router: that routes it.
            head: as the router sees it.
            client: its address.
            now: in seconds, of a clock that only goes forward.
            secure: whether it came by TLS.
            certificate: whether its client has a verified certificate.
        """
        if not self._size:
            self.left = 1 << 62
            return
        self._pace(now)
        if router is not self._router:
            self._follow(router)
        path = head.target.partition(b"?")[0]
        if len(path) > PATH_BYTES:
            return
        key, salt = self._key, self._stand_ins.salt
        found = self._read(head, client).found
        values: dict[Name, bytes | Hidden] = {}
        for name in self._looked_for.names:
            source, called = name
            value = found[SLOTS[source]].get(called)
            if value is not None:
                short = len(value) <= VALUE_BYTES
                if not value or (short and self._reads.may_keep(name)):
                    values[name] = value
                else:
                    values[name] = Hidden(digest_of(value, key), bucket(value, salt))
        user = router.user_of(head, client)
        self._noted.append(
            NotedRequest(
                head.method,
                path,
                head.host or b"",
                client if self._looked_for.client else "",
                secure,
                head.framing,
                certificate,
                values,
                None
                if user is None
                else Hidden(digest_of(user, key), bucket(user, salt)),
                self._looked_for,
                self._number,
                now,
            )
        )

    def ask(self, router: Router, proposed: Reads, now: float) -> list[NotedRequest]:
        """Give what is noted; from now on, what the proposed document reads is noted too.

        Args:
            router: that routes at present.
            proposed: what the document reads that is asked about.
            now: as of `note`.
        """
        self._follow(router, proposed)
        while self._noted and self._noted[0].at < now - NOTED_S:
            self._noted.popleft()
        return list(self._noted)

    def seen_since(self, request: NotedRequest) -> int:
        """Give how many requests came since one was noted, with it."""
        gone_by = self._gap - max(0, self.left)
        return self._number + gone_by - request.number + 1

    def known(self, *reads: Reads) -> dict[tuple[Name, bytes], bytes]:
        """Give the values that documents compare with, by name and digest."""
        return {
            (name, digest_of(value, self._key)): value
            for one in reads
            for name, value in one.equals
        }

    def _pace(self, now: float) -> None:
        """Draw how many go by; more where the last one was noted a moment ago."""
        self._number += self._gap + 1
        if len(self._noted) < self._size:
            self._spacing = 1
        elif now - self._last < _PACE_S:
            self._spacing = min(_SPARSEST, self._spacing * 2)
        else:
            self._spacing = max(1, self._spacing // 2)
        self._last = now
        self._gap = self.left = int(self._uniform() * (2 * self._spacing - 1))

    def _follow(self, router: Router, also: Reads | None = None) -> None:
        """Look for what a router reads, and a document that was asked about."""
        if router is self._router and also is None:
            return
        self._router, self._reads = router, Reads.of(router.config)
        if also is not None:
            self._also = also
        if router.salt != self._stand_ins.salt:  # the buckets are of another epoch
            self._noted.clear()
            self._stand_ins = StandIns(router.salt)
        reads, also = self._reads, self._also
        self._looked_for = Reads(
            names=reads.names | also.names, client=reads.client or also.client
        )
        keys = [Key(source, called.decode()) for source, called in reads.names]
        keys += [Key(source, called.decode()) for source, called in also.names]
        self._read = RequestReader(keys).read
