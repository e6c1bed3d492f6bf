"""Entries in Consul's JSON: the quick way and the long one are the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kv_trio.consul.encode import describe, dump_json, write_entry
from kv_trio.state.entry import Entry

NUMBER = st.integers(0, 2**64 - 1)
ENTRY = st.builds(
    Entry,
    st.binary(),
    st.binary(),
    NUMBER,
    NUMBER,
    NUMBER,
    NUMBER,
    session=st.none() | st.uuids().map(str),
)


@given(ENTRY)
def test_the_quick_way_to_write_an_entry_is_the_long_one(entry: Entry) -> None:
    assert write_entry(entry) == dump_json(describe(entry))
