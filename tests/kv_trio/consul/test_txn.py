"""Transactions in Consul's JSON: what is none, and what is read as it was written."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.api.txn import render_outcome
from kv_trio.consul.txn import OPERATION_LIMIT, parse_transaction
from kv_trio.consul.txn_operation import dump_operation
from kv_trio.errors import BadQuery
from kv_trio.state.acl import EVERYTHING
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession
from kv_trio.state.txn_operation import TxnOperation
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.engine import StorageEngine
from tests.kv_trio.support import odd_json

LIMIT = 1000
"""Bytes of a value."""


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "EOF"),
        (b"[{", 400, "unexpected EOF"),
        (b"{}", 400, "cannot unmarshal object into Go value of type api.TxnOps"),
        (b"7", 400, "cannot unmarshal number"),
        (b'[{"Foo":{}}]', 400, 'json: unknown field "Foo"'),
        (b'[{"KV":{"Foo":1}}]', 400, 'json: unknown field "Foo"'),
        (b'[{"KV":{"Key":1}}]', 400, "a string"),
        (b'[{"KV":{"Flags":-1}}]', 400, "a uint64"),
        (b'[{"KV":{"Index":true}}]', 400, "a uint64"),
        (b'[{"KV":[]}]', 400, "cannot unmarshal list"),
        (b'[{"KV":{"Value":"!!!"}}]', 400, "illegal base64 data at input byte 0"),
        (b"[" * 2000, 400, "Failed to parse body: "),
        (b"[" * 100_000, 413, "Transaction contains too many operations"),
        (b"[" + b"1," * 250_000 + b"1]", 413, "contains too many operations"),
        (b"[" + b'"",' * 5000 + b'""]', 413, "contains too many operations"),
        (b'[{"KV":{"Key":"\\ud800"}}]', 400, "half a character"),
        (b'[{"KV":{"Session":"\\ud800"}}]', 400, "half a character"),
        (b'[{"KV":{"Verb":"\\ud800"}}]', 400, "half a character"),
        (b'[{"KV":{"Flags":-0.0}}]', 400, "a uint64"),
        (b'[{"KV":{"Index":1e999}}]', 400, "too large"),
        (b'[{"KV":{"Flags":%b}}]' % (b"9" * 5000), 400, "too large"),
        (b'[{"KV":{"Flags":18446744073709551616}}]', 400, "a uint64"),
        (b'[{"KV":{"Key":%b}}]' % (b"[" * 500 + b"]" * 500), 400, "a string"),
        (json.dumps([{}] * (OPERATION_LIMIT + 1)).encode(), 413, "(129 > 128)"),
        (
            json.dumps(
                [{"KV": {"Value": base64.b64encode(b"x" * (LIMIT + 1)).decode()}}]
            ).encode(),
            413,
            "is too large (1001 > 1000 bytes)",
        ),
    ],
)
def test_what_is_no_transaction(body: bytes, status: int, text: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_transaction(body, EVERYTHING, value_limit=LIMIT)
    assert caught.value.status == status
    assert text in str(caught.value)


def test_names_of_fields_have_no_case() -> None:
    body = b'[{"kv":{"verb":"set","KEY":"a","value":"MQ==","Session":null}}]'
    transaction = parse_transaction(body, EVERYTHING, value_limit=LIMIT)
    assert transaction.operations == (TxnOperation("set", b"a", b"1"),)


OPERATION = st.builds(
    TxnOperation,
    st.sampled_from(["set", "cas", "get", "delete", "check-index", "frob"]),
    st.text(max_size=5),
    st.binary(max_size=20),
    flags=st.integers(0, 2**64 - 1),
    index=st.integers(0, 2**64 - 1),
    session=st.text(max_size=5),
)


@given(st.lists(OPERATION, max_size=OPERATION_LIMIT))
def test_what_the_client_writes_is_what_the_server_reads(
    operations: list[TxnOperation],
) -> None:
    body = json.dumps([dump_operation(operation) for operation in operations]).encode()
    transaction = parse_transaction(body, EVERYTHING, value_limit=LIMIT)
    assert list(transaction.operations) == operations


@given(
    odd_json.texts(["KV", "Verb", "Key", "Value", "Flags", "Index", "Session"]).map(
        lambda text: b'[{"KV":%b}]' % text.encode()
    )
    | st.binary(max_size=200)
)
def test_whatever_is_accepted_can_be_shown_and_read_again(body: bytes) -> None:
    try:
        transaction = parse_transaction(body, EVERYTHING, value_limit=LIMIT)
    except BadQuery as exc:
        assert exc.status in (400, 413)  # it may not be raised
        return
    engine = StorageEngine(None)
    store = engine.load()
    write_batch = WriteBatch(store)
    write_batch.apply(CreateSession(Session("s")), 0.0)
    outcome = write_batch.apply(transaction, 0.0)
    json.loads(render_outcome(outcome, writes=transaction.writes).body)
    engine.commit(write_batch)
    store.publish(write_batch, 0.0)
    assert engine.load().under(b"") == store.under(b"")
    assert not engine.check()
    engine.close()


def test_a_key_may_have_as_many_marks_as_it_likes() -> None:
    key = ',[{\\"' * 5000
    body = json.dumps([{"KV": {"Verb": "get", "Key": key}}]).encode()
    (operation,) = parse_transaction(body, EVERYTHING, value_limit=LIMIT).operations
    assert operation.key == key.encode()
