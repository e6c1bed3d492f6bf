"""What a rollout does next: complaints of other tools' users as tests (R1 to R20)."""

from __future__ import annotations

import itertools
import random

import attrs
import pytest

from canary_trio.config.model import WHOLE
from canary_trio.config.rollout import Phase
from canary_trio.rollout import commands
from canary_trio.rollout.moves import GateReport, Judgement, Move, Rest
from canary_trio.rollout.plan import plan
from canary_trio.rollout.verdict import Finding
from tests.canary_trio.support.rollouts import (
    FEW,
    FINE,
    FIVE,
    SUSPICIOUS,
    WORSE,
    World,
    rollout_of,
)

RUNNING, PAUSED, WAITING = Phase.RUNNING, Phase.PAUSED, Phase.WAITING
ABORTING, ABORTED, DONE = Phase.ABORTING, Phase.ABORTED, Phase.DONE

JUDGED = {"judge": {"then": "abort"}, "against": "baseline"}
HELD = [{"ratio": ratio, "hold": 60} for ratio in FIVE]


def begun(**fields: object) -> World:
    world = World(rollout_of(**fields))
    world.take(commands.start(world.rollout, world.ratio, world.seen("ann")))
    return world


def test_a_healthy_rollout_walks_its_steps_and_is_done() -> None:
    world = begun(steps=HELD, **JUDGED)
    world.judgement = FINE
    world.until(lambda w: w.phase is DONE, 600)

    assert world.share == 1
    walked = [move.state.step for move in world.moves]
    assert walked == sorted(walked)
    assert {move.state.target for move in world.moves} == {100, 500, 2500, 5000, WHOLE}


def test_the_one_it_is_compared_with_has_the_same_share_while_both_fit() -> None:
    world = begun(**JUDGED)
    world.judgement = FINE
    world.until(lambda w: w.phase is DONE, 100)

    for move in world.moves:
        canary, baseline = move.ratio["canary"], move.ratio["baseline"]
        assert baseline == (canary if 2 * canary <= WHOLE else 0)


def test_a_step_moves_no_more_than_the_slope_in_a_second() -> None:
    world = begun(slope=0.05)
    world.until(lambda w: w.phase is DONE, 100)
    before, at = 0, 0
    for move in world.moves:
        share = move.ratio["canary"]
        assert share - before <= 500
        if share != before:
            assert move.state.since - at >= 1000 or move is world.moves[0]
            at = move.state.since
        before = share


def test_no_step_is_passed_by_a_clock_that_jumps() -> None:
    """How long a hold lasts is what a driver measured, not what clocks say."""
    world = begun(steps=HELD)
    world.run(5)
    at = world.moved_ms
    world.now_ms += 120_000
    world.moved_ms = at + 120_000  # as a new driver has it: nothing is held yet
    world.tick()
    assert world.state.step == 0


def test_r01_not_enough_data_at_the_end_of_a_hold_waits() -> None:
    world = begun(steps=HELD, **JUDGED)
    world.judgement = FEW
    world.run(3600)

    assert (world.phase, world.state.step, world.share) == (WAITING, 0, 0.01)
    assert world.state.reason == "not enough data"
    world.judgement = FINE
    world.run(2)
    assert (world.phase, world.state.step) == (RUNNING, 1)


def test_r01_a_judge_that_says_nothing_is_waited_for() -> None:
    world = begun(**JUDGED)
    world.run(3600)
    assert (world.phase, world.state.step) == (WAITING, 0)
    assert "said nothing" in world.state.reason


def test_r03_aborted_stays_aborted_whatever_is_written() -> None:
    world = begun(**JUDGED)
    world.take(commands.abort(world.rollout, world.ratio, world.seen("ann")))
    for _ in range(100):
        fresh = attrs.evolve(world.rollout, state=None)  # a file without the state
        world.take(
            commands.after_operator(
                world.rollout, world.ratio, fresh, world.ratio, world.seen("ci")
            )
        )
        world.judgement = FINE
        world.run(10)
        assert (world.phase, world.share) == (ABORTED, 0)


@pytest.mark.parametrize("reached", [0, 1, 2, 3, 4])
def test_r04_an_abort_by_the_judge_is_one_move(reached: int) -> None:
    world = begun(steps=HELD, **JUDGED)
    world.judgement = FINE
    world.until(lambda w: w.state.step == reached, 600)
    world.judgement = WORSE
    found = world.tick()

    assert isinstance(found, Move)
    assert found.state.phase is ABORTED
    assert (found.ratio["canary"], found.ratio["baseline"]) == (0, 0)
    assert found.state.reason == "regression: errors"
    assert found.state.verdict is not None
    assert isinstance(world.tick(), Rest)


