"""The sessions' clocks: which session ends when, if nobody renews it. Pure.

A session ends when twice its time to live has passed since it was last renewed, as on a
Consul: the time to live is what a holder may count on, and what follows is patience with
a renewal that is late. Clients know, and ask for half of what they mean.

The rule that it obeys: time in which the store could hear nobody does not count. Where it
was frozen (a paused machine, SIGSTOP, a disk that hangs), renewals wait in their sockets;
so the clock stands still for as long, and after it nobody ends before what waits has been
read. The store notices by its own beat, which came late.
"""

from __future__ import annotations

import heapq

from kv_trio.state.entry import Session

LIVES = 2
"""Times to live after which a session ends that is not renewed."""

BEAT_S = 1.0
"""Seconds between two looks at the clocks, at most."""

LATE_S = 1.0
"""Seconds that a look may come late before the store counts as having been frozen."""

GRACE_S = 1.0
"""Seconds after it was frozen in which no session ends, for what waits to be read."""

_SPARE = 64  # places in the queue of sessions that have ended, whatever there is


class SessionClocks:
    """The clocks of all sessions that have a time to live.

    Times are in seconds, of a clock that does not go back.
    """

    def __init__(self) -> None:
        self._ends_at: dict[str, float] = {}  # on a clock that stands still when deaf
        self._lives_s: dict[str, float] = {}
        self._queue: list[
            tuple[float, str]
        ] = []  # earliest first; some are out of date
        self._deaf_s = 0.0  # in all
        self._heard_at = 0.0
        self._ended_from = 0.0  # in the grace nobody ends

    def __repr__(self) -> str:
        return f"<SessionClocks of {len(self._ends_at)} sessions>"

    def __len__(self) -> int:
        return len(self._ends_at)

    def start(self, session: Session, now: float) -> None:
        """Give a session its whole time; one without a time to live never ends."""
        if not session.ttl_s:
            return
        if not self._ends_at:
            self._heard_at = now  # until now nobody looked
        self._lives_s[session.id] = LIVES * session.ttl_s
        self.renew(session.id, now)
        heapq.heappush(self._queue, (self._ends_at[session.id], session.id))

    def renew(self, id_: str, now: float) -> None:
        """Give a session its whole time anew; one that has no clock is left alone."""
        life_s = self._lives_s.get(id_)
        if life_s is not None:
            self._hear(now)
            self._ends_at[id_] = now - self._deaf_s + life_s

    def stop(self, id_: str) -> None:
        """Forget a session, which has ended, or is about to."""
        self._ends_at.pop(id_, None)
        self._lives_s.pop(id_, None)
        if len(self._queue) > 2 * len(self._ends_at) + _SPARE:
            self._queue = [(at, id_) for id_, at in self._ends_at.items()]
            heapq.heapify(self._queue)

    def next_look(self) -> float:
        """Give the time of the next `look`; infinity while nobody has a clock."""
        if not self._ends_at:
            return float("inf")
        ends_at = self._queue[0][0] + self._deaf_s
        return min(self._heard_at + BEAT_S, max(ends_at, self._ended_from))

    def look(self, now: float) -> list[str]:
        """Give the sessions whose time is over, and stop their clocks."""
        self._hear(now)
        ended: list[str] = []
        if now < self._ended_from:
            return ended
        while self._queue and self._queue[0][0] <= now - self._deaf_s:
            at, id_ = heapq.heappop(self._queue)
            ends_at = self._ends_at.get(id_)
            if ends_at is None:
                continue
            if ends_at > at:
                heapq.heappush(self._queue, (ends_at, id_))
            else:
                self.stop(id_)
                ended.append(id_)
        return ended

    def _hear(self, now: float) -> None:
        """Note that the store hears; if it did not for long, that time does not count."""
        silent_s = now - self._heard_at
        self._heard_at = now
        if self._ends_at and silent_s > BEAT_S + LATE_S:
            self._deaf_s += silent_s - BEAT_S
            self._ended_from = now + GRACE_S
