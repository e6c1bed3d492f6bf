"""The words of etcd's JSON gateway (`/v3/...`), both directions. Pure.

Keys and values are base64, numbers of 64 bits are strings, and a member that is false,
zero or empty is left out. Whatever else a server sends is `UnexpectedResponse`, with words
that say where and what, and never another error.

One file, since a format has two sides, and its shapes are few lines each.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from kv_trio.consul.json_body import kind_of, parse_json
from kv_trio.errors import UnexpectedResponse
from kv_trio.state.entry import Entry

T = TypeVar("T")

_SHOWN = 60  # bytes of an odd body that are shown
_REASON = 500  # characters of a refusal that are shown
_INT64 = 2**63
_DIGITS = 20

ALL_CODES = range(400, 600)
"""Statuses of responses that carry an error of etcd."""


@attrs.frozen
class Header:
    """What each response says of the one who sent it.

    Attributes:
        cluster: the cluster's id; another one is another store.
        revision: of the store.
    """

    cluster: str
    revision: int


@attrs.frozen
class RangeResult:
    """The entries of a range of keys at one revision.

    Attributes:
        count: of all keys in the range, also of those that were not asked for.
    """

    header: Header
    entries: tuple[Entry, ...]
    count: int


@attrs.frozen
class Event:
    """A change of a key: what it is since a revision; None where it was deleted."""

    key: bytes
    revision: int
    entry: Entry | None


@attrs.frozen
class WatchMessage:
    """One line of a watch.

    Attributes:
        is_end: whether nothing comes after it.
        reason: why it ends, in etcd's words.
    """

    header: Header
    created: bool = False
    is_end: bool = False
    reason: str = ""
    events: tuple[Event, ...] = ()


@attrs.frozen
class TxnReply:
    """What a transaction gave: whether its comparisons held, and what it read."""

    header: Header
    succeeded: bool
    ranges: tuple[RangeResult, ...]


# === what is sent ===


def encode(text: bytes) -> str:
    """Give a key or a value as JSON has it."""
    return base64.b64encode(text).decode()


def dump(message: Mapping[str, Any]) -> bytes:
    """Give a message as bytes."""
    return json.dumps(message, separators=(",", ":")).encode()


def end_of(prefix: bytes) -> bytes:
    r"""Give the first key that is above all that begin with a prefix.

    >>> end_of(b"canary/"), end_of(b"a\xff"), end_of(b"")
    (b'canary0', b'b', b'\x00')
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\x00"


def range_of(name: bytes, *, is_prefix: bool) -> dict[str, Any]:
    """Give the members that say which keys are meant: one, or all with a prefix."""
    if not is_prefix:
        return {"key": encode(name)}
    return {"key": encode(name or b"\x00"), "range_end": encode(end_of(name))}


def right_for(message: Mapping[str, Any]) -> str:
    """Say what a user must have the right to, for a message that was refused."""
    verb, found = "read", [message]
    if "success" in message:
        asked = [part for operation in message["success"] for part in operation.items()]
        verb = "read" if all(name == "request_range" for name, _ in asked) else "write"
        found = [part for _, part in asked]
    keys = []
    for one in found:
        part = one.get("create_request", one)
        key = base64.b64decode(part.get("key", "")).decode("utf-8", "replace")
        keys.append(key.strip("\0") + "*" if "range_end" in part else key)
    return f"{verb} {', '.join(sorted(set(keys)))}"


# === what comes back ===


def read_range(url: str, body: bytes) -> RangeResult:
    """Read the entries of a range.

    Raises:
        UnexpectedResponse: it is no such response.
    """
    return _read(url, body, _range_result)


def read_txn(url: str, body: bytes) -> TxnReply:
    """Read what a transaction gave.

    Raises:
        UnexpectedResponse: it is no such response.
    """
    return _read(url, body, _txn_reply)


def read_watch_message(url: str, line: bytes) -> WatchMessage:
    """Read a line of a watch.

    Raises:
        UnexpectedResponse: it is no such line.
    """
    return _read(url, line, _watch_message)


def read_lease(url: str, body: bytes) -> tuple[str, int]:
    """Read the id of a lease, and its time to live; 0 where it has ended.

    Raises:
        UnexpectedResponse: it is no such response.
    """
    return _read(url, body, _lease)


def read_token(url: str, body: bytes) -> str:
    """Read the token that one is authenticated by.

    Raises:
        UnexpectedResponse: it is no such response.
    """
    return _read(url, body, lambda document: _typed(_object(document), "token", str))


