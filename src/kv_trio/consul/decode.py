"""Responses of Consul's API as values: the other half of `kv_trio.consul.encode`. Pure.

Whatever a store would not send is refused with `UnexpectedResponse`, and the URL.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kv_trio.consul.durations import parse_duration_s
from kv_trio.consul.json_body import kind_of, parse_json
from kv_trio.errors import UnexpectedResponse
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn import TransactionResult, TxnOperationFailed

_NONSENSE = (TypeError, KeyError, ValueError, OverflowError)
"""What comes of values that are not there, not of their type, or out of range."""

_DIGITS = 20  # of the longest unsigned 64-bit number


def read_json(url: str, body: bytes) -> Any:
    """Read JSON, whatever it says.

    Raises:
        UnexpectedResponse: it is no JSON.
    """
    try:
        return parse_json(body)
    except ValueError as exc:
        raise UnexpectedResponse(f"{url}: the response is no JSON") from exc


def read_index(url: str, text: str) -> int:
    """Read an `X-Consul-Index`.

    Raises:
        UnexpectedResponse: it is no number.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise UnexpectedResponse(
            f"{url}: X-Consul-Index is {text!r}, expected a number; is this a kv-trio or"
            " Consul server?"
        )
    return int(text)


def read_entries(url: str, body: bytes) -> tuple[Entry, ...]:
    """Read the entries that `/v1/kv` gave; there is one at least.

    Raises:
        UnexpectedResponse: it is no list of keys.
    """
    try:
        entries = tuple(map(_entry, read_json(url, body)))
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: the response is no list of keys") from exc
    if not entries:
        raise UnexpectedResponse(f"{url}: an empty list of keys")
    return entries


def read_history(url: str, body: bytes) -> tuple[Revision, ...]:
    """Read the revisions that `/v1/kv?history` gave.

    Raises:
        UnexpectedResponse: it is no history.
    """
    try:
        return tuple(map(_revision, read_json(url, body)))
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: the response is no history") from exc


def read_transaction_result(url: str, body: bytes) -> TransactionResult:
    """Read the outcome that `/v1/txn` gave.

    Raises:
        UnexpectedResponse: it is no response to a transaction.
    """
    document = read_json(url, body)
    try:
        results = tuple(_entry(item["KV"]) for item in document["Results"] or ())
        failed = tuple(
            TxnOperationFailed(_number(item, "OpIndex"), _text(item, "What"))
            for item in document["Errors"] or ()
        )
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: no response to a transaction") from exc
    index = max((entry.modify_index for entry in results), default=0)
    return TransactionResult(not failed, index, results=results, failed=failed)


def read_session_id(url: str, body: bytes) -> str:
    """Read the id of a session that was created.

    Raises:
        UnexpectedResponse: there is none.
    """
    try:
        return _text(read_json(url, body), "ID")
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: a session without an ID") from exc


def read_sessions(url: str, body: bytes) -> tuple[Session, ...]:
    """Read the sessions that `/v1/session/list` gave.

    Raises:
        UnexpectedResponse: it is no list of sessions.
    """
    try:
        return tuple(map(_session, read_json(url, body)))
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: the response is no list of sessions") from exc


def _entry(fields: Mapping[str, Any]) -> Entry:
    return Entry(
        key=_text(fields, "Key").encode(),
        value=base64.b64decode(_text(fields, "Value", or_none=True), validate=True),
        flags=_number(fields, "Flags"),
        create_index=_number(fields, "CreateIndex"),
        modify_index=_number(fields, "ModifyIndex"),
        lock_index=_number(fields, "LockIndex"),
        session=_text(fields, "Session") if "Session" in fields else None,
    )


def _revision(fields: Mapping[str, Any]) -> Revision:
    written_at = datetime.fromisoformat(_text(fields, "Time"))
    time_ms = round(written_at.timestamp() * 1000)
    entry = None if fields.get("Deleted") else _entry(fields)
    key = _text(fields, "Key").encode()
    return Revision(key, _number(fields, "ModifyIndex"), entry, time_ms)


def _session(fields: Mapping[str, Any]) -> Session:
    ttl = _text(fields, "TTL")
    return Session(
        id=_text(fields, "ID"),
        name=_text(fields, "Name"),
        ttl_s=parse_duration_s(ttl) if ttl else 0.0,
        ttl=ttl,
        lock_delay_s=_number(fields, "LockDelay") / 1e9,
        deletes=_text(fields, "Behavior") == "delete",
        create_index=_number(fields, "CreateIndex"),
    )


def _text(fields: Mapping[str, Any], name: str, *, or_none: bool = False) -> str:
    value = fields[name]
    if value is None and or_none:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {kind_of(value)}, expected a string")
    return value


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = fields[name]
    if type(value) is not int:
        raise TypeError(f"{name}: {kind_of(value)}, expected a number")
    return value
