"""Which servers are usable: by example, and against a naive model."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from canary_trio.config.model import Arm, Balance, ServerMode
from canary_trio.config.policies import ServerLimits
from canary_trio.upstream.pending_queue import PendingQueue
from canary_trio.upstream.server import ServerState
from canary_trio.upstream.server_set import ServerSet
from tests.canary_trio.support.arm_bench import EJECTION, KEYS, START, Bench, a_server

# === ejection ===


def test_a_failing_server_is_out_and_comes_back() -> None:
    bench = Bench.of(3)
    bad = bench.servers[0]
    bench.fail(bad)
    assert bad not in bench.picks()
    assert bench.server_set.next_due == START + 10
    bench.wait(10)
    assert bad in bench.picks()
    bench.fail(bad, 1)  # on trial
    assert bad not in bench.picks()
    assert bad.ejected_until == bench.now + 20


def test_the_last_healthy_server_is_never_ejected() -> None:
    bench = Bench.of(3, panic_threshold=0.0)
    for server in bench.servers:
        bench.fail(server, 10)
    last = bench.servers[-1]

    assert last.healthy
    assert set(bench.picks()) == {last}


def test_the_last_one_is_out_if_it_is_gone_and_another_arm_serves() -> None:
    bench = Bench.of(2, fallback=True)
    bench.fail(bench.servers[0], unreachable=True)
    bench.fail(bench.servers[1])
    assert bench.servers[1].healthy
    bench.fail(bench.servers[1], unreachable=True)

    assert bench.server_set.pick(None) is None
    bench.wait(10)
    assert bench.server_set.pick(None) is not None


def test_a_check_that_reaches_it_ends_an_ejection_for_not_being_reached() -> None:
    bench = Bench.of(3)
    cut_off, sick = bench.servers[:2]
    bench.fail(cut_off, unreachable=True)
    bench.fail(sick)
    for server in (cut_off, sick):
        bench.server_set.reached(server, bench.now)

    assert (cut_off.healthy, sick.healthy) == (True, False)
    assert cut_off.record.on_trial


def test_each_change_of_its_health_is_dated(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000, 2000))
    bench = Bench.of(3)
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    server = bench.servers[0]
    dates = []

    def checked(*, up: bool) -> None:
        bench.server_set.checked(server, bench.now, up=up)
        dates.append(server.since)

    checked(up=False)
    checked(up=False)  # that is no change
    checked(up=True)
    bench.fail(server)
    dates.append(server.since)
    bench.wait(10)
    dates.append(server.since)
    assert dates == [1000, 1000, 1001, 1002, 1003]


def test_the_most_that_it_had_at_once_stays() -> None:
    server = Bench.of(1).servers[0]
    for begins in (1, 1, 0, 0, 1):
        if begins:
            server.began(START)
        else:
            server.ended(START, True, START)
    assert (server.in_flight, server.most_in_flight) == (1, 2)


# === panic ===


def test_if_few_are_healthy_health_is_ignored_and_counted() -> None:
    bench = Bench.of(4)
    for server in bench.servers[:2]:
        bench.server_set.checked(server, bench.now, up=False)
    assert not bench.server_set.panic
    assert len(bench.picks()) == 2
    bench.server_set.checked(bench.servers[2], bench.now, up=False)
    assert bench.server_set.panic
    assert len(bench.picks()) == 4
    bench.server_set.checked(bench.servers[0], bench.now, up=True)
    assert not bench.server_set.panic
    assert bench.server_set.panics == 1


def test_in_a_panic_those_that_refuse_connections_get_nothing() -> None:
    bench = Bench.of(3)
    one, other, third = bench.servers
    bench.server_set.checked(one, bench.now, up=False, unreachable=True)
    bench.server_set.checked(other, bench.now, up=False)

    assert set(bench.picks()) == {other, third}
    assert bench.server_set.pick_other({other}) is third
    assert bench.server_set.pick_other({third}) is other
    assert bench.server_set.pick_other({third, other}) is None


def test_who_came_back_counts_as_reachable_again() -> None:
    bench = Bench.of(3, panic_threshold=0.0)
    bench.fail(bench.servers[0], unreachable=True)
    bench.wait(10)
    for server in bench.servers[1:]:
        bench.server_set.checked(server, bench.now, up=False)
    bench.configure(panic_threshold=1.0)

    assert set(bench.picks()) == set(bench.servers)


def test_without_a_healthy_server_an_arm_falls_back_or_panics() -> None:
    for fallback in (False, True):
        bench = Bench.of(2, fallback=fallback)
        for server in bench.servers:
            bench.server_set.checked(server, bench.now, up=False)
        assert (bench.server_set.pick(None) is None) == fallback


# === full ===


def test_a_full_server_is_passed_over_until_it_has_room() -> None:
    bench = Bench.of(2, limits=ServerLimits(in_flight=1))
    one, other = bench.servers
    one.began(START)
    assert set(bench.picks()) == {other}
    other.began(START)
    assert set(bench.picks()) == {one, other}  # to wait there
    assert one.full
    one.ended(START + 1, True, START)
    assert set(bench.picks()) == {one}


def test_a_new_limit_holds_at_once() -> None:
    bench = Bench.of(2)
    one, other = bench.servers
    one.began(START)
    bench.configure(limits=ServerLimits(in_flight=1))
    assert set(bench.picks()) == {other}
    bench.configure(limits=ServerLimits(in_flight=2))
    assert set(bench.picks()) == {one, other}


class Waits:
    """Takes the place that it is given."""

    def __init__(self, server: ServerState) -> None:
        self.server = server
        self.was_full: bool | None = None

    def admit(self) -> None:
        self.was_full = self.server.full
        self.server.began(START)


def test_who_waits_gets_the_place() -> None:
    bench = Bench.of(1, limits=ServerLimits(in_flight=1))
    server = bench.servers[0]
    server.queue = PendingQueue(server)
    server.began(START)
    timeouts = Waits(server)
    server.queue.join(timeouts, "a")
    server.ended(START, None, START)

    assert timeouts.was_full is False
    assert server.in_flight == 1
    assert not server.queue


def take_all(server: ServerState, client: str) -> int:
    """Take places for a client as long as it is given some; give how many."""
    count = 0
    while server.has_room_for(client):
        if server.in_flight >= server.crowded_at:
            server.take_share(client)
        server.began(START)
        count += 1
    return count


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("places", [1, 2, 3, 4, 10, 100, 1024])
def test_one_client_gets_its_share_and_no_more(places: int, share: float) -> None:
    limits = ServerLimits(in_flight=places, client_share=share)
    server = Bench.of(1, limits=limits).servers[0]
    assert take_all(server, "a") == max(1, math.ceil(places * share))
    if share < 1 and server.in_flight < places:
        assert take_all(server, "b") > 0
        left = places - server.in_flight
        assert take_all(server, "") == left
        assert server.full


def test_a_share_that_is_given_back_may_be_taken_again() -> None:
    server = Bench.of(1, limits=ServerLimits(in_flight=4)).servers[0]
    assert take_all(server, "a") == 3
    server.give_share("a")
    server.ended(START, True, START)
    assert take_all(server, "a") == 1
    for _ in range(2):
        server.give_share("a")
    assert not server.shares


def test_one_client_has_its_share_of_those_that_wait() -> None:
    limits = ServerLimits(in_flight=1, pending=4, client_share=0.5)
    server = Bench.of(1, limits=limits).servers[0]
    for client, is_in in (("a", 1), ("a", 1), ("a", 0), ("b", 1), ("c", 1), ("d", 0)):
        assert server.queue_up(Waits(server), client, limits) == is_in


# === slow start ===


def test_a_server_that_came_back_grows_to_its_weight() -> None:
    bench = Bench.of(2, slow_start=20.0)
    server = bench.servers[0]
    assert server.weight == 1.0  # the first ones are warm
    bench.fail(server)
    bench.wait(10)
    weights = [server.weight]
    while bench.server_set.next_due < float("inf"):
        bench.wait(bench.server_set.next_due - bench.now)
        weights.append(server.weight)

    assert weights[0] == 0.1
    assert weights == sorted(weights)
    assert weights[-1] == 1.0
    assert 15 < len(weights) < 30
    assert bench.now <= START + 10 + 20 * 1.06


def test_changes_of_the_document_do_not_hurry_a_slow_start() -> None:
    bench = Bench.of(2, slow_start=20.0)
    server = bench.servers[0]
    bench.fail(server)
    bench.wait(10)
    for _ in range(100):
        bench.configure(slow_start=20.0)
    assert len(bench.server_set._due) == 1
    bench.wait(10)
    assert 0.45 <= server.weight <= 0.55


def test_a_new_server_beside_warm_ones_starts_slowly() -> None:
    bench = Bench.of(2, slow_start=20.0)
    bench.servers.append(a_server(bench.server_set, "new"))
    bench.configure(slow_start=20.0)

    assert [server.weight for server in bench.servers] == [1.0, 1.0, 0.1]
    assert 15 < bench.picks(420)[bench.servers[2]] < 25


# === modes, stickiness ===


def test_sticky_users_keep_a_draining_server_and_leave_one_in_maintenance() -> None:
    bench = Bench.of(3, sticky=True)
    before = [bench.server_set.pick(key) for key in KEYS]
    server = bench.servers[0]
    bench.mode(server, ServerMode.DRAIN)
    assert [bench.server_set.pick(key) for key in KEYS] == before
    assert server not in bench.picks()
    bench.mode(server, ServerMode.MAINTENANCE)
    after = [bench.server_set.pick(key) for key in KEYS]
    assert server not in after
    for was, now in zip(before, after, strict=True):
        assert was in (now, server)
    bench.mode(server, ServerMode.READY)
    assert [bench.server_set.pick(key) for key in KEYS] == before


# === changes of the configuration ===


def test_what_is_owed_and_known_survives_any_change() -> None:
    bench = Bench.of(3)
    bench.fail(bench.servers[2])
    got: Counter[ServerState | None] = Counter()
    for n in range(300):
        more = {"slow_start": float(n % 7), "panic_threshold": (n % 5) / 10}
        bench.configure(**more)
        got[bench.server_set.pick(None)] += 1

    assert got == {bench.servers[0]: 150, bench.servers[1]: 150}
    assert bench.servers[2].ejected_until == START + 10


def test_a_removed_server_is_left_when_its_last_request_ends() -> None:
    left: list[ServerState] = []
    server_set = ServerSet(random.Random(1).random, on_left=left.append)
    servers = [a_server(server_set, name) for name in ("a", "b")]
    bench = Bench(server_set, servers)
    bench.configure()
    gone = bench.servers.pop()
    gone.began(START)
    gone.began(START)
    bench.configure()

    assert set(bench.picks()) == set(bench.servers)
    gone.ended(START, False, START)
    gone.ended(START, True, START)
    assert left == [gone]


def test_a_retired_arm_has_nobody() -> None:
    bench = Bench.of(2, sticky=True)
    bench.server_set.retire()
    assert bench.server_set.pick(b"ann") is None
    assert bench.server_set.pick_other((), None) is None
    bench.configure()
    assert len(bench.picks()) == 2


# === against a model ===

NAMES = ["a", "b", "c", "d"]


@attrs.define
class Simple:
    """One server, as naively as can be."""

    mode: ServerMode = ServerMode.READY
    up: bool = True
    in_a_row: int = 0
    times: int = 0
    back_at: float = 0.0
    trial: bool = False
    out_until: float = 0.0
    unreachable: bool = False
    in_flight: int = 0

    @property
    def healthy(self) -> bool:
        return self.up and not self.out_until


class ServerSetMachine(RuleBasedStateMachine):
    """Any order of events; after each, the server set and the model agree."""

    LIMIT = 2

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.server_set = ServerSet(random.Random(7).random)
        self.states: dict[str, ServerState] = {}
        self.model: dict[str, Simple] = {}
        self.members: list[str] = []

    @initialize(
        balance=st.sampled_from(Balance),
        fallback=st.booleans(),
        sticky=st.booleans(),
        threshold=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
        slow_start=st.sampled_from([0.0, 30.0]),
        members=st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    )
    def begin(self, members: list[str], **settings_: Any) -> None:
        self.settings = settings_
        self.configured(members)

    @rule(members=st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    def configured(self, members: list[str]) -> None:
        for name in members:
            if name not in self.states:
                self.states[name] = a_server(self.server_set, name)
                self.model[name] = Simple()
        self.members = members
        self.apply()

    @rule(balance=st.sampled_from(Balance))
    def balanced(self, balance: Balance) -> None:
        self.settings["balance"] = balance
        self.apply()

    @rule(name=st.sampled_from(NAMES), mode=st.sampled_from(ServerMode))
    def moded(self, name: str, mode: ServerMode) -> None:
        if name in self.members:
            state = self.states[name]
            state.server = attrs.evolve(state.server, mode=mode)
            self.model[name].mode = mode
            self.apply()

    @rule(name=st.sampled_from(NAMES), weight=st.sampled_from([1, 2, 9]))
    def weighed(self, name: str, weight: int) -> None:
        if name in self.members:
            state = self.states[name]
            state.server = attrs.evolve(state.server, weight=weight)
            self.apply()

    @rule(name=st.sampled_from(NAMES), up=st.booleans(), unreachable=st.booleans())
    def checked(self, name: str, *, up: bool, unreachable: bool) -> None:
        if name in self.members:
            state = self.states[name]
            self.server_set.checked(state, self.now, up=up, unreachable=unreachable)
            self.model[name].up = up
            self.model[name].unreachable = unreachable and not up

    @rule(key=st.none() | st.binary(max_size=3))
    def began(self, key: bytes | None) -> None:
        state = self.server_set.pick(key)
        if state is not None:
            state.began(self.now)
            self.model[self.name(state)].in_flight += 1

    @rule(
        name=st.sampled_from(NAMES),
        ok=st.sampled_from([True, False, False, None]),
        unreachable=st.booleans(),
    )
    def ended(self, name: str, *, ok: bool | None, unreachable: bool) -> None:
        one = self.model.get(name)
        if one is None or not one.in_flight:
            return
        one.in_flight -= 1
        self.states[name].ended(self.now, ok, self.now, unreachable=unreachable)
        if ok:
            one.in_a_row, one.trial = 0, False
        elif ok is False and name in self.members and one.healthy:
            one.in_a_row += 1
            if (one.trial or one.in_a_row >= 2) and self.spared(name, unreachable):
                forgiven = int((self.now - one.back_at) // 10) if one.times else 0
                one.times = max(0, one.times - forgiven) + 1
                one.out_until = self.now + min(10.0 * one.times, 40.0)
                one.in_a_row, one.unreachable = 0, unreachable

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 40.0]))
    def waited(self, seconds: float) -> None:
        self.now += seconds
        self.server_set.tick(self.now)
        for one in self.model.values():
            if 0 < one.out_until <= self.now:
                one.out_until, one.back_at, one.trial = 0.0, self.now, True
                one.unreachable = one.unreachable and not one.up

    # === the model ===

    def apply(self) -> None:
        arm = Arm(
            tuple(self.states[name].server for name in self.members),
            balance=self.settings["balance"],
            ejection=EJECTION,
            panic_threshold=self.settings["threshold"],
            slow_start=self.settings["slow_start"],
            limits=ServerLimits(in_flight=self.LIMIT),
        )
        self.server_set.configure(
            arm,
            [self.states[name] for name in self.members],
            falls_back=self.settings["fallback"],
            sticky=self.settings["sticky"],
            now=self.now,
        )

    def name(self, state: ServerState) -> str:
        return next(name for name, one in self.states.items() if one is state)

    def spared(self, name: str, unreachable: bool) -> bool:
        others = [n for n in self.members if n != name]
        if unreachable and self.settings["fallback"]:
            return True
        ready = ServerMode.READY
        return any(
            self.model[n].healthy and self.model[n].mode is ready for n in others
        )

    def usable(self) -> set[str]:
        ready = [n for n in self.members if self.model[n].mode is ServerMode.READY]
        healthy = [n for n in ready if self.model[n].healthy]
        if len(healthy) >= self.settings["threshold"] * len(ready):
            return set(healthy)
        if not healthy and self.settings["fallback"]:
            return set()
        return {n for n in ready if not self.model[n].unreachable} or set(ready)

    @invariant()
    def agrees(self) -> None:
        usable = self.usable()
        assert {self.name(one) for one in self.server_set.usable} == usable
        room = {n for n in usable if self.model[n].in_flight < self.LIMIT}
        assert {self.name(one) for one in self.server_set.picker.open} == room
        found = self.server_set.pick(None)
        if usable:
            assert found is not None
            assert self.name(found) in (room or usable)
        else:
            assert found is None
        for one in self.states.values():
            assert one.server.weight * 0.1 <= one.weight <= one.server.weight

    @invariant()
    def sticky_ones_stay(self) -> None:
        """A key is given to a server that is not in maintenance, and always the same."""
        if self.settings["sticky"]:
            found = self.server_set.pick(b"ann")
            assert (
                found is self.server_set.pick(b"ann")
                or not self.server_set.picker.sticky
            )
            if found is not None:
                assert self.model[self.name(found)].mode is not ServerMode.MAINTENANCE


ServerSetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestServerSet = ServerSetMachine.TestCase
