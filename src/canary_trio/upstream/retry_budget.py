"""How many repeats an arm may have: a share of its requests. Pure.

The budget bounds what repeats add to a load that may be why they are needed; a limit per
request alone would multiply it.
"""

from __future__ import annotations

import math

import attrs

from canary_trio.config.policies import Retries

WINDOW_S = 10.0
"""The budget is a share of the requests of the last one to two of these."""


@attrs.define(eq=False)
class RetryBudget:
    """How many repeats an arm may still have; it outlives configurations.

    Repeats are at most the rule's share of the requests of a window, which is one to two
    times `WINDOW_S` long; beyond it `per_second` of them, as a bucket of tokens with room
    for those of one second. Requests are counted elsewhere anyway, so a request costs
    this only a look at the clock: `move_on` is called when `next_at` has come.

    Attributes:
        next_at: when a request is to be told by `move_on`.
        spent: repeats granted so far.
        refused: repeats that were not granted.
    """

    next_at: float = -math.inf
    spent: int = 0
    refused: int = 0
    _older: tuple[int, int] = (0, 0)
    """The requests and the repeats so far when the window began."""
    _newer: tuple[int, int] = (0, 0)
    """The same of the next window."""
    _tokens: float = math.inf
    _filled_at: float = 0.0

    def move_on(self, now: float, requests: int) -> None:
        """Begin another window, at the first request after the last one's end."""
        idle = now >= self.next_at + WINDOW_S
        latest = requests, self.spent
        self._older = latest if idle else self._newer
        self._newer = latest
        self.next_at = now + WINDOW_S

    def take(self, rule: Retries, now: float, requests: int) -> bool:
        """Ask for one repeat.

        Args:
            rule: of the arm.
            now: the time; never earlier than before.
            requests: of the arm so far.
        """
        requests_before, spent_before = self._older
        allowed = rule.budget * (requests - requests_before)
        granted = self.spent - spent_before + 1 <= allowed or self._take_token(
            rule, now
        )
        if granted:
            self.spent += 1
        else:
            self.refused += 1
        return granted

    def _take_token(self, rule: Retries, now: float) -> bool:
        room = max(rule.per_second, 1.0) if rule.per_second else 0.0
        earned = (now - self._filled_at) * rule.per_second
        tokens = min(room, self._tokens + earned)
        self._filled_at = now
        granted = tokens >= 1.0
        self._tokens = tokens - granted
        return granted
