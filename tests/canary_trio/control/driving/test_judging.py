"""The judge as a driver asks it: one for each run, and the next driver goes on."""

from __future__ import annotations

import json
from typing import Any

import attrs

from canary_trio.config.document import load
from canary_trio.config.rollout import Rollout
from canary_trio.control.driving.judging import Judging
from canary_trio.rollout.fleet.arm_tally import Counting
from canary_trio.rollout.fleet.counting_rule import rule_of
from canary_trio.rollout.fleet.sums import FleetEvidence
from canary_trio.rollout.verdict import Finding
from kv_trio.testing import in_memory_store

STATE = {"phase": "running", "step": 0, "begun": 1, "since": 1}


def a_rollout(**changes: Any) -> tuple[Rollout, FleetEvidence]:
    """A rollout, and what one proxy tells whose canary fails ten times as often."""
    arms = {name: {"servers": ["http://a"]} for name in ("stable", "canary")}
    judge = {"latency": None, "requests": 0}
    rollout = {"id": "v1", "steps": [0.5, 1], "judge": judge, "state": STATE}
    table = {"arms": arms, "ratio": 0.5, "rollout": {**rollout, **changes}}
    config = load(json.dumps(table))
    rule = rule_of(config)
    assert rule is not None
    counting = Counting(rule, "e")
    for number in range(1000):
        for name, share in (("canary", 10), ("stable", 100)):
            failed = number % share == 0
            counting.tallies[name].add(0.01, None, failed=failed)
    assert config.rollout is not None
    return config.rollout, {"p": counting.evidence()}


def test_it_says_what_it_finds() -> None:
    rollout, evidence = a_rollout()
    judging = Judging("web")
    assert judging.kept is None
    verdict = judging.judge(rollout, evidence)
    assert verdict.finding is Finding.REGRESSION
    assert verdict.requests == (1000, 1000)
    assert judging.telling == 1


def test_the_next_driver_goes_on() -> None:
    rollout, evidence = a_rollout()
    judging = Judging("web")
    verdict = judging.judge(rollout, evidence)
    kept = json.loads(json.dumps(judging.kept))
    assert Judging("web", kept).judge(rollout, evidence) == verdict
    assert Judging("web", kept).judge(rollout, {}) == verdict


def test_another_run_has_another_judge() -> None:
    rollout, evidence = a_rollout()
    judging = Judging("web")
    judging.judge(rollout, evidence)
    again, _ = a_rollout(state={**STATE, "begun": 2})
    for other in (judging, Judging("web", judging.kept)):
        assert other.judge(again, {}).e_value == 1


def test_a_step_is_the_same_run() -> None:
    rollout, evidence = a_rollout()
    judging = Judging("web")
    judging.judge(rollout, evidence)
    following, _ = a_rollout(state={**STATE, "step": 1})
    verdict = judging.judge(following, {})
    assert (verdict.finding, verdict.requests) == (Finding.REGRESSION, (0, 0))


def test_what_was_kept_of_other_rules_begins_anew() -> None:
    rollout, evidence = a_rollout()
    judging = Judging("web")
    judging.judge(rollout, evidence)
    assert rollout.judge is not None
    judge = attrs.evolve(rollout.judge, alpha=0.05)
    stricter = attrs.evolve(rollout, judge=judge)
    assert Judging("web", judging.kept).judge(stricter, {}).e_value == 1
    assert judging.judge(stricter, {}).e_value == 1


def test_nonsense_that_was_kept_begins_anew() -> None:
    rollout, _ = a_rollout()
    nonsense: list[Any] = [{"run": "v1 1", "judge": "?"}, {"run": "v1 1"}, [], "x"]
    for kept in nonsense:
        assert Judging("web", kept).judge(rollout, {}).e_value == 1


async def test_what_is_over_is_not_judged() -> None:
    async with in_memory_store() as client:
        rollout, evidence = a_rollout()
        judging = Judging("web")
        judging.judge(rollout, evidence)
        found = await judging.look(client, rollout)  # nobody tells anything
        assert found is not None
        assert found.requests == (1000, 1000)
        assert rollout.state is not None
        for over in (
            attrs.evolve(rollout, judge=None),
            attrs.evolve(rollout, state=None),
        ):
            assert await judging.look(client, over) is None
            assert judging.kept is None
