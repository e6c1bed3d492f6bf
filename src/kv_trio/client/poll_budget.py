"""The rate of a loop that asks a store again and again. Pure.

A blocking read is to wait, and a retry is to be seldom; but a store whose index moves
without the key, a cache that drops the query, or an error that comes at once makes a
tight loop of either. So each such loop has a token bucket: a change that comes seldom
is asked for at once, and a loop that spins is held to the rate, whatever the reason.

A request that brought something new was worth it, so it costs a share of one that did not:
changes that come one after the other are followed as they come, and from some hundreds a
second on only the newest of them is taken. Where the process is busy without a pause, what
they cost is taken from its other work; then fewer a second are taken, so that this goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

POLLS_PER_S = 10.0
"""Requests a second of one loop in the long run."""

NEWS_PER_S = 400.0
"""Requests a second of one loop in the long run where each of them brings something new."""

BUSY_NEWS_PER_S = 90.0
"""The same where the process has no processor time to spare: 11 ms between two of them."""

POLL_BURST = 5
"""Requests of one loop that need not wait, after a time in which there were none."""

_JITTER = 0.5  # of a pause at most, so that many clients do not come at once


class PollBudget:
    """A token bucket that counts the requests of one loop."""

    def __init__(
        self,
        rate: float = POLLS_PER_S,
        burst: int = POLL_BURST,
        *,
        news_rate: float = NEWS_PER_S,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Begin with a full bucket.

        Args:
            rate: requests a second in the long run.
            burst: requests that need not wait.
            news_rate: requests a second in the long run that each bring something new.
            draw: gives a number from 0 up to 1.
        """
        self._rate = rate
        self._burst = burst
        self._news_cost = rate / news_rate
        self._busy_news_cost = rate / min(news_rate, BUSY_NEWS_PER_S)
        self._draw = draw
        self._tokens = burst - 1.0
        self._cost = 0.0  # of the request before; the first is paid for
        self._seen_at: float | None = None

    def __repr__(self) -> str:
        return f"<PollBudget {self._rate:g}/s, {self._tokens:.1f} left>"

    def next_s(self, now: float) -> float:
        """Give the seconds that the next request must wait; it counts from now on.

        Args:
            now: in seconds, of a clock that does not go back.
        """
        since_s = 0.0 if self._seen_at is None else max(0.0, now - self._seen_at)
        self._seen_at = now
        cost, self._cost = self._cost, 1.0
        filled = min(self._burst - 1.0 + cost, self._tokens + since_s * self._rate)
        self._tokens = filled - cost
        if self._tokens >= 0.0:
            return 0.0
        # Of news each client has its own pace anyway.
        jitter = _JITTER * self._draw() if cost == 1.0 else 0.0
        return -self._tokens / self._rate * (1.0 + jitter)

    def brought_news(self, *, is_busy: bool = False) -> None:
        """Note that the last request brought something that was not known before.

        Args:
            is_busy: whether the process has no processor time to spare.
        """
        self._cost = self._busy_news_cost if is_busy else self._news_cost
