"""Every command in every phase, and a model that always finds a way out (R2, R5, R21)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from canary_trio.command.cli.rollout.group import COMMANDS as GROUP
from canary_trio.config.model import WHOLE
from canary_trio.config.rollout import Phase, Rollout, RolloutState
from canary_trio.errors import RolloutRefused
from canary_trio.rollout import commands
from canary_trio.rollout.commands import Command, next_command
from canary_trio.rollout.moves import GateReport, Move, Ratio, Situation, shares
from tests.canary_trio.support.rollouts import (
    FEW,
    FINE,
    FIVE,
    SUSPICIOUS,
    WORSE,
    World,
    rollout_of,
)

COMMANDS: dict[str, Command] = {
    "promote": commands.promote,
    "promote --full": commands.promote_full,
    "pause": commands.pause,
    "resume": commands.resume,
    "abort": commands.abort,
    "retry": commands.retry,
    "skip-gate": commands.skip_gates,
}

GATES = [{"name": "ok", "at": [3], "url": "http://a"}]


DOCS = Path(__file__).parents[3] / "docs"


def world_in(phase: Phase, step: int = 2) -> World:
    """Give a rollout that has come to a phase, in a step."""
    share = 0 if phase is Phase.ABORTED else [100, 500, 2500, 5000, WHOLE][step]
    if phase is Phase.DONE:
        step, share = 4, WHOLE
    state = RolloutState(
        phase,
        step,
        target=[100, 500, 2500, 5000, WHOLE][step],
        ratio=share,
        begun=5,
        by="p",
        reason="as it was",
    )
    rollout = attrs.evolve(rollout_of(gates=GATES, against="baseline"), state=state)
    return World(rollout, ratio=shares(rollout, {}, share))


RUNNING, PAUSED, WAITING = Phase.RUNNING, Phase.PAUSED, Phase.WAITING
ABORTING, ABORTED, DONE = Phase.ABORTING, Phase.ABORTED, Phase.DONE

REFUSED, SAME = "refused", "nothing to write"
TABLE: dict[str, dict[Phase, Any]] = {
    "promote": {
        RUNNING: (RUNNING, 3, 0.5),
        WAITING: (RUNNING, 3, 0.5),
        PAUSED: (RUNNING, 3, 0.5),
        ABORTING: REFUSED,
        ABORTED: REFUSED,
        DONE: REFUSED,
    },
    "promote --full": {
        RUNNING: (DONE, 4, 1.0),
        WAITING: (DONE, 4, 1.0),
        PAUSED: (DONE, 4, 1.0),
        ABORTING: REFUSED,
        ABORTED: REFUSED,
        DONE: REFUSED,
    },
    "pause": {
        RUNNING: (PAUSED, 2, 0.25),
        WAITING: (PAUSED, 2, 0.25),
        PAUSED: (PAUSED, 2, 0.25),
        ABORTING: REFUSED,
        ABORTED: REFUSED,
        DONE: REFUSED,
    },
    "resume": {
        RUNNING: SAME,
        WAITING: SAME,
        PAUSED: (RUNNING, 2, 0.25),
        ABORTING: REFUSED,
        ABORTED: REFUSED,
        DONE: REFUSED,
    },
    "abort": {
        RUNNING: (ABORTED, 2, 0.0),
        WAITING: (ABORTED, 2, 0.0),
        PAUSED: (ABORTED, 2, 0.0),
        ABORTING: (ABORTED, 2, 0.0),
        ABORTED: SAME,
        DONE: (ABORTED, 4, 0.0),
    },
    "retry": {
        RUNNING: REFUSED,
        WAITING: REFUSED,
        PAUSED: REFUSED,
        ABORTING: (RUNNING, 0, 0.15),  # on the way from 0.25 to 0.01
        ABORTED: (RUNNING, 0, 0.01),
        DONE: REFUSED,
    },
    "skip-gate": {
        RUNNING: (RUNNING, 2, 0.25),
        WAITING: (WAITING, 2, 0.25),
        PAUSED: (PAUSED, 2, 0.25),
        ABORTING: REFUSED,
        ABORTED: REFUSED,
        DONE: REFUSED,
    },
}


def test_the_table_has_every_command_and_every_phase() -> None:
    assert TABLE.keys() == COMMANDS.keys()
    assert all(row.keys() == set(Phase) for row in TABLE.values())


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
@pytest.mark.parametrize("command", COMMANDS)
def test_r02_each_command_in_each_phase(command: str, phase: Phase) -> None:
    world, wanted = world_in(phase), TABLE[command][phase]
    if wanted == REFUSED:
        with pytest.raises(RolloutRefused) as refused:
            COMMANDS[command](world.rollout, world.ratio, world.seen("ann"))
        assert "canary rollout" in str(refused.value), "it says what to do"
        assert phase.value in str(refused.value)
        return
    move = COMMANDS[command](world.rollout, world.ratio, world.seen("ann"))
    if wanted == SAME:
        assert move is None
        return
    assert move is not None
    world.take(move)
    assert (world.phase, world.state.step, world.share) == wanted
    assert world.state.by == "ann"


@pytest.mark.parametrize("phase", [RUNNING, WAITING, PAUSED])
def test_r02_promote_goes_exactly_one_step_each_time(phase: Phase) -> None:
    world = world_in(phase, step=0)
    for step in (1, 2, 3, 4):
        world.take(commands.promote(world.rollout, world.ratio, world.seen("ann")))
        assert (world.state.step, world.share) == (step, FIVE[step])
        world.tick()
        assert world.share == FIVE[step], "it does not pause again, nor go on"
    world.take(commands.promote(world.rollout, world.ratio, world.seen("ann")))
    assert world.phase is DONE


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_r02_where_promote_is_refused_what_it_names_leads_on(phase: Phase) -> None:
    """An abort is taken back by a word of its own, never by the one that is said each day."""
    world = world_in(phase)
    for _ in range(8):
        if world.phase is DONE:
            return
        move: Move | None
        try:
            move = commands.promote(world.rollout, world.ratio, world.seen("ann"))
        except RolloutRefused as exc:
            (named,) = re.findall(r"`canary rollout ([a-z]+)`", str(exc))
            move = COMMANDS[named](world.rollout, world.ratio, world.seen("ann"))
            assert move is not None
        world.take(move)
    raise AssertionError(world.phase)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_has_not_begun_is_told_so(command: str) -> None:
    world = World(rollout_of())
    with pytest.raises(RolloutRefused, match="has not begun"):
        COMMANDS[command](world.rollout, world.ratio, world.seen("ann"))


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_r04_abort_leaves_nothing_in_any_phase(phase: Phase) -> None:
    world = world_in(phase)
    world.take(commands.abort(world.rollout, world.ratio, world.seen("ann")))
    assert (world.ratio.get("canary", 0), world.ratio.get("baseline", 0)) == (0, 0)
    world.run(600)
    assert (world.phase, world.share) == (ABORTED, 0)


@pytest.mark.parametrize("command", [*COMMANDS, "finish"])
def test_what_is_finished_is_undone_and_nothing_else(command: str) -> None:
    """Its servers are stable's: no traffic for its arm would be no way back."""
    world = world_in(DONE)
    state = attrs.evolve(world.state, ratio=0, reason="finished")
    world.rollout = attrs.evolve(world.rollout, state=state)

    def finish(rollout: Rollout, ratio: Ratio, seen: Situation) -> None:
        commands.check_finish(rollout, ratio)

    asked: dict[str, Command] = {**COMMANDS, "finish": finish}
    with pytest.raises(RolloutRefused, match="canary rollout undo"):
        asked[command](world.rollout, {"canary": 0}, world.seen("ann"))