def read_error(body: bytes) -> tuple[str, int]:
    """Give the reason of a refusal, and its code (of gRPC); -1 where it is none of etcd."""
    try:
        fields = _object(parse_json(body))
        error = fields.get("error", fields.get("message"))
        if isinstance(error, dict):  # of a stream, since etcd 3.5
            fields = error
            error = error.get("message")
        code = fields.get("code", fields.get("grpc_code"))
    except (ValueError, TypeError):
        error = code = None
    if isinstance(error, str) and type(code) is int:
        return _one_line(error), code
    return _one_line(body[:_SHOWN].decode("utf-8", "replace")), -1


def _read(url: str, body: bytes, read: Callable[[object], T]) -> T:
    try:
        return read(parse_json(body))
    except (ValueError, TypeError) as exc:
        shown = body[:_SHOWN].decode("utf-8", "replace")
        raise UnexpectedResponse(
            f"{url}: the response is none of etcd's JSON gateway: {exc}; found {shown!r};"
            " is this an etcd from 3.4 on?"
        ) from exc


def _range_result(document: object, header: Header | None = None) -> RangeResult:
    fields = _object(document)
    found = header or _header(fields)
    entries = tuple(_entry(item) for item in _list(fields, "kvs"))
    return RangeResult(found, entries, _number(fields, "count"))


def _txn_reply(document: object) -> TxnReply:
    fields = _object(document)
    header = _header(fields)
    ranges = [
        _range_result(_object(item)["response_range"], header)
        for item in _list(fields, "responses")
        if "response_range" in _object(item)
    ]
    return TxnReply(header, _flag(fields, "succeeded"), tuple(ranges))


def _watch_message(document: object) -> WatchMessage:
    outer = _object(document)
    if "error" in outer:
        reason, _ = read_error(dump({"error": outer["error"]}))
        return WatchMessage(Header("", 0), is_end=True, reason=reason)
    fields = _object(outer.get("result"))
    reason = _one_line(_typed(fields, "cancel_reason", str, ""))
    if compacted := _number(fields, "compact_revision"):
        reason = f"what it waited for is compacted up to revision {compacted}"
    return WatchMessage(
        _header(fields),
        created=_flag(fields, "created"),
        is_end=_flag(fields, "canceled"),
        reason=reason,
        events=tuple(_events(_list(fields, "events"))),
    )


def _events(items: Iterable[object]) -> Iterable[Event]:
    for item in items:
        fields = _object(item)
        entry = _entry(fields.get("kv"))
        gone = _typed(fields, "type", str, "PUT") == "DELETE"
        yield Event(entry.key, entry.modify_index, None if gone else entry)


def _one_line(text: str) -> str:
    """Give text without what would move a terminal's cursor or begin a new line."""
    return "".join(c if c.isprintable() else " " for c in text[:_REASON]).strip()


def _lease(document: object) -> tuple[str, int]:
    fields = _object(document)
    if "result" in fields:
        fields = _object(fields["result"])
    _header(fields)
    return _typed(fields, "ID", str, ""), _number(fields, "TTL")


def _entry(item: object) -> Entry:
    fields = _object(item)
    lease = _typed(fields, "lease", str, "0")
    return Entry(
        key=_bytes(fields, "key"),
        value=_bytes(fields, "value"),
        flags=0,
        create_index=_number(fields, "create_revision"),
        modify_index=_number(fields, "mod_revision"),
        session=None if lease == "0" else lease,
    )


def _header(fields: Mapping[str, Any]) -> Header:
    found = _object(fields.get("header"))
    return Header(_typed(found, "cluster_id", str, ""), _number(found, "revision"))


def _object(item: object) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise TypeError(f"{kind_of(item)} where an object is expected")
    return item


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    return _typed(fields, name, list, [])


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    return _typed(fields, name, bool, False)  # what it is by default


def _bytes(fields: Mapping[str, Any], name: str) -> bytes:
    return base64.b64decode(_typed(fields, name, str, ""), validate=True)


def _number(fields: Mapping[str, Any], name: str) -> int:
    text = _typed(fields, name, str, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise ValueError(f"{name} is {text[:_SHOWN]!r}, expected a number")
    number = int(text)
    if number >= _INT64:
        raise ValueError(f"{name} is {text}, expected less than 2^63")
    return number


def _typed(
    fields: Mapping[str, Any], name: str, kind: type[T], default: T | None = None
) -> T:
    value = fields.get(name, default)
    if type(value) is not kind:
        raise TypeError(f"{name} is {kind_of(value)}")
    return value
