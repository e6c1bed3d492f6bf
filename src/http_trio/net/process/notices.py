"""What an operator is told beside the requests, and how often. Pure.

A `Notice` is one thing to tell: words for people, and the same as fields for programs. A
`Trouble` decides when something that lasts is told. The rule that it obeys: it is told at
once, then at most once in `TELL_S` while it lasts, and once when it is over; and what
comes and goes all the time does not fill a log either.

Whoever is told is chosen at the top: the engine gives notices to a `Tell`, which by
default is the standard library's `logging`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping

import attrs

TELL_S = 30.0
"""While a trouble lasts, seconds from one line about it to the next."""

AT_ONCE = 3
"""Troubles of one kind that may begin, and be told at once, in `TELL_S`."""

Field = str | int | float | bool | None
"""What a field of a notice may be."""


@attrs.frozen
class Notice:
    """One thing that is told.

    Attributes:
        kind: what it is about, in one word, such as `certificate`.
        message: in words, whole without the fields.
        level: as `logging` has them.
        fields: the same for programs.
    """

    kind: str
    message: str
    level: int = logging.INFO
    fields: Mapping[str, Field] = attrs.field(factory=dict)


Tell = Callable[[Notice], None]
"""Takes a notice."""


def by_logging(logger: logging.Logger) -> Tell:
    """Give what tells notices to a logger; fields become attributes of its records."""

    def tell(notice: Notice) -> None:
        extra = {"kind": notice.kind, **notice.fields}
        logger.log(notice.level, "%s", notice.message, extra=extra)

    return tell


@attrs.define(eq=False)
class Trouble:
    """Something that is wrong now and again: when it is told.

    >>> store = Trouble()
    >>> [store.happens(now) for now in (0.0, 1.0, 29.0, 30.0)]
    [1, 0, 0, 3]
    >>> store.ends(31.0), store.ends(32.0)
    (31.0, None)

    Attributes:
        every_s: seconds from one line to the next while it lasts.
        since: when it began; None while all is well.
        times: how often it happened since it was told last.
    """

    every_s: float = TELL_S
    since: float | None = attrs.field(default=None, init=False)
    times: int = attrs.field(default=0, init=False)
    _is_told: bool = attrs.field(default=False, init=False)
    _begun: deque[float] = attrs.field(
        factory=lambda: deque(maxlen=AT_ONCE), init=False, repr=False
    )
    _told_at: float = attrs.field(default=float("-inf"), init=False, repr=False)

    def happens(self, now: float, times: int = 1) -> int:
        """Take that it is wrong, now or still.

        Gives how often that was since it was told last, if it is to be told now, else 0.
        """
        if self.since is None:
            self.since = now
        self.times += times
        if self._is_told:
            if now - self._told_at < self.every_s:
                return 0
        elif len(self._begun) == AT_ONCE and now - self._begun[0] < self.every_s:
            return 0  # it comes and goes
        else:
            self._begun.append(now)
        self._is_told, self._told_at = True, now
        told, self.times = self.times, 0
        return told

    def ends(self, now: float) -> float | None:
        """Take that all is well.

        Gives the seconds that it was not, if that is to be told: if the trouble was.
        """
        since, self.since, self.times = self.since, None, 0
        was_told, self._is_told = self._is_told, False
        return now - since if since is not None and was_told else None
