"""How often a proxy reports: soon after a change, and seldom where they come in a stream.

Whoever waits for a change waits for its report. But where several changes come between two
reports nobody waits for one of them, and a report costs about as much as thirty requests.
"""

from __future__ import annotations

import math

import attrs
import trio

REPORT_EVERY_S = 0.02
"""Between two reports of one proxy at least, where changes follow each other."""

CROWDED_REPORT_S = 0.1
"""The same in the long run where each report is of several changes."""


@attrs.define
class ReportPace:
    """When the next report is due.

    Attributes:
        changes: since the last one.
    """

    changes: int = 0
    _last_at: float = -math.inf
    _pause_s: float = REPORT_EVERY_S

    async def wait(self) -> None:
        """Wait until a report may be written, which is now then."""
        await trio.sleep_until(self._last_at + self._pause_s)
        longer_s = min(self._pause_s * 2, CROWDED_REPORT_S)
        self._pause_s = longer_s if self.changes > 1 else REPORT_EVERY_S
        self._last_at, self.changes = trio.current_time(), 0
