"""The judge of a rollout at run time: what the fleet counted is judged, and kept.

What it keeps goes to the next driver. It begins anew with another rollout, and where an
operator lets go on what it had stopped; a step is a new window to it.
"""

from __future__ import annotations

import logging

from canary_trio.config.rollout import ErrorUnit, JudgeRules, Rollout
from canary_trio.rollout.fleet.counting_rule import judged_arms, window_of
from canary_trio.rollout.fleet.judge_state import JudgeState, advance
from canary_trio.rollout.fleet.sums import FleetEvidence, learnt_in
from canary_trio.rollout.judge import MIRROR, JudgeSettings
from canary_trio.rollout.moves import Judgement
from canary_trio.rollout.verdict import Verdict

_log = logging.getLogger(__name__)

Looked = tuple[Judgement | None, tuple[int, ...]]
"""What the judge says, and the requests of this step: of the arm, and of the other."""


class FleetJudge:
    """Judges what a fleet counts.

    Attributes:
        verdict: the last one; None before the first, and without a judge.
    """

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self._state: JudgeState | None = None
        self._key = ""
        self._kept: tuple[str, str] = ("", "")

    def __repr__(self) -> str:
        return f"<FleetJudge {self._key!r} {self.verdict}>"

    def restore(self, kept: object) -> None:
        """Go on from what another driver kept; what is none is as if nothing was."""
        if isinstance(kept, list) and len(kept) == 2 and all(map(_is_text, kept)):
            self._kept = (kept[0], kept[1])

    @property
    def keeps(self) -> bool:
        """Whether there is something that the next driver needs."""
        return self._state is not None

    def kept(self) -> list[str] | None:
        """Give what the next driver needs."""
        return None if self._state is None else [self._key, self._state.dump()]

    def look(self, found: FleetEvidence, rollout: Rollout) -> Looked:
        """Judge what the fleet has counted."""
        window = window_of(rollout)
        if rollout.judge is None:
            self._state = self.verdict = None
            arms = judged_arms(rollout)
            told = [one.arms for one in found.values() if one.window == window]
            return None, tuple(
                sum(sums[name].requests for sums in told if name in sums)
                for name in (arms.arm, arms.against)
            )
        state = self._state_of(rollout, rollout.judge)
        self._state, self.verdict = advance(
            state, found, window, compares=rollout.mirrors
        )
        verdict, words = self.verdict, str(self.verdict)
        learnt = learnt_in(found, window)
        if learnt is not None and learnt.places and words.endswith(MIRROR):
            words += " differ in " + ", ".join(place for place, _ in learnt.places)
        judgement = Judgement(verdict.finding, words, verdict.e_value)
        return judgement, verdict.requests

    def _state_of(self, rollout: Rollout, rules: JudgeRules) -> JudgeState:
        settings, arms = settings_of(rules), judged_arms(rollout)
        begun = 0 if rollout.state is None else _begun(rollout)
        key = f"{rollout.id} {begun} {settings} {arms}"
        if self._state is None or key != self._key:
            self._state, self._key = JudgeState(settings, arms), key
            if self._kept[0] == key:
                try:
                    self._state = JudgeState.load(self._kept[1], settings, arms)
                except ValueError as exc:
                    _log.warning("the judge begins anew: %s", exc)
        return self._state


def settings_of(rules: JudgeRules) -> JudgeSettings:
    """Give the judge's settings as a document has them."""
    latency, mirror = rules.latency, rules.mirror
    return JudgeSettings(
        error_tolerance=rules.errors.tolerance,
        error_ceiling=rules.errors.ceiling,
        latency_quantiles=() if latency is None else latency.quantiles,
        latency_tolerance=1.1 if latency is None else latency.tolerance,
        alpha=rules.alpha,
        requests=rules.requests,
        comparisons=None if mirror is None else mirror.requests,
        mirror_tolerance=1.0 if mirror is None else mirror.tolerance,
        errors_by_request=rules.errors.unit is ErrorUnit.REQUESTS,
    )


def _begun(rollout: Rollout) -> int:
    assert rollout.state is not None, "it was looked at"
    return rollout.state.judged_from or rollout.state.begun


def _is_text(value: object) -> bool:
    return isinstance(value, str)