def test_r06_the_next_driver_aborts_where_the_first_died_before_it_wrote() -> None:
    world = begun(**JUDGED)
    world.judgement = WORSE
    lost = plan(world.rollout, world.ratio, world.seen("first"))
    again = plan(world.rollout, world.ratio, world.seen("second"))

    assert isinstance(lost, Move)
    assert isinstance(again, Move)
    assert again.state.phase is ABORTED
    assert again.ratio == lost.ratio


def test_r07_no_step_begins_while_it_is_suspicious() -> None:
    world = begun(steps=HELD, **JUDGED)
    world.judgement = SUSPICIOUS
    world.run(3600)
    assert (world.state.step, world.phase) == (0, WAITING)
    assert world.state.reason == "suspicious: errors"


def test_r07_it_does_not_go_on_to_a_steps_ratio_while_it_is_suspicious() -> None:
    world = begun(steps=[0.5, 1], **JUDGED)
    world.judgement = SUSPICIOUS
    share = world.share
    world.run(60)
    assert world.share == share == 0.1


def test_r07_then_pause_pauses() -> None:
    world = begun(judge={"then": "pause"})
    world.judgement = WORSE
    world.run(60)
    assert (world.phase, world.share, world.state.by_hand) == (PAUSED, 0.01, False)


def test_then_say_says_it_once_and_goes_on() -> None:
    world = begun(judge={"then": "say"})
    world.judgement = WORSE
    world.until(lambda w: w.phase is DONE, 100)
    said = [m for m in world.moves if m.state.reason.startswith("would have been")]
    assert len(said) == 1


def test_what_is_unsound_neither_aborts_nor_is_silent() -> None:
    world = begun(**JUDGED)
    world.judgement = Judgement(
        Finding.UNSOUND, "unsound: two arms of one version differ"
    )
    world.until(lambda w: w.phase is DONE, 100)
    assert any("unsound" in move.state.reason for move in world.moves)


@pytest.mark.parametrize("then", ["abort", "pause", "say"])
def test_where_requests_were_asked_for_what_is_unsound_pauses(then: str) -> None:
    world = begun(judge={"then": then, "errors": {"unit": "requests"}})
    world.judgement = Judgement(Finding.UNSOUND, "unsound: by user")
    if then == "say":
        world.until(lambda w: w.phase is DONE, 100)
        assert any("unsound" in move.state.reason for move in world.moves)
    else:
        world.run(60)
        assert (world.phase, world.share) == (PAUSED, 0.01)
        assert world.state.reason == "unsound: by user"


@pytest.mark.parametrize("phase", [RUNNING, WAITING, PAUSED])
@pytest.mark.parametrize("when", ["abort", "pause"])
def test_r09_the_deadline_counts_from_the_start_and_names_the_step(
    phase: Phase, when: str
) -> None:
    hold = None if phase is WAITING else 10_000
    step = {"ratio": 0.01, "hold": hold}
    world = begun(steps=[step, 1], deadline=600, when=when, judge=True)
    if phase is PAUSED:
        world.judgement = WORSE
    world.run(598)
    assert world.phase is phase
    found = world.tick()
    if isinstance(found, Rest) and phase is not PAUSED:
        assert found.for_s is not None
        assert found.for_s <= 2
    world.run(2)
    if when == "abort":
        assert (world.phase, world.share) == (ABORTED, 0)
        assert "step 0" in world.state.reason
    else:
        assert world.phase is PAUSED
    assert phase is PAUSED or "deadline of 600 s" in world.state.reason


def test_an_operators_pause_outlives_the_deadline() -> None:
    world = begun(steps=HELD, deadline=60)
    world.take(commands.pause(world.rollout, world.ratio, world.seen("ann")))
    world.run(3600)
    assert (world.phase, world.share) == (PAUSED, 0.01)


def test_an_operators_ratio_stays_and_pauses_the_rollout() -> None:
    world = begun(steps=HELD)
    world.ratio = {"canary": 300}
    world.run(600)
    assert (world.phase, world.share) == (PAUSED, 0.03)
    assert "somebody set the ratio to 0.03, where it was at 0.01" in world.state.reason
    world.take(commands.resume(world.rollout, world.ratio, world.seen("ann")))
    world.run(2)
    assert (world.phase, world.state.step, world.share) == (RUNNING, 1, 0.05)


def test_r10_only_a_rollout_that_is_written_begins() -> None:
    """A store that forgets, or a driver that begins, moves nothing that is over."""
    for phase in (ABORTED, DONE):
        world = begun()
        world.take(Move(world.ratio, attrs.evolve(world.state, phase=phase, ratio=100)))
        before = world.rollout
        world.run(1000)
        assert world.rollout == before


