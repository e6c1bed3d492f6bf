"""Users whose first response was timed, each told by himself. Pure.

A sum would not do: a user who comes to several proxies would count at each of them, and a
few who are always slow would look like many. So each is told by a number, as who failed is,
and who adds up the fleet counts each number once (`FirstTimes`).

The rule that it obeys: who of many is told is chosen by chance, each with the same, from
the whole tick. Who came last in it would not do: what happens once in a tick would be in
the times of the arm that has few users, and not in those of the other.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable

from canary_trio.rollout.latency import interval_of

TOLD = 128
"""Users of an arm that are told in a tick; those beyond may be when they come again."""

TOLD_TICKS = 2
"""For how many ticks each is told, so that who looks once in a tick sees all."""

TIMED = 4
"""In a slot: its user was timed."""

NUMBERS = 1 << 24
"""By how many numbers users are told apart; those of one number are one."""

TimedUser = tuple[int, int]
"""A user's number, and the interval of what the response took (`rollout.latency`)."""


class TimedUsers:
    """The users of one arm who were timed at one proxy.

    Attributes:
        count: of those that were told.
    """

    __slots__ = ("_came", "_draw", "_lately", "_now", "_salt", "_slots", "count")

    def __init__(
        self, window: str, draw: Callable[[], float], slots: bytearray
    ) -> None:
        """Begin with none.

        Args:
            window: that is counted: a user has another number in another one.
            draw: gives numbers in [0, 1).
            slots: where it is noted who was timed.
        """
        self.count = 0
        self._draw = draw
        self._slots = slots
        self._salt = zlib.crc32(window.encode())
        self._came = 0
        self._now: list[tuple[int, int, int]] = []
        self._lately: deque[list[TimedUser]] = deque(maxlen=TOLD_TICKS)

    def __repr__(self) -> str:
        return f"<TimedUsers {self.count} told, {self._came} came since>"

    @property
    def newest(self) -> tuple[TimedUser, ...]:
        """Those of the last ticks, oldest first."""
        return tuple(one for tick in self._lately for one in tick)

    def offer(self, user: bytes, seconds: float, slot: int = -1) -> None:
        """Take a user's time, or not.

        Args:
            user: his key.
            seconds: that the response took.
            slot: his; below 0 for who has none.
        """
        self._came += 1
        at = len(self._now)
        if at == TOLD:  # each of those that came stays with the same chance
            at = int(self._draw() * self._came)
            if at >= TOLD:
                return
            left = self._now[at][2]
            if left >= 0:
                self._slots[left] &= ~TIMED
        number = zlib.crc32(user, self._salt) % NUMBERS
        self._now[at : at + 1] = [(number, interval_of(seconds), slot)]
        if slot >= 0:
            self._slots[slot] |= TIMED

    def end_tick(self) -> None:
        """Let those that came be told from now on."""
        if self._now or self._lately:
            self._lately.append([one[:2] for one in self._now])
        self.count += len(self._now)
        self._now, self._came = [], 0


class FirstTimes:
    """Who of an arm was counted already, whichever proxy he came to: 2 MiB at most."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen = bytearray()

    def new(self, told: Iterable[TimedUser]) -> list[int]:
        """Give the intervals of those that were not there yet, who are from now on."""
        seen, found = self._seen, []
        for number, interval in told:
            if not seen:
                seen = self._seen = bytearray(NUMBERS // 8)
            if not seen[number >> 3] >> (number & 7) & 1:
                seen[number >> 3] |= 1 << (number & 7)
                found.append(interval)
        return found
