"""What the gates of a rollout say: each asked now and then, by the proxy that drives.

What a gate says is told in words that stay the same while it does, since a rollout that
waits notes why in its document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import attrs
import trio

from canary_trio.config.rollout import RolloutGate
from canary_trio.control.driving.asking import (
    NothingUsable,
    ask,
    fields_of,
    read_own_file,
)
from canary_trio.rollout.gate_rules import (
    is_open,
    why_not_passed,
    why_out_of_bounds,
    window_words,
)
from canary_trio.rollout.moves import GateReport


@attrs.define(eq=False)
class _Asked:
    """What a gate said last.

    Attributes:
        gate: as it was asked.
        due: when it is asked again, by the clock of the event loop.
        failures: in a row.
        report: what it said.
    """

    gate: RolloutGate
    due: float
    failures: int
    report: GateReport


class GateAsker:
    """Asks the gates of one rollout."""

    def __init__(self, files: Path | None, now: Callable[[], float]) -> None:
        """Begin with nothing asked.

        Args:
            files: the directory that gates name files of; None for none.
            now: the time, in seconds since 1970.
        """
        self._files = files
        self._now = now
        self._asked: dict[str, _Asked] = {}

    @property
    def reports(self) -> Mapping[str, GateReport]:
        """What they said, by name."""
        return {name: asked.report for name, asked in self._asked.items()}

    def forget(self) -> None:
        """Ask anew: another step is waited for."""
        self._asked.clear()

    async def ask(self, gates: Iterable[RolloutGate]) -> None:
        """Ask those that it is time for, all at once."""
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for gate in gates:
                known = self._asked.get(gate.name)
                if known is None or known.gate != gate or now >= known.due:
                    nursery.start_soon(self._ask, gate)

    async def _ask(self, gate: RolloutGate) -> None:
        known = self._asked.get(gate.name)
        before = known.failures if known is not None and known.gate == gate else 0
        words = await self._find(gate)
        failures = before + 1 if words else 0
        failed = gate.tries is not None and failures >= gate.tries
        if failed:
            words = f"{words}, {gate.tries} times"
        report = GateReport(passed=not words, words=words, failed=failed)
        pause_s = gate.interval if gate.kind in ("url", "prometheus") else 1.0
        due = trio.current_time() + pause_s
        self._asked[gate.name] = _Asked(gate, due, failures, report)

    async def _find(self, gate: RolloutGate) -> str:
        """Say why a gate has not passed; empty if it has."""
        if gate.kind == "approval":
            return "waits for: canary rollout approve"
        if gate.window is not None:
            is_now = is_open(gate.window, self._now())
            return "" if is_now else window_words(gate.window, self._now())
        try:
            if gate.prometheus is not None:
                target = urlencode({"query": gate.query or ""})
                url = f"{gate.prometheus.rstrip('/')}/api/v1/query?{target}"
                reply = await ask(url, timeout_s=gate.timeout)
                if reply.status != 200:
                    return f"found status {reply.status}"
                return why_out_of_bounds(gate, reply.body)
            assert gate.url is not None, "it is one of four"
            fields = []
            if gate.headers is not None:
                text = await trio.to_thread.run_sync(
                    read_own_file, self._files, gate.headers
                )
                fields = fields_of(text)
            reply = await ask(
                gate.url, method=gate.method, fields=fields, timeout_s=gate.timeout
            )
        except NothingUsable as exc:
            return str(exc)[:200]
        return why_not_passed(gate, reply.status, reply.body)