def test_r11_a_rollout_in_anothers_place_goes_by_the_slope() -> None:
    world = begun(steps=[0.7, 1])
    world.until(lambda w: w.share == 0.7, 60)
    world.rollout = rollout_of(id="v2")
    before = len(world.moves) - 1
    world.until(lambda w: w.share == 0.01, 60)
    went = [move.ratio["canary"] for move in world.moves[before:]]
    assert went == [7000, 6000, 5000, 4000, 3000, 2000, 1000, 100]
    times = [move.state.since for move in world.moves[before + 1 :]]
    assert all(b - a >= 1000 for a, b in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("steps", "step", "share"),
    [
        ([0.1, 0.3, 1], 1, 0.25),
        ([0.25, 1], 0, 0.25),
        ([0.02, 0.1], 1, 0.25),
        ([0.01, 0.05, 0.25, 0.5, 1], 2, 0.25),
    ],
)
def test_changed_steps_keep_the_ratio(
    steps: list[float], step: int, share: float
) -> None:
    world = begun(steps=[{"ratio": ratio, "hold": 1000} for ratio in FIVE])
    world.take(commands.promote(world.rollout, world.ratio, world.seen("ann")))
    world.take(commands.promote(world.rollout, world.ratio, world.seen("ann")))
    assert world.share == 0.25
    state = world.state
    held = [{"ratio": ratio, "hold": 1000} for ratio in steps]
    world.rollout = attrs.evolve(rollout_of(steps=held), state=state)
    world.tick()
    assert (world.state.step, world.share, world.phase) == (step, share, RUNNING)
    world.run(60)
    assert world.share == steps[step]


def test_r16_no_step_begins_while_frozen_and_an_abort_works() -> None:
    world = begun(**JUDGED)
    world.judgement = FINE
    world.frozen = "frozen: holidays"
    world.run(3600)
    assert (world.state.step, world.phase) == (0, WAITING)
    assert world.state.reason == "frozen: holidays"
    world.judgement = WORSE
    world.tick()
    assert (world.phase, world.share) == (ABORTED, 0)


def test_r16_a_rollout_does_not_begin_while_frozen() -> None:
    world = World(rollout_of(), frozen="frozen")
    world.run(60)
    assert (world.phase, world.share) == (WAITING, 0)
    world.frozen = ""
    world.run(0)
    assert (world.phase, world.share) == (RUNNING, 0.01)


def test_r17_it_aborts_by_itself_if_nobody_promotes() -> None:
    world = begun(steps=[{"ratio": 0.01, "hold": None}, 1], deadline=3600, when="abort")
    world.run(1800)
    assert (world.phase, world.state.reason) == (WAITING, "until somebody promotes it")
    world.run(1801)
    assert (world.phase, world.share) == (ABORTED, 0)


def test_r20_least_requests_of_a_step_are_waited_for() -> None:
    steps = [{"ratio": 0.01, "requests": 5000}, 1]
    world = begun(steps=steps)
    for requests in ((), (4999, 9000), (9000, 4999)):
        world.requests = requests
        world.run(60)
        assert (world.state.step, world.phase) == (0, WAITING)
    world.requests = (5000, 5000)
    world.run(1)
    assert world.state.step == 1


def test_gates_are_asked_before_their_step_alone() -> None:
    gate = {"name": "ready", "at": [2], "url": "http://a"}
    world = begun(steps=FIVE, gates=[gate])
    world.until(lambda w: w.state.step == 1, 60)
    world.run(5)
    found = world.tick()
    assert isinstance(found, Rest)
    assert [one.name for one in found.gates] == ["ready"]
    world.gates = {"ready": GateReport(passed=False, words="found 503")}
    world.run(60)
    assert (world.phase, world.state.reason) == (WAITING, "gate ready: found 503")
    world.gates = {"ready": GateReport(passed=True)}
    world.run(0)
    assert world.state.step == 2


def test_a_gate_that_failed_too_often_pauses() -> None:
    gate = {"name": "ready", "url": "http://a", "tries": 3}
    world = World(rollout_of(gates=[gate]))
    world.gates = {"ready": GateReport(passed=True)}
    world.run(0)
    world.gates = {"ready": GateReport(passed=False, words="no", failed=True)}
    world.run(10)
    assert (world.phase, world.state.step) == (PAUSED, 0)


def test_a_rollout_waits_for_the_gates_of_its_first_step() -> None:
    world = begun(gates=[{"name": "ok", "at": [0], "approval": True}])
    assert (world.phase, world.share) == (WAITING, 0)
    world.gates = {"ok": GateReport(passed=False, words="an approval is missing")}
    world.run(10)
    assert world.share == 0
    world.take(
        commands.skip_gates(world.rollout, world.ratio, world.seen(), approvals=True)
    )
    world.run(0)
    assert (world.phase, world.share) == (RUNNING, 0.01)


