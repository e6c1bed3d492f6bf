"""A judge in the course of a rollout: nothing counts twice, and another goes on alike."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.rollout.evidence import GROUPS, GroupCounts
from canary_trio.rollout.fleet.arm_tally import Counting, CountingRule
from canary_trio.rollout.fleet.judge_state import (
    MOST_STATE,
    JudgedArms,
    JudgeState,
    advance,
)
from canary_trio.rollout.fleet.published import ArmSums, ProxyEvidence
from canary_trio.rollout.judge import JudgeSettings
from canary_trio.rollout.latency import BOUNDS_S
from canary_trio.rollout.verdict import Finding, Verdict
from tests.canary_trio.rollout.fleet.test_arm_tally import count

ARMS = JudgedArms("canary", "baseline", "stable")
ERRORS_ONLY = JudgeSettings(latency_quantiles=())
FULL = JudgeSettings()
WINDOW = "v42/1"


class Fleet:
    """Proxies that count what is drawn, and what of it they have told."""

    def __init__(
        self,
        proxies: int,
        *,
        by_user: bool = False,
        by_request: bool = False,
        seed: int = 1,
    ) -> None:
        """Begin with `proxies`; with `by_request` errors are, though users count."""
        self.rule = CountingRule(
            *(WINDOW, ARMS.names), by_user=by_user, errors_by_request=by_request
        )
        self.draw = random.Random(seed)
        self.lives = 0
        self.counting: dict[str, Counting] = {}
        self.told: dict[str, ProxyEvidence] = {}
        for number in range(proxies):
            self.start(f"p{number}")

    def start(self, proxy: str) -> None:
        self.lives += 1
        self.counting[proxy] = Counting(self.rule, f"epoch {self.lives}")
        self.tell(proxy)

    def serve(self, proxy: str, rates: tuple[float, ...], requests: int = 50) -> None:
        tallies = self.counting[proxy].tallies
        for name, rate in zip(ARMS.names, rates, strict=True):
            for _ in range(requests):
                user = b"%d" % self.draw.randrange(10_000)
                seconds = 0.02 * self.draw.lognormvariate(0, 0.5)
                count(tallies[name], seconds, user, failed=self.draw.random() < rate)

    def tell(self, *proxies: str) -> None:
        for proxy in proxies or self.counting:
            text = self.counting[proxy].evidence().dump()
            told = ProxyEvidence.load(text)
            assert told is not None
            self.told[proxy] = told

    def requests(self) -> int:
        return sum(one.tallies["canary"].requests for one in self.counting.values())


def look(state: JudgeState, fleet: Fleet, window: str = WINDOW) -> Verdict:
    return advance(state, dict(fleet.told), window)[1]


def test_what_is_new_is_judged_once() -> None:
    fleet, state = Fleet(3), JudgeState(ERRORS_ONLY, ARMS)
    for _ in range(4):
        for proxy in fleet.counting:
            fleet.serve(proxy, (0.01, 0.01, 0.01))
        fleet.tell()
        look(state, fleet)
        look(state, fleet)  # nothing is new
    assert state.judge.verdict().requests == (600, 600)
    assert state.looks == 4


def test_a_write_that_is_lost_loses_nothing() -> None:
    fleet, state = Fleet(2), JudgeState(ERRORS_ONLY, ARMS)
    for tick in range(6):
        for proxy in fleet.counting:
            fleet.serve(proxy, (0.01, 0.01, 0.01))
        if tick % 3 == 2:
            fleet.tell("p0")
        fleet.tell("p1")
        look(state, fleet)
    assert state.judge.verdict().requests == (600, 600)


def test_a_proxy_that_begins_anew_counts_from_nothing() -> None:
    fleet, state = Fleet(2), JudgeState(ERRORS_ONLY, ARMS)
    for proxy in ("p0", "p1"):
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    look(state, fleet)
    fleet.start("p0")
    fleet.serve("p0", (0.01, 0.01, 0.01), 20)
    fleet.tell()
    assert look(state, fleet).requests == (120, 120)


def test_a_proxy_that_is_away_for_a_while_is_not_counted_again() -> None:
    fleet, state = Fleet(2), JudgeState(ERRORS_ONLY, ARMS)
    for proxy in ("p0", "p1"):
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    look(state, fleet)
    away = fleet.told.pop("p0")
    assert look(state, fleet).requests == (100, 100)
    fleet.told["p0"] = away
    assert look(state, fleet).requests == (100, 100)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(ProxyEvidence("another", "e", {}), id="another window"),
        pytest.param(ProxyEvidence(WINDOW, "e", {"canary": ArmSums(9)}), id="one arm"),
    ],
)
def test_what_is_of_another_step_is_not_judged(told: ProxyEvidence) -> None:
    fleet, state = Fleet(1), JudgeState(ERRORS_ONLY, ARMS)
    fleet.told["other"] = told
    assert look(state, fleet).requests == (0, 0)


def test_another_window_begins_a_step() -> None:
    fleet, state = Fleet(1), JudgeState(ERRORS_ONLY, ARMS)
    for _ in range(10):
        fleet.serve("p0", (0.5, 0.01, 0.01))
        fleet.tell()
        look(state, fleet)
    assert state.judge.verdict().finding is Finding.REGRESSION
    verdict = look(state, fleet, "v42/2")
    assert verdict.requests == (0, 0)
    assert verdict.finding is Finding.REGRESSION  # which no step takes back


def test_a_user_who_fails_at_several_proxies_is_one() -> None:
    fleet, state = Fleet(3, by_user=True), JudgeState(ERRORS_ONLY, ARMS)
    for proxy in fleet.counting:
        tallies = fleet.counting[proxy].tallies
        for name in ARMS.names:
            for user in range(100):
                failed = name == "canary" and user < 20
                count(tallies[name], 0.02, b"%d" % user, failed=failed)
        fleet.tell(proxy)
        look(state, fleet)
    assert state.judge.verdict().e_value < 1e7
    alone, once = Fleet(1, by_user=True), JudgeState(ERRORS_ONLY, ARMS)
    alone.counting["p0"] = fleet.counting["p0"]
    alone.tell()
    assert look(once, alone).e_value == pytest.approx(
        state.judge.verdict().e_value, rel=0.5
    )


def test_one_that_fails_is_seen_at_once() -> None:
    fleet, state = Fleet(3), JudgeState(FULL, ARMS)
    for _ in range(20):
        for proxy in fleet.counting:
            fleet.serve(proxy, (0.01, 0.01, 0.01))
        fleet.tell()
        assert look(state, fleet).finding is Finding.NOT_ENOUGH_DATA
    for _ in range(5):  # 750 requests of an arm
        for proxy in fleet.counting:
            fleet.serve(proxy, (0.1, 0.01, 0.01))
        fleet.tell()
        look(state, fleet)
    assert state.judge.verdict().finding is Finding.REGRESSION


# === another driver ===


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([(False, False), (True, False), (True, True)]),
    st.sampled_from([FULL, ERRORS_ONLY, attrs.evolve(FULL, bounds=())]),
    st.lists(st.sampled_from(["serve", "serve", "look", "step"]), max_size=24),
)
def test_another_goes_on_alike(
    seed: int, units: tuple[bool, bool], how: JudgeSettings, steps: list[str]
) -> None:
    """Whoever goes on from what was kept after a look says the same from then on.

    Not where users count: who has failed, or was timed, is not kept, so these begin with
    each look. Where latency is not judged, that is none where errors are by request.
    """
    fleet = Fleet(3, by_user=units[0], by_request=units[1], seed=seed)
    how = attrs.evolve(how, errors_by_request=units[1])
    forgets = units[0] and not (units[1] and not how.latency_quantiles)
    state, step = JudgeState(how, ARMS), 1
    others: list[JudgeState] = []
    rates = (0.03, 0.01, 0.01)
    for what in [*steps, "look"]:
        if what == "serve":
            for proxy in fleet.counting:
                fleet.serve(proxy, rates)
            fleet.tell()
        elif what == "step":
            step += 1
            fleet.rule = attrs.evolve(fleet.rule, window=f"v42/{step}")
            for proxy in list(fleet.counting):
                fleet.start(proxy)
        else:
            window = f"v42/{step}"
            verdict = look(state, fleet, window)
            for other in () if forgets else others:
                assert look(other, fleet, window) == verdict
                assert other.dump() == state.dump()
            other = JudgeState.load(state.dump(), how, ARMS)
            assert other.judge.verdict() == verdict
            assert other.judge.numbers() == state.judge.numbers()
            assert look(other, fleet, window) == verdict
            assert other.dump() == state.dump()
            others.append(other)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(["serve", "tell", "look", "die", "hand"]), max_size=30),
)
def test_groups_add_up_to_what_was_counted(seed: int, steps: list[str]) -> None:
    """Over proxies, their lives and drivers the judge learns what was told, and no more."""
    how = attrs.evolve(ERRORS_ONLY, errors_by_request=True)
    fleet = Fleet(3, by_user=True, by_request=True, seed=seed)
    state, learnt, gone = JudgeState(how, ARMS), [0, 0], [0, 0]

    def told() -> list[int]:
        found = [one.arms["canary"].groups for one in fleet.told.values()]
        return [
            sum(sum(one.requests) for one in found if one),
            sum(sum(one.failed) for one in found if one),
        ]

    for what in [*steps, "tell", "look"]:
        proxy = f"p{fleet.draw.randrange(3)}"
        if what == "serve":
            fleet.serve(proxy, (0.2, 0.1, 0.1), 20)
        elif what == "tell":
            fleet.tell(proxy)
        elif what == "die":
            fleet.tell(proxy)  # what was not told is lost with it
            look(state, fleet)
            dead = fleet.told[proxy].arms["canary"].groups
            assert dead is not None
            gone = [gone[0] + sum(dead.requests), gone[1] + sum(dead.failed)]
            fleet.start(proxy)
        elif what == "hand":  # to another driver, at any moment
            state = JudgeState.load(state.dump(), how, ARMS)
            gone = [0, 0]  # what is not there any more it cannot learn
        else:
            look(state, fleet)
            seen = state.judge.learnt[0] if state.judge.learnt else None
            learnt = [sum(seen.requests), sum(seen.failed)] if seen else [0, 0]
            every = [one + other for one, other in zip(told(), gone, strict=True)]
            # Who tells first after a hand-over may have been judged before: it is left out.
            assert learnt[0] <= every[0] and learnt[1] <= every[1]  # noqa: PT018
            assert learnt == every or "hand" in steps
    if "hand" not in steps:
        assert state.judge.verdict().requests[0] == learnt[0]


@pytest.mark.parametrize("by_request", [True, False])
def test_users_who_fail_again_and_again_are_found_out_across_drivers(
    by_request: bool,
) -> None:
    """Through proxies that die and drivers that go, or the rollout is stopped for nothing."""
    how = attrs.evolve(ERRORS_ONLY, errors_by_request=by_request)
    fleet = Fleet(3, by_user=True, by_request=True)
    state, said = JudgeState(how, ARMS), set()
    for tick in range(24):
        for proxy in fleet.counting:
            for name in ARMS.names:
                for number in range(40):
                    user = b"%b%d" % (name.encode(), fleet.draw.randrange(300))
                    failed = name == "canary" and number < 3
                    user = b"who fails" if failed else user
                    count(
                        fleet.counting[proxy].tallies[name], 0.02, user, failed=failed
                    )
        fleet.tell()
        said.add(look(state, fleet).finding)
        if tick % 5 == 4:
            state = JudgeState.load(state.dump(), how, ARMS)
        if tick % 7 == 6:
            fleet.start("p1")
    last = state.judge.verdict()
    if by_request:
        assert Finding.REGRESSION not in said
        assert str(last).startswith("unsound: failures hang together by user")
    else:
        assert last.finding is Finding.REGRESSION


def test_what_nobody_judged_meanwhile_is_judged_by_the_next() -> None:
    fleet, state = Fleet(3), JudgeState(FULL, ARMS)
    for proxy in fleet.counting:
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    look(state, fleet)
    kept = state.dump()
    for proxy in fleet.counting:
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    other = JudgeState.load(kept, FULL, ARMS)
    assert look(other, fleet).requests == (300, 300)


@pytest.mark.parametrize("what", ["left", "came", "began anew"])
def test_in_another_fleet_that_stretch_is_left_out(what: str) -> None:
    fleet, state = Fleet(3), JudgeState(FULL, ARMS)
    for proxy in fleet.counting:
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    look(state, fleet)
    other = JudgeState.load(state.dump(), FULL, ARMS)
    if what == "left":
        del fleet.counting["p0"], fleet.told["p0"]
    else:
        fleet.start("p3" if what == "came" else "p0")
    for proxy in fleet.counting:
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    assert look(other, fleet).requests == (150, 150)
    fleet.serve("p1", (0.01, 0.01, 0.01))
    fleet.tell()
    assert look(other, fleet).requests == (200, 200)


def test_who_was_away_when_another_took_over_is_not_counted_again() -> None:
    fleet, state = Fleet(2), JudgeState(ERRORS_ONLY, ARMS)
    for proxy in fleet.counting:
        fleet.serve(proxy, (0.01, 0.01, 0.01))
    fleet.tell()
    look(state, fleet)
    other = JudgeState.load(state.dump(), ERRORS_ONLY, ARMS)
    away = fleet.told.pop("p0")
    look(other, fleet)
    fleet.told["p0"] = away
    assert look(other, fleet).requests == (100, 100)


def test_what_is_kept_fits_whatever_was_counted() -> None:
    how = JudgeSettings(
        latency_quantiles=(0.5, 0.75, 0.9, 0.95, 0.99),
        comparisons=1000,
        errors_by_request=True,
    )
    state, draw = JudgeState(how, ARMS), random.Random(1)
    sums = {name: ArmSums() for name in ARMS.names}
    for tick in range(40):
        for name, before in sums.items():
            latencies = {
                at: before.latencies.get(at, 0) + draw.randrange(1, 10**6)
                for at in range(len(BOUNDS_S) + 1)
            }
            more = draw.randrange(10**7)
            asked = tuple(draw.randrange(10**5) + tick * 10**5 for _ in range(GROUPS))
            sums[name] = ArmSums(
                *(before.requests + more, before.errors + more // 3, None, latencies),
                groups=GroupCounts(asked, tuple(one // 9 for one in asked)),
            )
        told = {"p": ProxyEvidence("w" * 100 + str(tick // 9), "e", dict(sums))}
        advance(state, told, told["p"].window)
        text = state.dump()
        assert len(text) <= MOST_STATE
        JudgeState.load(text, how, ARMS)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"of": 1}', "null", "\0", '{"of": "x", "window": 1, "looks": 2}'],
)
def test_what_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"found|Expecting"):
        JudgeState.load(text, FULL, ARMS)


def test_the_state_of_another_judge_is_refused() -> None:
    text = JudgeState(FULL, ARMS).dump()
    with pytest.raises(ValueError, match="other settings or arms"):
        JudgeState.load(text, ERRORS_ONLY, ARMS)
    with pytest.raises(ValueError, match="other settings or arms"):
        JudgeState.load(text, FULL, JudgedArms("canary", "stable"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_broken_state_is_refused_or_is_one(data: st.DataObject) -> None:
    text = JudgeState(ERRORS_ONLY, JudgedArms("canary", "stable")).dump()
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(st.sampled_from('0aZ"{~')) + text[at + 1 :]
    try:
        state = JudgeState.load(broken, ERRORS_ONLY, JudgedArms("canary", "stable"))
    except ValueError:
        return
    state.judge.verdict()
