"""Responses of Consul's API as values: the other half of `kv_trio.consul.encode`. Pure.

Whatever a store would not send is refused with `UnexpectedResponse`: the URL, what was
expected, and what was found. A value is not shown, since it may be a secret.

One file, since each response is read by the same few rules at its end.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from kv_trio.consul.durations import parse_duration_s
from kv_trio.consul.json_body import kind_of, parse_json
from kv_trio.errors import StoreRefused, UnexpectedResponse
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn_operation import (
    TransactionResult,
    TxnOperation,
    TxnOperationFailed,
)

T = TypeVar("T")

_NONSENSE = (TypeError, KeyError, ValueError, OverflowError, OSError)
"""What comes of values that are not there, not of their type, or out of range."""

_DENIED = "Permission denied"
_UINT64 = 2**64
_DIGITS = 20  # of the longest unsigned 64-bit number
_SHOWN = 60  # bytes of a body that is no JSON


def read_index(url: str, text: str) -> int:
    """Read an `X-Consul-Index`.

    Raises:
        UnexpectedResponse: it is no number of 64 bits.
    """
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        index = int(text)
        if index < _UINT64:
            return index
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    raise UnexpectedResponse(
        f"{url}: X-Consul-Index is {shown!r}, expected a number; is this a kv-trio or"
        " Consul server?"
    )


def read_entry(url: str, body: bytes, key: str) -> Entry:
    """Read the entry of a key that `/v1/kv` gave.

    Raises:
        UnexpectedResponse: it is not one entry, of that key.
    """
    entries = read_entries(url, body)
    if len(entries) > 1:
        raise UnexpectedResponse(f"{url}: {len(entries)} keys, expected one")
    if entries[0].key != key.encode():
        found = entries[0].key.decode()
        raise UnexpectedResponse(f"{url}: the key {found!r}, expected {key!r}")
    return entries[0]


def read_entries(url: str, body: bytes) -> tuple[Entry, ...]:
    """Read the entries that `/v1/kv` gave; there is one at least.

    Raises:
        UnexpectedResponse: it is no list of keys.
    """
    entries = _read(url, body, "list of keys", _each(_entry))
    if not entries:
        raise UnexpectedResponse(f"{url}: an empty list of keys")
    return entries


def read_changes(url: str, body: bytes) -> tuple[dict[str, Entry], frozenset[str]]:
    """Read what `/v1/watch` gave: entries by key, and the keys that were deleted.

    Raises:
        UnexpectedResponse: it is no list of changes.
    """
    rows = _read(url, body, "list of changes", _each(_change))
    entries = {key: entry for key, entry in rows if entry is not None}
    return entries, frozenset(key for key, entry in rows if entry is None)


def read_keys(url: str, body: bytes) -> tuple[str, ...]:
    """Read the names that `/v1/kv?keys` gave.

    Raises:
        UnexpectedResponse: it is no list of names.
    """
    return _read(url, body, "list of names", _each(lambda name: _typed(name, str)))


def read_done(url: str, body: bytes) -> bool:
    """Read whether a write was done.

    Raises:
        UnexpectedResponse: it is neither true nor false.
    """
    return _read(url, body, "response to a write", lambda done: _typed(done, bool))


def read_history(url: str, body: bytes) -> tuple[Revision, ...]:
    """Read the revisions that `/v1/kv?history` gave.

    Raises:
        UnexpectedResponse: it is no history.
    """
    return _read(url, body, "history (a Consul has none)", _each(_revision))


def read_forgotten(url: str, body: bytes) -> int:
    """Read how many states `/v1/compact` forgot.

    Raises:
        UnexpectedResponse: it does not say.
    """
    return _read(
        url,
        body,
        "response to compact",
        lambda document: _number(_fields(document), "Forgotten"),
    )


def read_transaction_result(
    url: str, body: bytes, operations: Sequence[TxnOperation] = ()
) -> TransactionResult:
    """Read the outcome that `/v1/txn` gave.

    A store says of an operation that its sender lacks the right to as it does of one whose
    condition does not hold. To whoever asked these differ: the one is to be tried again on
    what is there now, the other never will be.

    Args:
        url: where it came from.
        body: of the response.
        operations: what was asked.

    Raises:
        UnexpectedResponse: it is no response to a transaction.
        StoreRefused: the right to some of the keys is missing.
    """
    result = _read(url, body, "response to a transaction", _transaction_result)
    positions = {one.position for one in result.failed if _DENIED in one.reason}
    denied = [one for n, one in enumerate(operations) if n in positions]
    if denied:
        verb = "write" if denied[0].writes else "read"
        raise StoreRefused(
            403,
            f"{_DENIED} ({url}); {_rights_for(denied)}",
            key=denied[0].key.decode("utf-8", "replace"),
            right=f"key:{verb}",
        )
    return result


def _rights_for(operations: Sequence[TxnOperation]) -> str:
    """Say what a token must have the right to."""
    keys: dict[str, list[str]] = {}
    for operation in operations:
        name = operation.key.decode("utf-8", "replace")
        keys.setdefault("write" if operation.writes else "read", []).append(name)
    rights = (f"{verb} {', '.join(sorted(set(k)))}" for verb, k in keys.items())
    return f"the token must have the right to {' and '.join(rights)}"


def read_session_id(url: str, body: bytes) -> str:
    """Read the id of a session that was created.

    Raises:
        UnexpectedResponse: there is none.
    """
    return _read(
        url, body, "id of a session", lambda document: _text(_fields(document), "ID")
    )


def read_sessions(url: str, body: bytes) -> tuple[Session, ...]:
    """Read the sessions that `/v1/session/list` gave.

    Raises:
        UnexpectedResponse: it is no list of sessions.
    """
    return _read(url, body, "list of sessions", _each(_session))


def _read(url: str, body: bytes, what: str, read: Callable[[Any], T]) -> T:
    """Read JSON; the one place where an odd document becomes our error."""
    try:
        document = parse_json(body)
    except ValueError as exc:
        raise UnexpectedResponse(
            f"{url}: the response is no {what}, and no JSON: {exc}; found {_found(body)}"
        ) from exc
    try:
        return read(document)
    except _NONSENSE as exc:
        raise UnexpectedResponse(f"{url}: the response is no {what}: {exc}") from exc


def _found(body: bytes) -> str:
    """Describe what is no JSON; where it was to be some, a value may stand in it."""
    text = body[:_SHOWN].decode("utf-8", "replace")
    if not text or text.lstrip()[:1] in ("[", "{", '"'):
        return f"{len(body)} bytes"
    return repr(text)


def _each(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda document: tuple(map(read, _typed(document, list)))


def _transaction_result(document: object) -> TransactionResult:
    fields = _fields(document)
    results = tuple(
        _entry(_fields(item)["KV"]) for item in _typed(fields["Results"] or [], list)
    )
    failed = tuple(map(_failed, _typed(fields["Errors"] or [], list)))
    index = max((entry.modify_index for entry in results), default=0)
    return TransactionResult(not failed, index, results=results, failed=failed)


def _failed(item: object) -> TxnOperationFailed:
    fields = _fields(item)
    return TxnOperationFailed(_number(fields, "OpIndex"), _text(fields, "What"))


def _entry(item: object) -> Entry:
    fields = _fields(item)
    return Entry(
        key=_text(fields, "Key").encode(),
        value=base64.b64decode(_text(fields, "Value", or_none=True), validate=True),
        flags=_number(fields, "Flags"),
        create_index=_number(fields, "CreateIndex"),
        modify_index=_number(fields, "ModifyIndex"),
        lock_index=_number(fields, "LockIndex"),
        session=_text(fields, "Session") if "Session" in fields else None,
    )


def _change(item: object) -> tuple[str, Entry | None]:
    fields = _fields(item)
    return _text(fields, "Key"), None if fields.get("Deleted") else _entry(item)


def _revision(item: object) -> Revision:
    fields = _fields(item)
    written_at = datetime.fromisoformat(_text(fields, "Time"))
    time_ms = round(written_at.timestamp() * 1000)
    entry = None if fields.get("Deleted") else _entry(item)
    key = _text(fields, "Key").encode()
    return Revision(key, _number(fields, "ModifyIndex"), entry, time_ms)


def _session(item: object) -> Session:
    fields = _fields(item)
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


class _Fields(dict[str, Any]):
    """The members of an object; one that is not there is missed with words."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{name} is missing")


def _fields(item: object) -> Mapping[str, Any]:
    return _Fields(_typed(item, dict))


def _text(fields: Mapping[str, Any], name: str, *, or_none: bool = False) -> str:
    value = fields[name]
    return "" if value is None and or_none else _typed(value, str, name)


def _number(fields: Mapping[str, Any], name: str) -> int:
    value = _typed(fields[name], int, name)
    if not 0 <= value < _UINT64:
        raise ValueError(f"{name} is not between 0 and 2^64")
    return value


_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def _typed(value: Any, kind: type[T], name: str = "it") -> T:
    if type(value) is not kind:
        raise TypeError(f"{name} is {kind_of(value)}, expected {_NAMES[kind]}")
    return value
