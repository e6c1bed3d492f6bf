"""When a worker was heard last, and whether that is too long ago. Pure.

A worker gives a sign from the event loop that serves its clients, so one that is silent
serves nobody. Silence counts only while somebody could hear: a supervisor that stood still
itself, as all processes of a machine that is paused do, has missed what was said meanwhile.
"""

from __future__ import annotations

import math

import attrs

HUNG_S = 10.0
"""A worker that gives no sign of life for so long is killed, by default."""

START_S = 60.0
"""How long a worker has for its first sign: it is a program that starts."""

SIGNS = 4
"""Signs that a worker gives in the time after which it would be killed."""

LATE_S = 1.0
"""A supervisor that is later than this by its own clock stood still."""


@attrs.define(eq=False)
class LifeSigns:
    """The signs of one worker; `now` is the same clock throughout, in seconds.

    Attributes:
        hung_s: silence that is too long; 0 if none is.
    """

    hung_s: float = HUNG_S
    _due: float = attrs.field(default=math.inf, init=False)

    def begin(self, now: float) -> None:
        """Wait for the first sign of a worker that starts."""
        self._due = now + max(START_S, self.hung_s) if self.hung_s else math.inf

    def heard(self, now: float) -> None:
        """Note a sign."""
        self._due = now + self.hung_s if self.hung_s else math.inf

    def pardon(self, missed_s: float) -> None:
        """Leave out a time in which nobody could hear."""
        self._due += missed_s

    def end(self) -> None:
        """Expect no sign: there is no process."""
        self._due = math.inf

    def is_overdue(self, now: float) -> bool:
        """Tell whether the silence is too long."""
        return now > self._due
