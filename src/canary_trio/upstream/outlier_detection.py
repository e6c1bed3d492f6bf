"""Passive checks: when what requests tell of a server takes it out, and for how long. Pure.

A server that fails several times in a row is out for a time that grows with each time,
up to a limit; each `time` seconds in service without it take one off again. After it
comes back, one failure is enough until something succeeds, so a server that is still
broken costs one request, not five. One that nobody could connect to comes back at once
when an active check, if there are any, reaches it. That the last one of an arm stays in is decided by
who sees them all: `server_set`.
"""

from __future__ import annotations

import attrs

from canary_trio.config.policies import Ejection


@attrs.define(eq=False)
class OutlierRecord:
    """What passive checks know of a server.

    Attributes:
        in_a_row: failures since the last success.
        times: how often it was out, less what time has forgiven.
        back_at: when it came back the last time.
        cut_off: whether it is, or was, out since nobody could connect to it.
        on_trial: whether it came back, and nothing has succeeded yet.
        total: how often it was out, in all.
    """

    in_a_row: int = 0
    times: int = 0
    back_at: float = 0.0
    cut_off: bool = False
    on_trial: bool = False
    total: int = 0

    def succeeded(self) -> None:
        """Note a success."""
        self.in_a_row = 0
        self.on_trial = False

    def failed(self, rule: Ejection) -> bool:
        """Note a failure; tell whether the server is to be out."""
        self.in_a_row += 1
        return rule.failures > 0 and (self.on_trial or self.in_a_row >= rule.failures)

    def ejected(
        self, rule: Ejection, now: float, *, unreachable: bool = False
    ) -> float:
        """Note that it is out; give until when."""
        self.cut_off = unreachable
        forgiven = int((now - self.back_at) / rule.time) if self.times else 0
        self.times = max(0, self.times - forgiven) + 1
        self.in_a_row = 0
        self.total += 1
        return now + min(self.times * rule.time, rule.longest)

    def came_back(self, now: float) -> None:
        """Note that it is back in service."""
        self.back_at = now
        self.on_trial = True
