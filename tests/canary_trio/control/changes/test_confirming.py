"""A change that has to be confirmed: each step takes both keys along, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.control.changes.confirming import (
    AUTHOR,
    confirm,
    take_back,
    write_unconfirmed,
)
from canary_trio.control.changes.documents import read_history, write_document
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.waiting import read_pending
from canary_trio.errors import CannotConfirm, NothingPending, WrittenMeanwhile
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.model_store import ModelStore
from tests.canary_trio.support.stored_proxy import DOCUMENT

KEY = "canary/web/pending"
NOTE = Note("ann@host", "more")


def at(ratio: float) -> dict[str, Any]:
    return DOCUMENT | {"ratio": ratio}


async def unconfirmed(store: Any, ratio: float, over: int) -> int:
    revision, change = await write_unconfirmed(
        store, "web", at(ratio), over=over, within_s=60, note=NOTE
    )
    assert change is not None
    assert change.index == revision
    return revision


async def ratio_of(store: Any) -> float:
    text, _ = await read_document(store, "web")
    return float(json.loads(text)["ratio"])


async def test_on_a_real_store_both_keys_have_one_index() -> None:
    async with in_memory_store() as store:
        first = await write_document(store, "web", at(0), over=0)
        second = await unconfirmed(store, 0.5, first)
        found = await read_pending(store, "web")
        assert found.index == found.revision == second
        assert found.change is not None
        assert found.change.revision == first
        await take_back(store, "web", found.change)
        assert await ratio_of(store) == 0
        history = await read_history(store, "web")
        newest = history.changes[0]
        assert (newest.author, newest.copy_of, newest.over) == (AUTHOR, first, second)
        assert f"revision {second} by ann@host was not confirmed" in newest.message
        assert (await store.get(KEY)).entry is None


async def test_a_confirmed_one_stays() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.5, first)
    change = await confirm(store, "web")
    assert (change.index, change.revision) == (second, first)
    await take_back(store, "web", change)  # by whoever comes late
    assert await ratio_of(store) == 0.5
    with pytest.raises(NothingPending, match="no change waits"):
        await confirm(store, "web")


async def test_the_first_good_document_stays_what_it_goes_back_to() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.1, first)
    await unconfirmed(store, 0.2, second)
    change = (await read_pending(store, "web")).change
    assert change is not None
    assert change.revision == first
    await take_back(store, "web", change)
    assert await ratio_of(store) == 0


async def test_who_goes_back_by_himself_waits_for_nothing() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.1, first)
    revision, change = await write_unconfirmed(
        store, "web", at(0), over=second, within_s=60
    )
    assert revision > second
    assert change is None
    assert (await read_pending(store, "web")).index == 0


async def test_the_same_document_again_goes_on_waiting() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.1, first)
    revision, change = await write_unconfirmed(
        store, "web", at(0.1), over=second, within_s=600
    )
    assert revision == second
    assert change is not None
    assert change.index == second
    assert change.period_s == 60


async def test_any_other_write_ends_what_waits() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.1, first)
    change = (await read_pending(store, "web")).change
    assert change is not None
    third = await write_document(store, "web", at(0.3), over=second)
    assert (await store.get(KEY)).entry is None
    await take_back(store, "web", change)
    assert (await read_document(store, "web"))[1] == third


async def test_a_write_past_us_ends_what_waits() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    second = await unconfirmed(store, 0.1, first)
    change = (await read_pending(store, "web")).change
    assert change is not None
    await store.put("canary/web/config", b'{"by": "hand"}')
    with pytest.raises(NothingPending, match=f"revision {second} is no longer waited"):
        await confirm(store, "web")
    await take_back(store, "web", change)
    assert (await store.get(KEY)).entry is None
    assert (await read_document(store, "web"))[0] == b'{"by": "hand"}'


async def test_what_is_no_pending_change_is_told_and_removed() -> None:
    store = ModelStore()
    first = await write_document(store, "web", at(0), over=0)
    await store.put(KEY, b"odd")
    with pytest.raises(NothingPending, match="holds something else"):
        await confirm(store, "web")
    await write_document(store, "web", at(0.1), over=first)
    assert (await store.get(KEY)).entry is None


async def test_what_cannot_be_taken_back_is_refused() -> None:
    store = ModelStore()
    with pytest.raises(CannotConfirm, match="no document yet"):
        await write_unconfirmed(store, "web", at(0), over=0, within_s=60)
    first = await write_document(store, "web", at(0), over=0)
    with pytest.raises(CannotConfirm, match="another store"):
        await write_unconfirmed(
            *(store, "web", at(0) | {"config_server": "http://b:8500"}),
            over=first,
            within_s=60,
        )
    with pytest.raises(WrittenMeanwhile):
        await write_unconfirmed(store, "web", at(1), over=first + 99, within_s=60)
    await store.put("canary/web/config", b"{}")
    _, by_hand = await read_document(store, "web")
    with pytest.raises(CannotConfirm, match="no valid document"):
        await write_unconfirmed(store, "web", at(1), over=by_hand, within_s=60)


async def test_two_in_one_moment_are_two() -> None:
    async with in_memory_store() as store:
        over = await write_document(store, "web", at(0), over=0)
        for ratio in (0.1, 0.2):
            over, _ = await write_unconfirmed(
                *(store, "web", at(ratio)), over=over, within_s=60, now=lambda: 5.0
            )
            assert (await read_pending(store, "web")).check("web").index == over
