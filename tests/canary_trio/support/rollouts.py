"""A rollout in a world of its own: a document, a clock, a driver that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from canary_trio.config.document import build
from canary_trio.config.model import WHOLE
from canary_trio.config.rollout import Phase, Rollout, RolloutState
from canary_trio.rollout.moves import (
    GateReport,
    Judgement,
    Move,
    Ratio,
    Rest,
    Situation,
)
from canary_trio.rollout.plan import plan
from canary_trio.rollout.verdict import Finding

ARMS = {
    name: {"servers": ["http://127.0.0.1:9"]}
    for name in ("stable", "canary", "baseline")
}
FIVE = [0.01, 0.05, 0.25, 0.5, 1]
FINE = Judgement(Finding.NOT_WORSE, "not worse than x2")
WORSE = Judgement(Finding.REGRESSION, "regression: errors", 200.0)
SUSPICIOUS = Judgement(Finding.SUSPICIOUS, "suspicious: errors", 20.0)
FEW = Judgement(Finding.NOT_ENOUGH_DATA, "not enough data")


def rollout_of(**fields: Any) -> Rollout:
    document = {"arms": ARMS, "rollout": {"id": "v1", "steps": FIVE, **fields}}
    rollout = build(document).rollout
    assert rollout is not None
    return rollout


@attrs.define
class World:
    """A document with a rollout, and what its driver sees.

    Attributes:
        now_ms: the clock of the driver.
        moved_ms: when something moved last.
        moves: all that was written.
        most: the highest share that the arm ever had.
    """

    rollout: Rollout
    ratio: Ratio = attrs.field(factory=dict)
    now_ms: int = 1_795_750_000_000
    moved_ms: int = 0
    judgement: Judgement | None = None
    requests: tuple[int, ...] = ()
    gates: Mapping[str, GateReport] = attrs.field(factory=dict)
    frozen: str = ""
    short: str = ""
    moves: list[Move] = attrs.field(factory=list)
    most: int = 0

    @property
    def state(self) -> RolloutState:
        assert self.rollout.state is not None
        return self.rollout.state

    @property
    def phase(self) -> Phase:
        return self.state.phase

    @property
    def share(self) -> float:
        return self.ratio.get(self.rollout.arm, 0) / WHOLE

    def seen(self, by: str = "rollout (p)") -> Situation:
        return Situation(
            now_ms=self.now_ms,
            by=by,
            held_s=(self.now_ms - self.moved_ms) / 1000,
            judgement=self.judgement,
            requests=self.requests,
            gates=self.gates,
            frozen=self.frozen,
            short=self.short,
            before=7,
        )

    def take(self, move: Move | None) -> None:
        """Write what is to be written."""
        if move is not None:
            self.ratio = move.ratio
            self.rollout = attrs.evolve(self.rollout, state=move.state)
            self.moved_ms = self.now_ms
            self.moves.append(move)
            self.most = max(self.most, move.ratio.get(self.rollout.arm, 0))

    def tick(self) -> Move | Rest:
        """Let the driver look once, and write."""
        found = plan(self.rollout, self.ratio, self.seen())
        if isinstance(found, Move):
            self.take(found)
        return found

    def run(self, for_s: float = 0.0, every_s: float = 1.0) -> None:
        """Let the driver look again and again."""
        end = self.now_ms + for_s * 1000
        while True:
            while isinstance(self.tick(), Move):
                pass
            if self.now_ms >= end:
                return
            self.now_ms += int(every_s * 1000)

    def until(self, condition: Callable[[World], bool], for_s: float = 86400) -> None:
        end = self.now_ms + for_s * 1000
        while not condition(self):
            assert self.now_ms < end, f"it never came to that: {self}"
            self.run(1)
