"""The words of etcd's JSON gateway, as real etcds (3.4.23, 3.5.16) were heard to say them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import Entry, UnexpectedResponse
from kv_trio.etcd.wire import (
    Event,
    Header,
    dump,
    end_of,
    range_of,
    read_error,
    read_lease,
    read_range,
    read_token,
    read_txn,
    read_watch_message,
    right_for,
)

HEADER = b'"header":{"cluster_id":"2037","member_id":"1319","revision":"2286","raft_term":"2"}'
KV = b'{"key":"YS9i","create_revision":"2280","mod_revision":"2286","version":"1"'
ENTRY = Entry(b"a/b", b"v1", 0, 2280, 2286)
AT = Header("2037", 2286)


def test_an_absent_key_is_a_response_without_entries() -> None:
    found = read_range("u", b"{" + HEADER + b"}")

    assert (found.header, found.entries, found.count) == (AT, (), 0)


def test_what_is_empty_is_left_out() -> None:
    full = KV + b',"value":"djE=","lease":"7668682420405518591"}'
    body = b"{" + HEADER + b',"kvs":[' + KV + b"}," + full + b'],"count":"2"}'
    empty, held = read_range("u", body).entries

    assert (empty.value, empty.session) == (b"", None)
    assert (held.value, held.session) == (b"v1", "7668682420405518591")


def test_a_transaction_that_failed_has_no_succeeded() -> None:
    part = b'{"response_range":{"header":{"revision":"2289"},"kvs":[' + KV + b"}]}}"
    failed = read_txn("u", b"{" + HEADER + b',"responses":[' + part + b"]}")
    done = read_txn(
        "u", b"{" + HEADER + b',"succeeded":true,"responses":[{"response_put":{}}]}'
    )

    assert (failed.succeeded, done.succeeded) == (False, True)
    assert [entry.key for entry in failed.ranges[0].entries] == [b"a/b"]
    assert done.ranges == ()


def message(rest: bytes) -> bytes:
    return b'{"result":{' + HEADER + rest + b"}}"


@pytest.mark.parametrize(
    ("line", "created", "is_end", "reason"),
    [
        (message(b',"created":true'), True, False, ""),
        (message(b',"watch_id":"-1"'), False, False, ""),
        (
            message(b',"canceled":true,"compact_revision":"5"'),
            *(False, True, "what it waited for is compacted up to revision 5"),
        ),
        (
            message(
                b',"created":true,"canceled":true,"cancel_reason":"rpc error: code ='
                b' Unauthenticated desc = etcdserver: invalid auth token"'
            ),
            *(True, True),
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
        ),
        (
            b'{"error":{"grpc_code":14,"http_code":503,"message":"no\\u001b[2J leader"}}',
            *(False, True, "no [2J leader"),
        ),
    ],
    ids=["created", "progress", "compacted", "no token", "error of a stream"],
)
def test_a_line_of_a_watch(
    line: bytes, created: bool, is_end: bool, reason: str
) -> None:
    found = read_watch_message("u", line)

    assert (found.created, found.is_end, found.reason) == (created, is_end, reason)


def test_events_are_puts_unless_they_say_that_they_delete() -> None:
    put = b'{"kv":' + KV + b',"value":"djE="}}'
    gone = b'{"type":"DELETE","kv":{"key":"YS9i","mod_revision":"2293"}}'
    found = read_watch_message("u", message(b',"events":[' + put + b"," + gone + b"]"))

    assert found.events == (
        Event(b"a/b", 2286, ENTRY),
        Event(b"a/b", 2293, None),
    )


def test_a_lease_that_has_ended_has_no_time_to_live() -> None:
    assert read_lease("u", message(b',"ID":"123"')) == ("123", 0)
    assert read_lease("u", message(b',"ID":"123","TTL":"3"')) == ("123", 3)
    granted = b"{" + HEADER + b',"ID":"9","TTL":"10"}'
    assert read_lease("u", granted) == ("9", 10)
    assert read_token("u", b"{" + HEADER + b',"token":"CfC.18"}') == "CfC.18"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"error":"etcdserver: user name is empty","message":"x","code":3}',
            ("etcdserver: user name is empty", 3),
        ),
        (
            b'{"code":5, "message":"etcdserver: requested lease not found"}',
            ("etcdserver: requested lease not found", 5),
        ),
        (b"404 page not found\n", ("404 page not found", -1)),
        (b"<html>\x1b[2J</html>", ("<html> [2J</html>", -1)),
        (b'{"error":{"message":7}}', ('{"error":{"message":7}}', -1)),
        (b"[1]", ("[1]", -1)),
    ],
)
def test_the_reason_of_a_refusal(body: bytes, error: tuple[str, int]) -> None:
    assert read_error(body) == error


ODD = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"<html>nginx</html>",
            b'"127.0.0.1:8300"',
            b"{}",
            b'{"header":{}}',
            b'{"header":{"revision":7}}',
            b'{"header":{"revision":"-1"}}',
            b'{"header":{"revision":"99999999999999999999"}}',
            b'{"header":{"revision":"\xd9\xa1"}}',
            b"{" + HEADER + b',"kvs":{}}',
            b"{" + HEADER + b',"kvs":[{"key":"?"}]}',
            b"{" + HEADER + b',"succeeded":"true"}',
            message(b',"events":[{"kv":7}]'),
            b"[" * 50_000,
        ]
    ),
)


@given(ODD)
def test_whatever_comes_is_a_value_or_our_error(body: bytes) -> None:
    for read in (read_range, read_txn, read_watch_message, read_lease, read_token):
        with contextlib.suppress(UnexpectedResponse):
            read("u", body)
    read_error(body)


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_the_end_of_a_prefix_is_above_its_keys_and_nothing_else(
    prefix: bytes, key: bytes
) -> None:
    end = end_of(prefix)
    if end == b"\0":
        assert prefix.strip(b"\xff") == b"", "for etcd: no end"
        return
    assert (prefix <= key < end) == key.startswith(prefix)


@pytest.mark.parametrize(
    ("asked", "right"),
    [
        (range_of(b"canary/", is_prefix=True), "read canary/*"),
        (range_of(b"", is_prefix=True), "read *"),
        ({"create_request": range_of(b"a", is_prefix=False)}, "read a"),
        (
            {"success": [{"request_range": range_of(b"a", is_prefix=False)}]},
            "read a",
        ),
        (
            {"success": [{"request_put": range_of(b"a", is_prefix=False)}]},
            "write a",
        ),
    ],
)
def test_a_right_that_is_missing_is_named(asked: dict[str, object], right: str) -> None:
    assert right_for(asked) == right
    assert dump(asked).startswith(b"{")
