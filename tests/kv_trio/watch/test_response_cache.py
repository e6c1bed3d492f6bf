"""The response cache: a response is rendered once, and kept while it holds."""

from __future__ import annotations

from http_trio import Response
from kv_trio.consul.parameters import Read
from kv_trio.state.acl import EVERYTHING
from kv_trio.state.operations import Put
from kv_trio.state.store import Store
from kv_trio.state.write_batch import WriteBatch
from kv_trio.watch.response_cache import ResponseCache


def test_a_response_is_kept_while_it_holds_and_no_longer() -> None:
    store, now = Store(), [1000.0]
    responses, read = (
        ResponseCache(store, lambda *_: False, clock=lambda: now[0]),
        Read(b"k"),
    )

    def find() -> Response:
        found = responses.find(read, EVERYTHING)
        assert found is not None
        return found

    absent = find()
    assert find() is absent
    write_batch = WriteBatch(store)
    write_batch.apply(Put(b"k", b"1"), 0.0)
    assert find() is absent
    store.publish(write_batch, 0.0)
    present = find()
    assert (absent.status, present.status) == (404, 200)
    assert find() is present
    now[0] += 1.0  # its Date is over
    assert find() is not present