def test_it_goes_slowly_while_the_arm_that_takes_over_is_short_of_room() -> None:
    world = begun(steps=[0.5, 1])
    world.short = "canary has no healthy server"
    world.run(60)
    assert world.share == 0.1
    world.short = ""
    world.run(10)
    assert world.share > 0.1


def test_no_step_begins_while_the_arm_that_takes_over_is_short_of_room() -> None:
    world = World(rollout_of(steps=[0.5, 1], slope=1), short="canary is full")
    world.run(60)
    assert (world.moves, world.share) == ([], 0), (
        "nothing is written of what comes and goes"
    )
    found = plan(world.rollout, world.ratio, world.seen())
    assert isinstance(found, Rest)
    assert found.reason == "step 0 waits: canary is full"
    world.short = ""
    world.tick()
    assert world.share == 0.5
    world.short = "canary is full"
    world.run(60)
    assert (world.share, world.state.step) == (0.5, 0)
    world.judgement, world.short = None, ""
    world.run(10)
    assert world.phase is DONE


MIRRORED = {
    "steps": [{"ratio": 0, "hold": 5}, 0.01, 1],
    "judge": {"mirror": {"requests": 100}, "then": "abort"},
    "slope": 1,
}
COMPARED = Judgement(Finding.NO_DIFFERENCE, "no difference yet")


@pytest.mark.parametrize("against", ["stable", "baseline"])
def test_copies_are_compared_before_any_user_is_exposed(against: str) -> None:
    world = begun(**MIRRORED, against=against)
    assert (world.phase, world.share, world.rollout.mirrors) == (RUNNING, 0, True)
    world.judgement = FEW
    world.run(3600)
    assert (world.phase, world.state.step, world.most) == (WAITING, 0, 0)
    assert world.state.reason == "not enough data: fewer than 100 comparisons"
    assert world.rollout.mirrors
    world.judgement = COMPARED
    world.tick()
    assert (world.state.step, world.share) == (1, 0.01)
    assert not world.rollout.mirrors


def test_a_version_that_answers_otherwise_is_never_exposed() -> None:
    world = begun(**MIRRORED)
    world.judgement = Judgement(Finding.REGRESSION, "regression: answers", 200.0)
    world.run(10)
    assert (world.phase, world.most) == (ABORTED, 0)
    world.judgement = None
    world.take(commands.retry(world.rollout, world.ratio, world.seen("ann")))
    assert (world.phase, world.state.step, world.most) == (RUNNING, 0, 0)


def test_nothing_is_compared_before_the_step_begins_or_while_it_is_paused() -> None:
    world = World(rollout_of(**MIRRORED), frozen="frozen by ann")
    world.take(commands.start(world.rollout, world.ratio, world.seen("ann")))
    assert (world.phase, world.state.to_begin) == (WAITING, True)
    assert not world.rollout.mirrors
    world.frozen = ""
    world.run(1)
    assert (world.phase, world.rollout.mirrors) == (RUNNING, True)
    world.take(commands.pause(world.rollout, world.ratio, world.seen("ann")))
    assert not world.rollout.mirrors
    world.take(commands.resume(world.rollout, world.ratio, world.seen("ann")))
    assert world.rollout.mirrors
    world.take(commands.promote(world.rollout, world.ratio, world.seen("ann")))
    assert (world.state.step, world.share) == (1, 0.01)


def test_a_step_of_copies_counts_comparisons() -> None:
    steps = [{"ratio": 0, "requests": 50}, 1]
    world = begun(**{**MIRRORED, "steps": steps})
    world.judgement, world.requests = COMPARED, (49, 49)
    world.run(10)
    assert world.state.reason == "fewer than 50 comparisons in this step"


def test_two_drivers_at_once_do_no_harm_at_any_step() -> None:
    """Each plans on what it read; who writes over another's write is refused."""
    chance = random.Random(5)
    for _ in range(50):
        world = begun(steps=HELD, **JUDGED)
        world.judgement = FINE
        revision = 0
        stale: list[tuple[int, Move | Rest]] = []
        while not world.phase.is_over:
            for driver in ("a", "b"):
                found = plan(world.rollout, world.ratio, world.seen(driver))
                stale.append((revision, found))
            chance.shuffle(stale)
            kept = []
            for at, found in stale:
                if isinstance(found, Move) and chance.random() < 0.7:
                    if at == revision:  # compare-and-set
                        before = world.ratio.get("canary", 0)
                        world.take(found)
                        revision += 1
                        assert abs(world.ratio["canary"] - before) <= 1000
                elif chance.random() < 0.5:
                    kept.append((at, found))
            stale = kept
            world.now_ms += 1000
        assert world.share == 1
        assert world.most == WHOLE
