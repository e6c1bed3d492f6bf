"""Fuzz targets of the store: the bodies of its requests, and the responses of others.

Whatever a body is, it is refused, or what becomes of it can be shown, written and read
again. Whatever a store responds, a client reads it or has an error of ours.
"""

from __future__ import annotations

import contextlib
import json

from kv_trio.api.txn import render_outcome
from kv_trio.consul import decode
from kv_trio.consul.encode import bad_query, dump_json
from kv_trio.consul.session import describe_session, parse_session
from kv_trio.consul.txn import parse_transaction
from kv_trio.errors import BadQuery, UnexpectedResponse
from kv_trio.state.acl import EVERYTHING
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession
from kv_trio.state.write_batch import Operation, WriteBatch
from kv_trio.storage.engine import StorageEngine

_ID = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"
_VALUE_LIMIT = 1000
_ENTRY = b"""[{"LockIndex": 0, "Key": "a", "Flags": 0, "Value": "MQ==", "CreateIndex": 1,
    "ModifyIndex": 1, "Time": "2024-01-01T00:00:00Z", "Session": "s"}]"""
_SESSION = b"""[{"ID": "s", "Name": "", "TTL": "9h", "LockDelay": 15000000000,
    "Behavior": "release", "CreateIndex": 1}]"""


def session_body(data: bytes) -> None:
    """A session is refused, or can be shown, written and read again."""
    try:
        session = parse_session(data, _ID, node="n")
    except BadQuery as exc:
        assert 400 <= bad_query(exc).status <= 500
        return
    json.loads(dump_json(describe_session(session, node="n")))
    _keep(CreateSession(session))


def transaction_body(data: bytes) -> None:
    """A transaction is refused, or can be run, and its changes are read again."""
    try:
        transaction = parse_transaction(data, EVERYTHING, value_limit=_VALUE_LIMIT)
    except BadQuery as exc:
        assert bad_query(exc).status in (400, 413)
        return
    write_batch = _keep(CreateSession(Session("s")), transaction)
    outcome = transaction.apply_to(write_batch, 0.0)
    json.loads(render_outcome(outcome, writes=transaction.writes).body)


def store_response(data: bytes) -> None:
    """A response is read, or is an `UnexpectedResponse`."""
    for read in (
        decode.read_entries,
        decode.read_history,
        decode.read_transaction_result,
        decode.read_session_id,
        decode.read_sessions,
    ):
        with contextlib.suppress(UnexpectedResponse):
            read("http://kv", data)
    with contextlib.suppress(UnexpectedResponse):
        decode.read_index("http://kv", data.decode("latin-1"))


SEEDS: dict[str, tuple[bytes, ...]] = {
    "session_body": (
        b'{"Name": "a\\ud800", "TTL": "15s", "LockDelay": "-0s", "Behavior": "delete"}',
        b'{"lockdelay": -0.0, "Checks": ["serfHealth"], "ServiceChecks": [{}]}',
        b'{"LockDelay": 15000000000, "NodeChecks": null, "Node": "n"}',
        b'{"LockDelay": 1e999, "TTL": "%bh"}' % (b"9" * 400),
        b'{"LockDelay": %b}' % (b"9" * 5000),
        b"[" * 3000,
    ),
    "transaction_body": (
        b'[{"KV": {"Verb": "set", "Key": "a\\ud800", "Value": "MQ=="}}]',
        b'[{"KV": {"Verb": "get-tree", "Key": "", "Flags": 7}}]',
        b'[{"KV": {"Verb": "lock", "Key": "a", "Session": "s"}}]',
        b'[{"KV": {"Verb": "set", "Key": "a"}}, {"KV": {"Verb": "get", "Key": "a"}}]',
        b'[{"KV": {"Verb": "cas", "Key": "\\u0000", "Index": 18446744073709551615}}]',
        b'[{"KV": {"Verb": "delete-tree", "Key": "", "Flags": -0.0}}]',
        b'[{"KV": {"Flags": %b}}]' % (b"9" * 5000),
    ),
    "store_response": (
        _ENTRY,
        b'[{"Key": null, "Value": 5, "Flags": 0, "CreateIndex": 1, "ModifyIndex": 1}]',
        b'{"Results": [{"KV": null}], "Errors": [{"OpIndex": 0, "What": "x"}]}',
        _SESSION,
        b'{"ID": "adf4238a-882b-9ddc-4a9d-5b6758e4159e"}',
        b"9" * 5000,
        b"\xb2",
        b"[" * 100_000,
    ),
}


def _keep(*operations: Operation) -> WriteBatch:
    """Write operations to a store, and check that it is read again as it was."""
    engine = StorageEngine(None)
    store = engine.load()
    write_batch = WriteBatch(store)
    for operation in operations:
        write_batch.apply(operation, 0.0)
    engine.commit(write_batch)
    store.publish(write_batch, 0.0)
    kept = engine.load()
    assert kept.under(b"") == store.under(b"")
    assert kept.sessions == store.sessions
    assert not engine.check()
    engine.close()
    return WriteBatch(store)