@pytest.mark.parametrize(
    ("phase", "ratio"),
    [*((phase, None) for phase in Phase), (DONE, 5000), (DONE, 0)],
    ids=lambda value: getattr(value, "value", value),
)
def test_r14_what_is_said_comes_next_is_a_command_that_is_taken(
    phase: Phase, ratio: int | None
) -> None:
    world = world_in(phase)
    if ratio is not None:
        world.ratio = shares(world.rollout, world.ratio, ratio)
        state = attrs.evolve(world.state, ratio=ratio)
        world.rollout = attrs.evolve(world.rollout, state=state)
    named = re.findall(r"`(?:canary rollout )?([a-z-]+)`", next_command(world.state))
    assert named, "it names one at least"
    for name in named:
        assert name in GROUP
        if name == "finish":
            commands.check_finish(world.rollout, world.ratio)
        elif name != "undo":  # which goes by history, whatever the phase
            move = COMMANDS[name](world.rollout, world.ratio, world.seen("ann"))
            assert move is not None, "it changes something"


def test_r14_the_docs_and_the_commands_have_the_same_words() -> None:
    lines = (DOCS / "rollouts.md").read_text().splitlines()
    rows = [line.split("|")[1] for line in lines if line.startswith("| `")]
    found = {word for row in rows for word in re.findall(r"`([a-z-]+)", row)}
    assert GROUP.keys() - found == {"simulate"}  # which is the judge's
    assert "canary rollout simulate" in (DOCS / "judge.md").read_text()


