"""A lock as a lease: it is left before another can have it, however the network is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import LockLost, Snapshot, StoreUnreachable, WriteResult
from kv_trio.client.lock import hold_lock
from kv_trio.client.poll_budget import POLL_BURST, POLLS_PER_S
from kv_trio.state.entry import Entry

TTL_S = 10.0
HELD = Entry(b"l", b"", 0, 1, 1, session="other")


@attrs.frozen
class Trip:
    """The seconds that a request takes to the store, and its response back."""

    there_s: float = 0.0
    back_s: float = 0.0


class FakeStore:
    """A store with one session and one lock, over a network that is slow or lost.

    Attributes:
        trips: of the session's creation, then of each renewal; then all are quick.
            An exception is raised at once.
        ends_at: when the session ends.
        held_by_others: whether somebody else has the lock.
        requests: how many there were for the lock.
    """

    def __init__(self, *trips: Trip | Exception, held_by_others: bool = False) -> None:
        self.trips = list(trips)
        self.ends_at = math.inf
        self.held_by_others = held_by_others
        self.requests = 0
        self.released = False

    async def create_session(self, name: str, ttl_s: float, *, deletes: bool) -> str:
        async with self._trip():
            self.ends_at = trio.current_time() + ttl_s
        return "s"

    async def renew_session(self, id_: str) -> bool:
        async with self._trip():
            if trio.current_time() >= self.ends_at:
                return False
            self.ends_at = trio.current_time() + TTL_S
        return True

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        await trio.lowlevel.checkpoint()
        if release:
            self.released = True
            return WriteResult(done=True, index=1)
        self.requests += 1
        return WriteResult(done=not self.held_by_others, index=1)

    async def get(self, key: str, *, index: int = 0) -> Snapshot:
        await trio.lowlevel.checkpoint()
        self.requests += 1
        return Snapshot(HELD if self.held_by_others else None, self.requests)

    async def destroy_session(self, id_: str) -> None:
        await trio.lowlevel.checkpoint()

    @contextlib.asynccontextmanager
    async def _trip(self):
        trip = self.trips.pop(0) if self.trips else Trip()
        if isinstance(trip, Exception):
            await trio.lowlevel.checkpoint()
            raise trip
        await trio.sleep(trip.there_s)
        yield
        await trio.sleep(trip.back_s)


def run(work: Callable[[], Awaitable[None]]) -> None:
    trio.run(work, clock=trio.testing.MockClock(autojump_threshold=0))


async def left_at(store: FakeStore, *, stay_s: float = 1000.0) -> float | None:
    """Be in the block; give when it was left, or None if it was never entered."""
    left: float | None = None
    with contextlib.suppress(LockLost, StoreUnreachable):
        async with hold_lock(store, "l", b"", ttl_s=TTL_S):
            try:
                await trio.sleep(stay_s)
            finally:
                left = trio.current_time()
    return left


LOST = Trip(math.inf, 0.0)
SECONDS = st.floats(0, 12) | st.just(0.0)
TRIPS = st.lists(
    st.builds(Trip, SECONDS, SECONDS)
    | st.sampled_from([LOST, Trip(0.0, math.inf), StoreUnreachable("gone")]),
    max_size=8,
)


@given(st.builds(Trip, SECONDS, SECONDS), TRIPS)
def test_the_block_is_left_before_the_session_can_end(
    creation: Trip, renewals: list[Trip | Exception]
) -> None:
    async def hold() -> None:
        store = FakeStore(creation, *renewals, LOST, *[LOST] * 50)
        left = await left_at(store)
        assert left is None or left < store.ends_at

    run(hold)


@pytest.mark.parametrize(
    ("creation", "left"),
    [
        (Trip(), 9.0),
        (Trip(0.0, 6.0), 9.0),
        (Trip(6.0, 0.0), 9.0),
        (Trip(0.0, 9.5), None),
    ],
    ids=["quick", "its response late", "its request late", "too late"],
)
async def test_a_session_is_as_old_as_its_creation_was_sent(
    autojump_clock: object, creation: Trip, left: float | None
) -> None:
    began = trio.current_time()
    found = await left_at(FakeStore(creation, *[LOST] * 50))
    if left is None:
        assert found is None
    else:
        assert found == pytest.approx(began + left)


async def test_a_lock_outlives_a_store_that_is_away_for_less_than_its_time(
    autojump_clock: object,
) -> None:
    gone = [StoreUnreachable("gone")] * 3
    store = FakeStore(Trip(), *gone, Trip(), LOST, Trip(), Trip(0.0, 3.0), *gone)
    began = trio.current_time()
    assert await left_at(store, stay_s=100.0) == began + 100.0
    assert store.released


async def test_why_a_lock_was_lost_is_said(autojump_clock: object) -> None:
    store = FakeStore(Trip(), *[StoreUnreachable("gone")] * 50)
    with pytest.raises(LockLost, match="could not be renewed in 9 s: gone"):
        async with hold_lock(store, "l", b"", ttl_s=TTL_S):
            await trio.sleep_forever()


async def test_a_store_that_never_waits_is_asked_at_a_rate(
    autojump_clock: object,
) -> None:
    store = FakeStore(held_by_others=True)
    with trio.move_on_after(100.0):
        await left_at(store)
    assert 500 < store.requests <= POLL_BURST + 100 * POLLS_PER_S


async def test_a_lock_that_is_delayed_is_asked_for_seldom(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FakeStore(held_by_others=True)

    async def free(key: str, *, index: int = 0) -> Snapshot:
        await trio.lowlevel.checkpoint()
        return Snapshot(None, 1)

    monkeypatch.setattr(store, "get", free)
    with trio.move_on_after(100.0):
        await left_at(store)
    assert 100 < store.requests < 1000
