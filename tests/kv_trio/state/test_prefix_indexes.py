"""The index of a prefix, beside a look at every key, and how seldom that is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.state import prefix_indexes, write_batch
from kv_trio.state.operations import Delete, Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Operation
from tests.kv_trio.support.states import OPERATIONS, do

PREFIXES = [b"", b"a", b"a/", b"a/1", b"b", b"c", b"b" * 5000]


@given(
    st.lists(
        st.tuples(
            st.lists(OPERATIONS, min_size=1, max_size=6),
            st.sets(st.sampled_from(PREFIXES)),
        ),
        max_size=12,
    ),
    st.sampled_from([1, 3, 8192]),
    st.sampled_from([1, 3, 1024]),
    st.sampled_from([0, 1, 10_000]),
)
def test_it_is_what_a_look_at_each_key_gives(
    steps: list[tuple[list[Operation], set[bytes]]],
    changes: int,
    prefixes: int,
    tombstones: int,
) -> None:
    store = Store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_indexes, "_CHANGES", changes)
        patch.setattr(prefix_indexes, "_PREFIXES", prefixes)
        patch.setattr(write_batch, "TOMBSTONES", tombstones)
        for operations, asked in steps:
            do(store, *operations)
            for prefix in asked:
                expected = max(store._look_under(prefix), store.floor)
                assert store.index_under(prefix) == expected
                assert store.count_under(prefix) == len(store.under(prefix))
                assert [one.key for one in store.under(prefix)] == [
                    key for key in sorted(store._entries) if key.startswith(prefix)
                ]


def test_who_asks_again_and_again_costs_one_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store()
    do(store, *(Put(b"p/%d" % n, b"") for n in range(2000)))
    looks: list[bytes] = []
    look = Store._look_under

    def counted(store: Store, prefix: bytes) -> int:
        looks.append(prefix)
        return look(store, prefix)

    monkeypatch.setattr(Store, "_look_under", counted)
    for n in range(300):
        do(store, Put(b"p/%d" % n, b"new"), Put(b"other/%d" % n, b""))
        assert store.index_under(b"p/") == store.index - 1
    assert looks == [b"p/"]
    do(store, Delete(b"p/", recurse=True))
    assert store.index_under(b"p/") == store.index
    assert looks == [b"p/"]