@pytest.mark.parametrize("step", range(5))
def test_r05_retry_right_after_an_abort_comes_to_its_step(step: int) -> None:
    world = world_in(RUNNING, step=3)
    for _ in range(100):
        world.take(commands.abort(world.rollout, world.ratio, world.seen("ann")))
        world.take(commands.retry(world.rollout, world.ratio, world.seen("ann"), step))
        world.gates = {"ok": GateReport(passed=False, words="no")}
        world.until(lambda w: w.share == FIVE[step], 60)
        assert world.state.step == step


def test_r05_retry_while_it_still_goes_down() -> None:
    world = world_in(RUNNING, step=3)
    state = attrs.evolve(world.state, begun=world.now_ms - 10_000)
    world.rollout = attrs.evolve(world.rollout, state=state, deadline=5.0)
    world.tick()
    assert (world.phase, world.share) == (ABORTING, 0.4)
    world.rollout = attrs.evolve(world.rollout, deadline=60.0)
    world.take(commands.retry(world.rollout, world.ratio, world.seen("ann")))
    world.until(lambda w: w.share == 0.01, 30)
    assert world.phase is RUNNING


@pytest.mark.parametrize("step", [-1, 5, 99])
def test_a_step_that_there_is_not_is_refused(step: int) -> None:
    world = world_in(ABORTED)
    with pytest.raises(RolloutRefused, match="from 0 to 4"):
        commands.retry(world.rollout, world.ratio, world.seen("ann"), step)


def test_a_gate_that_there_is_not_is_refused() -> None:
    world = world_in(RUNNING)
    with pytest.raises(RolloutRefused, match="expected one of: ok"):
        commands.skip_gates(world.rollout, world.ratio, world.seen("ann"), ["ready"])
    with pytest.raises(RolloutRefused, match="no gate is before step 3"):
        commands.skip_gates(
            world.rollout, world.ratio, world.seen("ann"), approvals=True
        )


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_another_rollout_begins_only_when_this_one_is_over(phase: Phase) -> None:
    world, other = world_in(phase), rollout_of(id="v2")
    commands.check_start(None, other, replace=False)
    commands.check_start(world.rollout, other, replace=True)
    if phase.is_over:
        commands.check_start(world.rollout, other, replace=False)
    else:
        with pytest.raises(RolloutRefused, match="--replace"):
            commands.check_start(world.rollout, other, replace=False)


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_a_document_that_is_written_by_hand_keeps_how_it_stands(phase: Phase) -> None:
    world = world_in(phase)
    older = attrs.evolve(world.state, phase=RUNNING, step=0, ratio=100)
    for state in (None, older):
        after = attrs.evolve(world.rollout, state=state)
        move = commands.after_operator(
            world.rollout, world.ratio, after, world.ratio, world.seen("ci")
        )
        assert move is not None
        assert move.state == world.state


@pytest.mark.parametrize("phase", list(Phase), ids=lambda phase: phase.value)
def test_a_ratio_that_is_written_by_hand_pauses_what_is_in_progress(
    phase: Phase,
) -> None:
    world = world_in(phase)
    move = commands.after_operator(
        world.rollout, world.ratio, world.rollout, {"canary": 300}, world.seen("ann")
    )
    assert move is not None
    assert move.ratio == {"canary": 300}
    if phase.is_over:
        assert move.state == world.state
    else:
        assert (move.state.phase, move.state.ratio) == (PAUSED, 300)
        assert "by hand" in move.state.reason
        world.take(move)
        world.run(60)
        assert (world.phase, world.share) == (PAUSED, 0.03)


def test_finish_is_for_what_is_done_and_has_all_traffic() -> None:
    world = world_in(DONE)
    commands.check_finish(world.rollout, world.ratio)
    with pytest.raises(RolloutRefused, match=r"a share of 0\.5"):
        commands.check_finish(world.rollout, {"canary": 5000})
    for phase in set(Phase) - {DONE}:
        world = world_in(phase)
        with pytest.raises(RolloutRefused, match="cannot finish"):
            commands.check_finish(world.rollout, world.ratio)


# === a model: documents, commands and failures in any order ===

STEPS = st.lists(
    st.tuples(st.integers(1, WHOLE), st.sampled_from([0, 5, 60, None])),
    min_size=1,
    max_size=4,
    unique_by=lambda step: step[0],
).map(lambda found: [{"ratio": r / WHOLE, "hold": h} for r, h in sorted(found)])


@pytest.mark.parametrize("phase", [*Phase, None], ids=lambda one: one and one.value)
def test_what_comes_back_with_a_former_document_does_not_go_on(
    phase: Phase | None,
) -> None:
    world = World(rollout_of()) if phase is None else world_in(phase)
    before = world.ratio
    world.take(commands.brought_back(world.rollout, world.ratio, world.seen("ann")))
    assert world.phase is (phase if phase in (ABORTED, DONE) else PAUSED)
    world.run(10_000)
    assert world.ratio == before
    assert world.phase is (phase if phase in (ABORTED, DONE) else PAUSED)


