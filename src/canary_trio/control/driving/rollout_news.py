"""What is told of a rollout: events, transitions for the metrics, and messages for its hook.

Each proxy sees the same documents and counts the same transitions; the one that drives
tells the hook, and leaves to the next driver what it told last.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import trio

from canary_trio.config.model import format_share
from canary_trio.config.rollout import Phase, Rollout, RolloutState
from canary_trio.control.driving.hook import HookTeller
from canary_trio.telemetry.events import EventKind, Events

Transition = tuple[str, str, str]
"""The phases that a rollout went from and to, and why, in a word."""

NONE = "none"

_WORDS = (
    *("regression", "suspicious", "unsound", "deadline", "gate", "frozen", "requests"),
)


class RolloutNews:
    """What is told of one service's rollout.

    Attributes:
        transitions: how often each was seen.
        rollout: as it was seen last.
        told: the transition that the hook was told last; empty for none.
    """

    def __init__(self, service: str, events: Events, hook: HookTeller) -> None:
        self.transitions: Counter[Transition] = Counter()
        self.rollout: Rollout | None = None
        self.told = ""
        self._service = service
        self._events = events
        self._hook = hook
        self._is_first = True
        self._drives = False
        self._news = trio.Event()

    def begin(self, told: object) -> None:
        """Tell the hook from now on; what it was told last is told no second time."""
        self._drives = True
        self.told = told if isinstance(told, str) else self.told
        rollout = self.rollout
        if rollout is not None and rollout.state is not None:
            self._tell_hook(rollout, rollout.state, 0)

    def end(self) -> None:
        """Leave the hook to another driver."""
        self._drives = False

    async def wait(self) -> None:
        """Wait until the hook is to be told something."""
        while not self._hook:
            await self._news.wait()

    def note(self, rollout: Rollout | None, revision: int) -> None:
        """Note how a rollout stands in a document."""
        before, self.rollout = self.rollout, rollout
        is_first, self._is_first = self._is_first, False
        state = None if rollout is None else rollout.state
        if rollout is None or state is None:
            return
        old = before.state if before is not None and before.id == rollout.id else None
        if old is not None and (old.phase, old.step) == (state.phase, state.step):
            return
        if is_first and state.phase.is_over:
            return  # it was so before this proxy began
        from_ = NONE if old is None else old.phase.value
        if not is_first:
            self.transitions[from_, state.phase.value, reason_word(state)] += 1
            self._tell_event(rollout, state, from_)
        if self._drives:
            self._tell_hook(rollout, state, revision)

    def _tell_event(self, rollout: Rollout, state: RolloutState, from_: str) -> None:
        is_bad = state.phase in (Phase.ABORTING, Phase.ABORTED, Phase.PAUSED)
        share = format_share(state.ratio or 0)
        self._events.tell(
            EventKind.ROLLOUT,
            f"rollout {rollout.id} of {self._service} is {state.phase.value}, step"
            f" {state.step}, ratio {share}, by {state.by}: {state.reason}",
            level=logging.WARNING if is_bad else logging.INFO,
            service=self._service,
            rollout=rollout.id,
            phase=state.phase.value,
            before=from_,
            step=state.step,
            ratio=share,
            by=state.by,
            reason=state.reason,
        )

    def _tell_hook(self, rollout: Rollout, state: RolloutState, revision: int) -> None:
        key = (
            f"{rollout.id} {state.begun} {state.phase.value} {state.step} {state.since}"
        )
        if rollout.hook is None or key == self.told:
            return
        self.told = key
        self._hook.put(rollout.hook, _message(self._service, rollout, state, revision))
        self._news.set()
        self._news = trio.Event()


def reason_word(state: RolloutState) -> str:
    """Say in one of a few words why a rollout went where it is.

    >>> reason_word(RolloutState(Phase.ABORTED, by="ann", reason="because"))
    'operator'
    """
    if not state.by.startswith("rollout (") or state.by_hand:
        return "operator"
    for word in _WORDS:
        if word in state.reason:
            return word
    if "comparisons" in state.reason:
        return "requests"
    if "data" in state.reason or "judge" in state.reason:
        return "no_data"
    return "steps"


def _message(
    service: str, rollout: Rollout, state: RolloutState, revision: int
) -> dict[str, Any]:
    verdict = state.verdict
    return {
        "service": service,
        "rollout": rollout.id,
        "revision": revision or None,
        "phase": state.phase.value,
        "step": state.step,
        "steps": len(rollout.steps),
        "ratio": (state.ratio or 0) / 10_000,
        "by": state.by,
        "reason": state.reason,
        "verdict": None if verdict is None else verdict.finding,
        "at": state.since,
    }
