"""Responses of a store: whatever it sends is read, or is an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from kv_trio.consul import decode
from kv_trio.errors import UnexpectedResponse
from tests.kv_trio.support import odd_json

READERS: list[Callable[[str, bytes], object]] = [
    decode.read_entries,
    decode.read_history,
    decode.read_transaction_result,
    decode.read_session_id,
    decode.read_sessions,
]
ENTRY = {
    "Key": "a",
    "Value": "MQ==",
    "Flags": 0,
    "LockIndex": 0,
    "CreateIndex": 1,
    "ModifyIndex": 1,
    "Time": "2024-01-01T00:00:00Z",
}


@pytest.mark.parametrize("reader", READERS)
@given(odd_json.texts([*ENTRY, "ID", "Results", "Errors", "KV"]))
def test_odd_json_is_read_or_unexpected(
    reader: Callable[[str, bytes], object], text: str
) -> None:
    try:
        reader("http://kv", text.encode())
    except UnexpectedResponse as exc:
        assert "http://kv" in str(exc)  # it may not be raised


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Key", None), ("Key", 5), ("Key", "\ud800"), ("Value", 5), ("Value", "?")),
        *(("Flags", "0"), ("Flags", -0.0), ("ModifyIndex", None), ("Session", 5)),
        *(("CreateIndex", True), ("LockIndex", []), ("Flags", 10**4000)),
    ],
    ids=range(12),
)
def test_an_entry_of_odd_types_is_unexpected(name: str, value: Any) -> None:
    body = json.dumps([ENTRY | {name: value}]).encode()

    with pytest.raises(UnexpectedResponse, match="http://kv: the response is no"):
        decode.read_entries("http://kv", body)


@pytest.mark.parametrize("time", [5, "", "soon", None])
def test_an_odd_time_is_unexpected(time: Any) -> None:
    body = json.dumps([ENTRY | {"Time": time}]).encode()

    with pytest.raises(UnexpectedResponse):
        decode.read_history("http://kv", body)


@pytest.mark.parametrize("text", ["", "\xb2", "\u0663", "-1", "1.0", "9" * 5000])
def test_an_odd_index_is_unexpected(text: str) -> None:
    with pytest.raises(UnexpectedResponse, match="expected a number"):
        decode.read_index("http://kv", text)