class AnyRollout(RuleBasedStateMachine):
    """Whatever happens, some command or timer leads to done or aborted (R21)."""

    world: World

    @initialize(
        steps=STEPS,
        then=st.sampled_from(["abort", "pause", "say"]),
        when=st.sampled_from(["abort", "pause"]),
        deadline=st.none() | st.sampled_from([10, 600]),
        gated=st.booleans(),
        mirrored=st.booleans(),
    )
    def begin(
        self,
        steps: Any,
        then: str,
        when: str,
        deadline: float | None,
        gated: bool,
        mirrored: bool,
    ) -> None:
        gates = [{"name": "ok", "url": "http://a", "tries": 3}] if gated else []
        rollout = rollout_of(
            steps=[{"ratio": 0, "hold": 5}, *steps] if mirrored else steps,
            judge={"then": then, "mirror": mirrored},
            against="baseline",
            gates=gates,
            deadline=deadline,
            when=when,
        )
        self.world = World(rollout)
        self.foreign = 0

    @rule(for_s=st.sampled_from([0, 1, 7, 100]))
    def drive(self, for_s: float) -> None:
        self.world.run(for_s)

    @rule(for_s=st.sampled_from([1, 30, 1000]))
    def no_driver(self, for_s: float) -> None:
        before = self.world.ratio
        self.world.now_ms += int(for_s * 1000)
        assert self.world.ratio == before

    @rule(judgement=st.sampled_from([None, FEW, FINE, SUSPICIOUS, WORSE]))
    def judge(self, judgement: Any) -> None:
        self.world.judgement = judgement

    @rule(gate=st.sampled_from([None, (True, False), (False, False), (False, True)]))
    def ask(self, gate: tuple[bool, bool] | None) -> None:
        reports = {} if gate is None else {"ok": GateReport(gate[0], "said", gate[1])}
        self.world.gates = reports

    @rule(frozen=st.sampled_from(["", "frozen"]), short=st.sampled_from(["", "short"]))
    def hold_back(self, frozen: str, short: str) -> None:
        self.world.frozen, self.world.short = frozen, short

    @rule(command=st.sampled_from([*COMMANDS.values()]))
    def tell(self, command: Command) -> None:
        world = self.world
        try:
            world.take(command(world.rollout, world.ratio, world.seen("ann")))
        except RolloutRefused as exc:
            assert "rollout" in str(exc) or "gate" in str(exc)

    @rule(share=st.integers(0, WHOLE))
    def set_ratio(self, share: int) -> None:
        """Write past all of it, as with the store's own client."""
        self.world.ratio = {**self.world.ratio, "canary": share, "baseline": 0}
        self.foreign = max(self.foreign, share)

    @precondition(lambda self: self.world.rollout.state is not None)
    @rule(steps=STEPS)
    def change_steps(self, steps: Any) -> None:
        world = self.world
        fields = {"steps": steps, "judge": {"then": "pause"}, "against": "baseline"}
        world.rollout = attrs.evolve(rollout_of(**fields), state=world.state)

    @rule()
    def die_before_the_write(self) -> None:
        world = self.world
        rollout, ratio = world.rollout, world.ratio
        world.tick()
        world.rollout, world.ratio = rollout, ratio

    @invariant()
    def no_share_is_beyond_the_whole(self) -> None:
        if hasattr(self, "world"):
            assert 0 <= sum(self.world.ratio.values()) <= WHOLE

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for way_out in (self._promote_out, self._abort_out):
            rollout, ratio = self.world.rollout, self.world.ratio
            way_out()
            self.world.rollout, self.world.ratio = rollout, ratio

    def _promote_out(self) -> None:
        """Whoever wants it to go on comes to done."""
        world = self.world
        world.frozen = world.short = ""
        world.judgement, world.gates = FINE, {"ok": GateReport(passed=True)}
        world.rollout = attrs.evolve(world.rollout, deadline=None)
        world.tick()
        for _ in range(12):
            if world.rollout.state is not None and world.phase is DONE:
                return
            if world.phase in (ABORTED, ABORTING):
                move = commands.retry(world.rollout, world.ratio, world.seen("ann"))
            else:
                move = commands.promote(world.rollout, world.ratio, world.seen("ann"))
            world.take(move)
        raise AssertionError(f"no way to done: {world}")

    def _abort_out(self) -> None:
        world = self.world
        world.tick()
        world.take(commands.abort(world.rollout, world.ratio, world.seen("ann")))
        assert (world.phase, world.share) == (ABORTED, 0)
        world.run(100)
        assert (world.phase, world.share) == (ABORTED, 0)


AnyRollout.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestR21EveryStateHasAWayOut = AnyRollout.TestCase
