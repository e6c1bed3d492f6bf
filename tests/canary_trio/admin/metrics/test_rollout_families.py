"""How rollouts stand, in metrics (R15): an abort is seen, and so is a judge that sleeps."""

from __future__ import annotations

import attrs

from canary_trio.admin.metrics.rollout_families import ROLLOUT, duty_of
from canary_trio.config.rollout import Phase, RolloutState
from canary_trio.control.driving.rollout_duty import RolloutDuty
from canary_trio.rollout.verdict import Finding, Verdict
from tests.canary_trio.admin.metrics.test_rendering import _view
from tests.canary_trio.support.rollouts import rollout_of

FAMILIES = {family.name: family for family in ROLLOUT}


async def test_r15_an_abort_and_the_judges_age_are_told() -> None:
    view = await _view()
    duty = RolloutDuty("web", "p", view.runtime)
    view.control.driver.duties = (duty,)
    assert duty_of(view) is duty

    def rows(name: str, now: float = 0.0) -> dict[tuple[str, ...], object]:
        return {tuple(labels): n for labels, n in FAMILIES[name].read(view, now)}

    assert rows("canary_rollout_phase") == {}
    duty.news.note(None, 1)
    by = "rollout (p)"
    state = RolloutState(Phase.RUNNING, by=by, reason="begun", target=100)
    rollout = attrs.evolve(rollout_of(), state=state)
    duty.news.note(rollout, 2)
    aborted = attrs.evolve(
        state, phase=Phase.ABORTED, reason="regression: errors", since=5
    )
    for _ in range(3):  # the same document again is no transition
        duty.news.note(attrs.evolve(rollout, state=aborted), 3)

    assert rows("canary_rollout_transitions_total") == {
        ("none", "running", "steps"): 1,
        ("running", "aborted", "regression"): 1,
    }
    phases = rows("canary_rollout_phase")
    assert phases.pop(("aborted",)) == 1
    assert set(phases.values()) == {0}
    assert len(phases) == len(Phase) - 1

    assert rows("canary_rollout_judge_age_seconds") == {}
    duty.judged_at = 100.0
    duty.judge.verdict = Verdict(Finding.REGRESSION, 250.0, (9, 9), ())
    assert rows("canary_rollout_judge_age_seconds", 107.0) == {(): 7.0}
    assert rows("canary_rollout_e_value") == {("all",): 250.0}


async def test_what_was_over_before_a_proxy_began_is_no_transition() -> None:
    duty = RolloutDuty("web", "p", (await _view()).runtime)
    state = RolloutState(Phase.ABORTED, by="ann")
    duty.news.note(attrs.evolve(rollout_of(), state=state), 1)
    assert not duty.news.transitions
