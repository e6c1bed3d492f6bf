"""The sessions' clocks: twice the time to live, of the time in which the store hears."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from kv_trio.state.entry import Session
from kv_trio.state.session_clocks import (
    BEAT_S,
    GRACE_S,
    LATE_S,
    LIVES,
    SessionClocks,
)

TTL_S = 10.0


def started(*ids: str, now: float = 0.0) -> SessionClocks:
    clocks = SessionClocks()
    for id_ in ids:
        clocks.start(Session(id_, ttl_s=TTL_S), now)
    return clocks


def run(clocks: SessionClocks, now: float, until: float) -> list[tuple[float, str]]:
    """Look whenever it is asked for; give who ended, and when."""
    ended = []
    while (now := max(now, clocks.next_look())) <= until:
        ended += [(now, id_) for id_ in clocks.look(now)]
    return ended


def test_a_session_ends_at_twice_its_time() -> None:
    assert run(started("s"), 0.0, 100.0) == [(2 * TTL_S, "s")]


def test_a_renewal_gives_the_whole_time_anew() -> None:
    clocks = started("s")
    assert not run(clocks, 0.0, 19.5)
    clocks.renew("s", 19.5)
    assert run(clocks, 19.5, 100.0) == [(39.5, "s")]


def test_a_session_without_a_time_to_live_has_no_clock() -> None:
    clocks = SessionClocks()
    clocks.start(Session("s"), 0.0)
    clocks.renew("s", 1.0)
    assert clocks.next_look() == float("inf")
    assert not clocks.look(1e9)


def test_nobody_ends_when_the_store_thaws_and_what_waits_is_read_before() -> None:
    clocks = started("renewed", "silent")
    assert not run(clocks, 0.0, 15.0)
    assert not clocks.look(100.0)  # frozen for 85 s
    clocks.renew("renewed", 100.0)
    ended = run(clocks, 100.0, 200.0)
    assert [id_ for _, id_ in ended] == ["silent", "renewed"]
    assert 104.0 <= ended[0][0] <= 106.0  # it had 5 s left
    assert ended[1][0] == 120.0


def test_a_session_that_is_at_its_end_has_the_grace() -> None:
    clocks = started("s")
    assert not run(clocks, 0.0, 19.9)
    assert not clocks.look(100.0)
    assert run(clocks, 100.0, 200.0) == [(100.0 + GRACE_S, "s")]


def test_a_renewal_that_is_read_before_the_first_look_sees_the_freeze_too() -> None:
    clocks = started("renewed", "silent")
    assert not run(clocks, 0.0, 15.0)
    clocks.renew("renewed", 100.0)
    assert [id_ for _, id_ in run(clocks, 100.0, 110.0)] == ["silent"]


def test_a_look_that_is_a_little_late_is_no_freeze() -> None:
    clocks = started("s")
    assert not run(clocks, 0.0, 19.0)
    assert clocks.look(19.0 + BEAT_S + LATE_S) == ["s"]


def test_time_before_the_first_session_is_no_freeze() -> None:
    clocks = SessionClocks()
    clocks.look(0.0)
    clocks.start(Session("s", ttl_s=TTL_S), 1000.0)
    assert run(clocks, 1000.0, 2000.0) == [(1020.0, "s")]


def test_sessions_that_were_ended_by_hand_leave_nothing() -> None:
    clocks = SessionClocks()
    for number in range(10_000):
        clocks.start(Session(str(number), ttl_s=86_400.0), float(number))
        clocks.stop(str(number))
    assert len(clocks) == 0
    assert len(clocks._queue) < 100


def steps_of(call: Callable[[], Any]) -> int:
    """Count the lines of the clocks that run."""
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename.endswith("session_clocks.py"):
            count += event == "line"
            return trace
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


CALLS: dict[str, Callable[[SessionClocks], Any]] = {
    "start": lambda clocks: clocks.start(Session("new", ttl_s=5.0), 1.0),
    "renew": lambda clocks: clocks.renew("7", 1.0),
    "stop": lambda clocks: clocks.stop("7"),
    "next_look": lambda clocks: clocks.next_look(),
    "look": lambda clocks: clocks.look(1.0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_a_session_costs_does_not_grow_with_their_number(
    call: Callable[[SessionClocks], Any],
) -> None:
    costs = [
        steps_of(partial(call, started(*map(str, range(count)))))
        for count in (1000, 4000, 16_000)
    ]
    assert (
        costs[0] == costs[1] == costs[2]
    )  # but for the levels of the heap, which is C


class Clocks(RuleBasedStateMachine):
    """Beside a model that knows all times: who hears nobody counts no time."""

    def __init__(self) -> None:
        super().__init__()
        self.clocks = SessionClocks()
        self.now = self.grace_until = 0.0
        self.left: dict[str, float] = {}  # seconds in which the store hears
        self.lives: dict[str, float] = {}

    @rule(id_=st.sampled_from("abcdef"), ttl_s=st.sampled_from([1.0, 3.0, 10.0]))
    def start(self, id_: str, ttl_s: float) -> None:
        if id_ not in self.left:
            self.clocks.start(Session(id_, ttl_s=ttl_s), self.now)
            self.left[id_] = self.lives[id_] = LIVES * ttl_s

    @rule(id_=st.sampled_from("abcdef"))
    def renew(self, id_: str) -> None:
        self.clocks.renew(id_, self.now)
        if id_ in self.left:
            self.left[id_] = self.lives[id_]

    @rule(id_=st.sampled_from("abcdef"))
    def stop(self, id_: str) -> None:
        self.clocks.stop(id_)
        self.left.pop(id_, None)

    @rule(beats=st.integers(1, 12))
    def pass_time(self, beats: int) -> None:
        end = self.now + beats * BEAT_S / 2
        while True:
            at = min(end, max(self.now, self.clocks.next_look()))
            self._take(self.clocks.look(at), at - self.now)
            self.now = at
            if at == end:
                return

    @precondition(lambda self: self.left)
    @rule(frozen_s=st.sampled_from([2.5, 30.0, 1000.0]))
    def freeze(self, frozen_s: float) -> None:
        self.now += frozen_s
        assert not self.clocks.look(self.now), "somebody ended as the store thawed"
        self.grace_until = self.now + GRACE_S
        for id_ in self.left:
            self.left[id_] -= BEAT_S  # that much of it may have been before the freeze

    def _take(self, ended: list[str], passed_s: float) -> None:
        for id_ in self.left:
            self.left[id_] -= passed_s
        for id_ in ended:
            assert self.left.pop(id_) <= 0.001, "it ended before its time"

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert len(self.clocks) == len(self.left)
        if self.now > self.grace_until:  # while it freezes again and again, none ends
            assert all(left > -2 * BEAT_S - GRACE_S for left in self.left.values())


TestClocks = Clocks.TestCase
