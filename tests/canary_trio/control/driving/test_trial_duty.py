"""What is tried and judged goes back where it is worse, and only then; history says why."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from canary_trio.config.document import build
from canary_trio.control.changes.confirming import confirm, write_trial
from canary_trio.control.changes.documents import (
    read_history,
    read_revision,
    write_document,
)
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.waiting import read_pending
from canary_trio.control.driving.duty import KeptState, Turn
from canary_trio.control.driving.trial_duty import JUDGE, TrialDuty
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.control.store_keys import driver_key, driver_state_key, evidence_key
from canary_trio.proxy.changing.trial import SIDES, counting_rule
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.arm_tally import Counting
from canary_trio.telemetry.events import EventKind
from http_trio.testing.peers import connected, fake_upstream
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.model_store import ModelStore
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

OTHER = {**DOCUMENT, "ratio": 0.5}


@attrs.define
class Trying:
    """A store in which something is tried, and what a proxy of it counts."""

    store: ModelStore
    change: PendingChange
    counting: Counting
    session: str
    drawn: random.Random = attrs.field(factory=lambda: random.Random(7))

    @classmethod
    async def begin(cls) -> Trying:
        store = ModelStore()
        await write_document(store, "web", DOCUMENT, over=0)
        change = await write_trial(
            *(store, "web", OTHER, ()),
            within_s=3600,
            share=1000,
            judged=True,
            note=Note("ann", "half"),
        )
        rule = counting_rule(build(DOCUMENT), change.index)
        return cls(store, change, Counting(rule, "epoch"), store.new_session())

    async def count(self, tried: float, present: float, number: int = 200) -> None:
        """Count requests of both documents, with so many failures of each."""
        for side, part in ((SIDES.arm, tried), (SIDES.against, present)):
            tally = self.counting.tallies[side]
            for _ in range(number):
                if self.drawn.random() < part:
                    tally.add(None, failed=True)
                else:
                    tally.answered(0.01 * (1 + self.drawn.random()))
        told = self.counting.evidence().dump()
        key = evidence_key("web", "p", "trial")
        await self.store.put(key, told, acquire=self.session)

    async def drive(self, nursery: trio.Nursery) -> Runtime:
        """Drive as another proxy; give its runtime."""
        store, runtime = self.store, Runtime("web")
        session = store.new_session()
        await store.put(driver_key("web"), b"{}", acquire=session)
        kept = (await store.get(driver_state_key("web"))).entry
        state = KeptState.load(None if kept is None else kept.value)
        unconfirmed = Unconfirmed("web", lambda: None)
        nursery.start_soon(unconfirmed.follow, store)
        await trio.testing.wait_all_tasks_blocked()
        duty = TrialDuty(unconfirmed, runtime)
        assert duty.is_due
        nursery.start_soon(duty.run, Turn(store, "web", "p", session, state))
        return runtime

    async def said(self) -> Any:
        entry = (await self.store.get(driver_state_key("web"))).entry
        return None if entry is None else KeptState.load(entry.value).state.get("trial")

    async def waits(self) -> bool:
        return (await read_pending(self.store, "web")).change is not None


async def test_one_that_is_worse_goes_back_and_history_has_the_verdict(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trying = await Trying.begin()
    store, change = trying.store, trying.change
    async with trio.open_nursery() as nursery:
        runtime = await trying.drive(nursery)
        for _ in range(5):
            await trying.count(0.4, 0.01)
            await trio.sleep(2)
        assert not await trying.waits()
        nursery.cancel_scope.cancel()
    assert (await read_document(store, "web"))[1] == change.revision
    log = await read_history(store, "web")
    noted = log.find(change.index)
    assert noted is not None
    assert (noted.author, noted.over, noted.tried) == (JUDGE, change.revision, True)
    assert "by ann was tried by 10% of users" in noted.message
    assert "regression: errors, after" in noted.message
    assert "ratio" in noted.summary[0]
    assert json.loads(await read_revision(store, "web", change.index)) == OTHER
    change_, before = log.to_undo()
    assert change_ is not None
    assert (change_.revision, before) == (change.revision, None)
    later = await write_document(store, "web", OTHER, over=change.revision)
    before = (await read_history(store, "web")).before(later)
    assert before is not None
    assert before.revision == change.revision
    (event,) = runtime.observer.events.after(0)
    assert event.kind is EventKind.ROLLOUT
    assert "is worse than" in event.message


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5])
async def test_one_that_is_as_good_goes_on(
    part: float, autojump_clock: trio.testing.MockClock
) -> None:
    trying = await Trying.begin()
    async with trio.open_nursery() as nursery:
        await trying.drive(nursery)
        for _ in range(20):
            await trying.count(part, part)
            await trio.sleep(2)
        assert await trying.waits()
        said = await trying.said()
        assert said["revision"] == trying.change.index
        assert "of the present document (e-value" in said["verdict"]
        await confirm(trying.store, "web")
        await trio.sleep(2)
        assert await trying.said() is None
        nursery.cancel_scope.cancel()


async def test_another_driver_goes_on_where_the_first_one_was(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Neither half is enough alone, and both together are."""

    async def ends(halves: int) -> bool:
        trying = await Trying.begin()
        for _ in range(halves):
            async with trio.open_nursery() as nursery:
                await trying.drive(nursery)
                await trio.sleep(1)
                await trying.count(0.07, 0.01)
                await trio.sleep(3)
                nursery.cancel_scope.cancel()
        return not await trying.waits()

    assert not await ends(1)
    assert await ends(2)


async def test_proxies_count_tell_and_go_back_by_themselves() -> None:
    async def fails(request: Any) -> None:
        head = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        await request.stream.send_all(head)

    async def works(request: Any) -> None:
        await request.response(b"yes")

    async with (
        in_memory_store() as store,
        fake_upstream(works) as good,
        fake_upstream(fails) as bad,
        proxy_on(store, proxy_id="a") as a,
    ):
        first = json.loads(json.dumps(DOCUMENT))
        first["arms"]["stable"]["servers"] = [f"http://127.0.0.1:{good.port}"]
        worse = json.loads(json.dumps(first))
        worse["arms"]["stable"]["servers"] = [f"http://127.0.0.1:{bad.port}"]
        _, over = await read_document(store, "web")
        over = await write_document(store, "web", first, over=over)
        given: dict[str, Any] = {"input": json.dumps(worse)}
        words = ("apply", "web", "-", "--to", "50%", "--judge", "--wait", "20")
        await canary(store, *words, **given)
        shown: Callable[[], Any] = a.status
        assert a.revision == over
        with trio.fail_after(30):
            async with connected(a) as client:  # type: ignore[arg-type]
                while shown()["trial"] is not None:
                    await client.ask()
        ran = await canary(store, "history", "web")
        assert "only tried: " in ran.stdout
        assert "canary (judge)" in ran.stdout
        assert a.revision == over
        ran = await canary(store, "apply", "web", "-", "--judge", status=2, **given)
        assert "--judge needs --to SHARE%" in ran.stderr
        one = ("apply", "web", "-", "--judge", "--to", "1")
        ran = await canary(store, *one, status=2, **given)
        assert "--judge goes with a share of the users" in " ".join(ran.stderr.split())
