"""What keeps a failing arm from its users: when a request is tried again, and where. Pure.

A request that failed before anything of a response went out is served by another server
of its arm, or by the arm that it falls back to. The rules that it obeys:

- What was not sent goes elsewhere at once, and costs nothing: no server got it.
- What was sent is repeated only if its method is idempotent (RFC 9110 section 9.2.2) and
  it is held whole; within `tries`, within the arm's budget (`upstream.retry_budget`),
  and after a pause.
- The last try of what was sent is the other arm's, which is not the one that fails.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from canary_trio.config.policies import Retries

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
