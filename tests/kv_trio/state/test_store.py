"""The published state of a store: its entries, and indexes that never slide back."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession, DestroySession, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation
from tests.kv_trio.support.states import OPERATIONS, do


@given(st.lists(st.lists(OPERATIONS, min_size=1, max_size=4), max_size=12))
@example(
    [
        [CreateSession(Session("t")), Put(b"l", b"", acquire="t")],
        [CreateSession(Session("s")), DestroySession("t"), Put(b"l", b"", acquire="s")],
    ]
)
def test_a_batch_is_the_same_as_one_by_one(batches: list[list[Operation]]) -> None:
    together, apart = Store(), Store()
    highest = dict.fromkeys([b"", b"a", b"a/", b"b"], 0)
    for batch in batches:
        outcomes = do(together, *batch)
        assert outcomes == [do(apart, one)[0] for one in batch]
        assert together._entries == apart._entries
        assert together.index == apart.index
        for prefix, seen in highest.items():
            assert together.index_under(prefix) >= seen, "an index slid back"
            highest[prefix] = together.index_under(prefix)
            live = [e for e in together._entries.values() if e.key.startswith(prefix)]
            assert together.under(prefix) == sorted(live, key=lambda entry: entry.key)
