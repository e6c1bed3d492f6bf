from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from http_trio import Answer
from kv_trio.consul.encode import describe, dump_json, write_entry
from kv_trio.consul.parameters import Read
from kv_trio.state.acl import EVERYTHING
from kv_trio.state.entry import Entry
from kv_trio.state.operations import Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import Draft
from kv_trio.watch.response_cache import Answers

NUMBER = st.integers(0, 2**64 - 1)
ENTRY = st.builds(
    *(Entry, st.binary(), st.binary(), NUMBER, NUMBER, NUMBER, NUMBER),
    session=st.none() | st.uuids().map(str),
)


@given(ENTRY)
def test_the_quick_way_to_write_an_entry_is_the_long_one(entry: Entry) -> None:
    assert write_entry(entry) == dump_json(describe(entry))


def test_an_answer_is_kept_while_it_holds_and_no_longer() -> None:
    store, now = Store(), [1000.0]
    answers, read = Answers(store, clock=lambda: now[0]), Read(b"k")

    def find() -> Answer:
        return answers.find(read, EVERYTHING)

    absent = find()
    assert find() is absent
    draft = Draft(store)
    draft.apply(Put(b"k", b"1"), 0.0)
    assert find() is absent
    store.publish(draft, 0.0)
    present = find()
    assert (absent.status, present.status) == (404, 200)
    assert find() is present
    now[0] += 1.0  # its Date is over
    assert find() is not present
