"""Whatever happens, a change that nobody confirms is taken back, in time and not before."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.control.changes.confirming import (
    confirm,
    stop_trial,
    take_back,
    write_trial,
    write_unconfirmed,
)
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.pending import GRACE_S
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.waiting import carried_over, read_pending
from canary_trio.control.driving.driver import Driver
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.errors import CannotConfirm, NothingPending
from canary_trio.telemetry.task_keeper import TaskKeeper
from kv_trio import KvError
from tests.canary_trio.support.model_store import ModelStore
from tests.canary_trio.support.stored_proxy import DOCUMENT

EPOCH_S = 1_795_750_000.0
SESSION_S = 15.0
"""How long a store keeps the session of a proxy that is gone."""

SLACK_S = 60.0
"""Of tries anew after errors, and of a driver that is replaced."""


def clock(off_s: float = 0.0) -> float:
    return EPOCH_S + trio.current_time() + off_s


@attrs.define
class Fleet:
    """Proxies of one service that come and go; only what drives is there of them."""

    store: ModelStore
    nursery: trio.Nursery
    live: list[tuple[str, trio.CancelScope]] = attrs.field(factory=list)

    def start(self, off_s: float) -> None:
        session, scope = self.store.new_session(), trio.CancelScope()
        look = lambda: driver.look()  # noqa: E731, PLW0108  # it is made next
        duty = Unconfirmed("web", look, partial(clock, off_s))
        driver: Driver = Driver(
            *("web", session, [duty]),
            session=lambda: session,
            keep=TaskKeeper().run,
        )
        self.live.append((session, scope))
        self.nursery.start_soon(self._run, scope, driver, duty)

    async def _run(
        self, scope: trio.CancelScope, driver: Driver, duty: Unconfirmed
    ) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(duty.follow, self.store)
                nursery.start_soon(driver.run, self.store)

    def kill(self) -> None:
        """End one, as if its network was cut: its session is there for a while."""
        if self.live:
            session, scope = self.live.pop(0)
            scope.cancel()
            self.nursery.start_soon(self._end, session)

    async def _end(self, session: str) -> None:
        await trio.sleep(SESSION_S)
        self.store.end_session(session)


async def ratio_of(store: ModelStore) -> float:
    text, _ = await read_document(store, "web")
    return float(json.loads(text).get("ratio", 0))


CLOCKS = st.floats(-300, 300)
STEPS = st.one_of(
    st.tuples(st.just("set"), st.integers(1, 99), st.floats(1, 300)),
    st.tuples(st.just("try"), st.integers(1, 99), st.floats(1, 300)),
    st.tuples(st.just("for good"), st.integers(1, 99), st.none()),
    st.tuples(st.just("by hand"), st.integers(1, 99), st.none()),
    st.tuples(st.just("confirm"), st.none(), st.none()),
    st.tuples(st.just("revert"), st.none(), st.none()),
    st.tuples(st.just("start"), st.none(), CLOCKS),
    st.tuples(st.just("kill"), st.none(), st.none()),
    st.tuples(st.just("faults"), st.integers(1, 6), st.none()),
    st.tuples(st.just("sleep"), st.none(), st.floats(0, 200)),
)


@attrs.define
class Operator:
    """Does what an operator may, and knows what must come of it."""

    fleet: Fleet
    good: float = 0.0
    """The ratio of the last document that was for good."""

    async def do(self, what: str, number: int | None, given: float | None) -> None:
        store = self.fleet.store
        if number is not None and what != "faults":
            await self._write(what, number / 100, given)
        elif what == "confirm":
            if await self._is_waiting():
                await confirm(store, "web")
                self.good = await ratio_of(store)
        elif what == "revert":
            await self._revert()
        elif what == "start":
            self.fleet.start(given or 0.0)
        elif what == "kill":
            self.fleet.kill()
        elif what == "faults":
            store.faults = number or 0
        elif given is not None:
            await trio.sleep(given)

    async def _revert(self) -> None:
        store = self.fleet.store
        change = (await read_pending(store, "web")).change
        if change is not None and change.is_trial:
            await stop_trial(store, "web", change)
        elif change is not None:
            former = json.loads(change.document)
            await write_document(store, "web", former, over=change.index)

    async def _write(self, what: str, ratio: float, within_s: float | None) -> None:
        store = self.fleet.store
        _, over = await read_document(store, "web")
        document = {**DOCUMENT, "ratio": ratio}
        if what == "try":
            with suppress(CannotConfirm):
                await write_trial(
                    *(store, "web", document, ["a"]), within_s=within_s or 1, now=clock
                )
        elif what == "by hand":
            await store.put("canary/web/config", json.dumps(document).encode())
            self.good = ratio
        elif within_s is None:
            waited = await self._is_waiting()
            if (
                await write_document(store, "web", document, over=over) != over
                or not waited
            ):
                self.good = ratio
        else:
            await write_unconfirmed(
                *(store, "web", document), over=over, within_s=within_s, now=clock
            )

    async def _is_waiting(self) -> bool:
        return (await read_pending(self.fleet.store, "web")).change is not None


@given(st.lists(STEPS, max_size=12), CLOCKS)
@settings(max_examples=150)
def test_nothing_waits_for_ever(
    steps: list[tuple[str, int | None, float | None]], last_off_s: float
) -> None:
    async def play() -> None:
        store = ModelStore()
        await write_document(store, "web", {**DOCUMENT, "ratio": 0.0}, over=0)
        async with trio.open_nursery() as nursery:
            operator = Operator(Fleet(store, nursery))
            for step in steps:
                try:
                    await operator.do(*step)
                except KvError:
                    store.faults = 0
                    # whether it took effect is not known: look, as an operator would
                    if not await operator._is_waiting():
                        operator.good = await ratio_of(store)
            store.faults = 0
            operator.fleet.start(last_off_s)
            await trio.sleep(300 + SESSION_S + GRACE_S + SLACK_S)

            assert (await store.get("canary/web/pending")).entry is None
            assert await ratio_of(store) == operator.good
            nursery.cancel_scope.cancel()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


@given(
    st.floats(1, 300),
    st.lists(CLOCKS, min_size=1, max_size=3),
    st.lists(st.tuples(st.floats(1, 100), CLOCKS), max_size=3),
)
@settings(max_examples=100)
def test_it_is_taken_back_in_time_and_not_before(
    period_s: float,
    witnesses: list[float],
    newcomers: list[tuple[float, float]],
) -> None:
    """While one lives that saw it come, no clock matters; killing drivers costs their session."""

    async def play() -> None:
        store = ModelStore()
        first = await write_document(store, "web", {**DOCUMENT, "ratio": 0.0}, over=0)
        async with trio.open_nursery() as nursery:
            fleet = Fleet(store, nursery)
            for off_s in witnesses:
                fleet.start(off_s)
            await trio.sleep(1)
            begun = trio.current_time()
            await write_unconfirmed(
                *(store, "web", {**DOCUMENT, "ratio": 0.5}),
                over=first,
                within_s=period_s,
                now=clock,
            )
            for after_s, off_s in newcomers:
                await trio.sleep(after_s)
                if len(fleet.live) > 1:
                    fleet.kill()
                fleet.start(off_s)
            while (await store.get("canary/web/pending")).entry is not None:
                await trio.sleep(0.25)
            took_s = trio.current_time() - begun

            lived = len(newcomers) < len(witnesses)
            assert took_s <= max(period_s, sum(a for a, _ in newcomers)) + (
                SESSION_S + GRACE_S + 1 if lived else period_s + SLACK_S
            )
            if lived or not newcomers:
                assert took_s >= period_s - 0.01
            else:
                assert took_s >= min(period_s, GRACE_S)
            assert await ratio_of(store) == 0
            nursery.cancel_scope.cancel()

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_last_moment_belongs_to_one_of_the_two(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = ModelStore()
    first = await write_document(store, "web", {**DOCUMENT, "ratio": 0.0}, over=0)
    async with trio.open_nursery() as nursery:
        Fleet(store, nursery).start(0)
        outcomes = set()
        for shift in range(-3, 4):
            ratio = (shift + 5) / 100
            _, first = await read_document(store, "web")
            await write_unconfirmed(
                store, "web", {**DOCUMENT, "ratio": ratio}, over=first, within_s=5
            )
            await trio.sleep(5)
            for _ in range(4 + 4 * shift):
                await trio.lowlevel.checkpoint()
            try:
                await confirm(store, "web")
                expected = ratio
            except NothingPending:
                expected = await ratio_of(store)
                assert expected != ratio
            await trio.sleep(60)
            outcomes.add(expected == ratio)
            assert await ratio_of(store) == expected
        nursery.cancel_scope.cancel()
    assert outcomes == {True, False}, "both are seen"


async def test_what_is_carried_over_has_no_more_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = ModelStore()
    first = await write_document(store, "web", {**DOCUMENT, "ratio": 0.0}, over=0)
    changed = {**DOCUMENT, "ratio": 0.5}
    second, _ = await write_unconfirmed(store, "web", changed, over=first, within_s=60)
    duty = Unconfirmed("web", lambda: None, clock)
    duty.note(None)
    duty.note((await store.get("canary/web/pending")).entry)
    due_at = duty.due_at
    await trio.sleep(30)
    third = await write_document(
        *(store, "web", {**DOCUMENT, "ratio": 0.6}),
        over=second,
        also=await carried_over(store, "web"),
    )
    duty.note((await store.get("canary/web/pending")).entry)
    assert duty.change is not None
    assert (duty.change.index, duty.change.revision) == (third, first)
    assert duty.due_at == due_at


@pytest.mark.parametrize("phase", ["aborted", "running"])
async def test_an_abort_is_not_taken_back(phase: str) -> None:
    store = ModelStore()
    rollout: dict[str, Any] = {"id": "v1", "steps": [0.5, 1]}
    state = {"step": 0, "since": 5, "reason": "", "by": "p", "ratio": 0.5}
    running = {**rollout, "state": {**state, "phase": "running"}}
    good = {**DOCUMENT, "ratio": 0.5, "rollout": running}
    first = await write_document(store, "web", good, over=0)
    changed = {**good, "update_rate": 9}
    second, _ = await write_unconfirmed(store, "web", changed, over=first, within_s=60)
    now = {**state, "phase": phase, "ratio": 0.0, "step": 0}
    moved = {**changed, "ratio": 0.0, "rollout": {**rollout, "state": now}}
    await write_document(
        *(store, "web", moved), over=second, also=await carried_over(store, "web")
    )
    await take_back(store, "web", (await read_pending(store, "web")).check("web"))
    found = json.loads((await read_document(store, "web"))[0])
    assert "update_rate" not in found
    if phase == "aborted":
        assert (found["ratio"], found["rollout"]["state"]["phase"]) == (0.0, phase)
    else:
        assert found == good
