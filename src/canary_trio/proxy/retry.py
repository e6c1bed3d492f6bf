"""What keeps a failing arm from its users: when a request is tried again, and where. Pure.

A request that failed before anything of an answer went out is served by another server
of its arm, or by the arm that it falls back to. The rules that it obeys:

- What was not sent goes elsewhere at once, and costs nothing: no server got it.
- What was sent is repeated only if its method is idempotent (RFC 9110 section 9.2.2) and
  it is held whole; within `tries`, within the budget, and after a pause.
- The last try of what was sent is the other arm's, which is not the one that fails.

The budget bounds what repeats add to a load that may be why they are needed; a limit per
request alone would multiply it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable

import attrs

from canary_trio.config.policies import Retries

WINDOW_S = 10.0
"""The budget is a share of the requests of the last one to two of these."""

SERVERS_TRIED = 3
"""Servers of one arm that are tried, one after another, with what was not sent."""


class Step(enum.Enum):
    """What follows a failed try."""

    OTHER = "other"
    """Another server of the same arm."""

    FALLBACK = "fallback"
    """The arm that it falls back to."""

    SAME = "same"
    """The arm again, whichever of its servers."""

    GIVE_UP = "give up"
    """An error for the client."""


def next_step(
    *, sent: bool, tries_left: int, tried: int, other: bool, fallback: bool
) -> Step:
    """Decide what follows a failed try that may be repeated.

    Args:
        sent: whether the server may have got it.
        tries_left: further tries of what was sent; the budget has one if not 0.
        tried: servers of the arm that were tried, the failed one included.
        other: whether the arm has a usable server that was not tried.
        fallback: whether there is an arm to fall back to.

    >>> next_step(sent=True, tries_left=1, tried=1, other=True, fallback=True)
    <Step.FALLBACK: 'fallback'>
    """
    if not sent:
        if other and tried < SERVERS_TRIED:
            return Step.OTHER
        if fallback:
            return Step.FALLBACK
        return Step.SAME if tries_left and not other else Step.GIVE_UP
    if not tries_left:
        return Step.GIVE_UP
    if fallback and (tries_left == 1 or not other):
        return Step.FALLBACK
    return Step.OTHER if other else Step.SAME


def pause_s(rule: Retries, repeats: int, draw: Callable[[], float]) -> float:
    """Give the pause before a repeat, in seconds: exponential, with full jitter.

    M. Brooker, "Exponential Backoff And Jitter", 2015.

    Args:
        rule: of the arm.
        repeats: earlier ones of this request.
        draw: gives numbers in [0, 1).
    """
    longest: float = min(rule.longest_backoff, rule.backoff * 2**repeats)
    return draw() * longest


@attrs.define(eq=False)
class Budget:
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
