"""A line of the audit log says who wrote what, and no value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import StorageError, TxnOperation, TxnOperationFailed
from kv_trio.api.writing.audit_lines import (
    Audited,
    WrittenBy,
    lost_line,
    request_line,
    write_line,
)
from kv_trio.state.acl import EVERYTHING, NOTHING, Acl
from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, Delete, DestroySession, Put
from kv_trio.state.txn import Transaction
from kv_trio.state.txn_operation import TransactionResult

AT = 1795796400.1234
ANN = WrittenBy.of(Acl("ann"), "10.0.0.1")
DONE = Outcome(done=True, index=7)
SESSION = Session(id="5e55", name="web", ttl_s=10.0, deletes=True)
TXN = Transaction(
    (
        TxnOperation("cas", "a", b"secret", index=3),
        TxnOperation("get", "b"),
        TxnOperation("delete-tree", "c/"),
    ),
    NOTHING,
)


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        (Put(b"a", b"secret"), {"do": "put", "key": "a", "bytes": 6}),
        (
            Put(b"a", b"secret", cas=0),
            {"do": "put", "key": "a", "bytes": 6, "cas": 0},
        ),
        (
            Put(b"a", b"", acquire="5e55"),
            {"do": "put", "key": "a", "bytes": 0, "acquire": "5e55"},
        ),
        (Delete(b"a", cas=3), {"do": "delete", "key": "a", "cas": 3}),
        (Delete(b"a/", recurse=True), {"do": "delete-tree", "key": "a/"}),
        (
            CreateSession(SESSION),
            {"do": "session-create", "session": "5e55", "name": "web"},
        ),
        (DestroySession("5e55"), {"do": "session-destroy", "session": "5e55"}),
        (
            TXN,
            {
                "do": "txn",
                "operations": [
                    {"do": "cas", "key": "a", "bytes": 6, "cas": 3},
                    {"do": "delete-tree", "key": "c/"},
                ],
            },
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_asked_for(operation: Audited, asked: dict[str, object]) -> None:
    line = write_line(AT, ANN, operation, DONE)
    assert b"secret" not in line
    assert json.loads(line) == {
        "time": "2026-11-27T16:20:00.123Z",
        "token": "ann",
        "from": "10.0.0.1",
        **asked,
        "done": True,
        "index": 7,
    }


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(done=False, index=3), "its condition did not hold"),
        (Outcome(done=False, refused="invalid session"), "invalid session"),
        (StorageError("disk full"), "disk full"),
        (
            TransactionResult(False, failed=(TxnOperationFailed(1, "no such key"),)),
            "no such key",
        ),
    ],
    ids=["stale", "refused", "disk", "txn"],
)
def test_what_was_not_done_says_why(outcome: Outcome | StorageError, why: str) -> None:
    found = json.loads(write_line(AT, ANN, Put(b"a", b""), outcome))
    assert (found["done"], found["why"]) == (False, why)
    assert "index" not in found


def test_who_is_nobody_has_no_name() -> None:
    assert WrittenBy.of(EVERYTHING, "unix") == WrittenBy("", "unix")


def test_other_requests_and_what_is_missing() -> None:
    done = json.loads(request_line(AT, ANN, "PUT /v1/compact", ""))
    refused = json.loads(request_line(AT, ANN, "PUT /v1/kv/a", "Permission denied"))
    assert (done["do"], done["done"]) == ("PUT /v1/compact", True)
    assert (refused["done"], refused["why"]) == (False, "Permission denied")
    assert json.loads(lost_line(AT, 12)) == {"time": done["time"], "lost": 12}


@given(st.binary(max_size=2000), st.text(max_size=2000))
def test_whatever_a_client_sends_is_one_short_line(key: bytes, name: str) -> None:
    line = write_line(AT, WrittenBy(name[:20], "::1"), Put(key, b""), DONE)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.isascii()
    assert len(line) < 8000
    assert json.loads(line)["do"] == "put"
