"""Entries, errors and header fields as Consul writes them. Pure.

Its JSON is compact; `<`, `>` and `&` are escaped as Go does it; an empty value is null;
the fields are in Consul's order, with `Session` only where a key is locked.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
from binascii import b2a_base64
from functools import lru_cache
from typing import Any

from http_trio.http1.response import Response
from kv_trio.consul.parameters import Read
from kv_trio.errors import BadQuery, KvError, Moved
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Entry, Revision
from kv_trio.state.store import Store

JSON = b"application/json"
_SHORT = 512  # bytes of a key whose JSON is kept
_NO_TEXT = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8
_PLAIN = b"text/plain; charset=utf-8"
_RAW = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"sandbox"),
)


def index_of(store: Store, read: Read) -> int:
    """Give the number of the last change of a key, or below a prefix."""
    return store.index_under(read.key) if read.is_prefix else store.index_of(read.key)


def render_read(store: Store, read: Read, acl: Acl) -> Response:
    """Render the response to a read of the present, without what may not be seen."""
    if not read.is_prefix:
        entry = store.get(read.key)
        if entry is None:
            return absent(store, read)
        return _render_found([entry], read, index_of(store, read))
    entries = visible_under(store, read.key, acl)
    if entries or (read.keys and not read.key):
        return _render_found(entries, read, index_of(store, read))
    return absent(store, read)


def visible_under(store: Store, prefix: bytes, acl: Acl) -> list[Entry]:
    """Give the entries with a prefix that may be seen; no other is looked at."""
    return [
        entry
        for readable in acl.readable_under(prefix)
        for entry in store.under(readable)
    ]


def render_entries(entries: list[Entry], read: Read, index: int) -> Response:
    """Render the response to a read of the past: entries as they were at an index."""
    if entries:
        return _render_found(entries, read, index)
    return Response(404, content_type=None, headers=index_headers(index))


def _render_found(entries: list[Entry], read: Read, index: int) -> Response:
    headers = index_headers(index)
    if read.keys:
        keys = dict.fromkeys(fold(entry.key, read) for entry in entries)
        body = dump_json([_text(key) for key in keys], pretty=read.pretty)
    elif read.raw and not read.recurse:
        return Response(200, entries[0].value, b"text/plain", headers + _RAW)
    elif read.pretty:
        body = dump_json([describe(entry) for entry in entries], pretty=True)
    else:
        body = b"[%b]" % b",".join(map(write_entry, entries))
    return Response(200, body, JSON, headers)


def json_response(value: object) -> Response:
    """Render a value as JSON."""
    return Response(200, dump_json(value), JSON)


def bad_query(exc: BadQuery) -> Response:
    """Render the response to a request that makes no sense."""
    text = str(exc).encode("utf-8", "replace")
    return Response(exc.status, text, _PLAIN if text else None)


def failed(exc: KvError) -> Response:
    """Render the response to a request that the store cannot fulfil."""
    return Response(500, str(exc).encode("utf-8", "replace"))


def moved(exc: Moved, query: bytes, method: str) -> Response:
    """Render the redirect to the clean form of a path, as Go's router does it."""
    location = exc.location + ("?" + query.decode("latin-1") if query else "")
    headers = ((b"Location", location.encode("latin-1")),)
    if method not in ("GET", "HEAD"):
        return Response(301, content_type=None, headers=headers)
    body = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
    return Response(301, body.encode(), b"text/html; charset=utf-8", headers)


def method_not_allowed(method: str, methods: str) -> Response:
    """Render the list of the methods that there are; to OPTIONS that is no error."""
    allow = ((b"Allow", methods.encode()),)
    if method == "OPTIONS":
        return Response(200, content_type=None, headers=allow)
    return Response(405, f"method {method} not allowed".encode(), headers=allow)


def absent(store: Store, read: Read) -> Response:
    """Render the response to a read that finds nothing.

    Where nothing ever was, the index is that of the last change of any key, as Consul
    has it; the number that a client waits to be passed stays that of what is read.
    """
    index = index_of(store, read) if read.is_prefix else 1
    if index <= max(1, store.floor):
        index = max(1, store.kv_index)
    return Response(404, content_type=None, headers=index_headers(index))


def index_headers(index: int) -> tuple[tuple[bytes, bytes], ...]:
    """Give the header fields by which a response tells the state of the store."""
    return (
        (b"X-Consul-Index", b"%d" % index),
        (b"X-Consul-Knownleader", b"true"),
        (b"X-Consul-Lastcontact", b"0"),
    )


def write_entry(entry: Entry) -> bytes:
    """Write an entry as `describe` gives it, but quicker: every read does it."""
    key = entry.key
    session = b""
    if entry.session is not None:
        session = b'"Session":"%b",' % entry.session.encode()
    return (
        b'{"LockIndex":%d,"Key":%b,"Flags":%d,"Value":%b,%b"CreateIndex":%d,'
        b'"ModifyIndex":%d}'
    ) % (
        entry.lock_index,
        _write_short_key(key) if len(key) <= _SHORT else write_key(key),
        entry.flags,
        b'"%b"' % b2a_base64(entry.value, newline=False) if entry.value else b"null",
        session,
        entry.create_index,
        entry.modify_index,
    )


def write_key(key: bytes) -> bytes:
    """Write a key as JSON."""
    return dump_json(_text(key))


_write_short_key = lru_cache(4096)(write_key)


def describe(entry: Entry) -> dict[str, Any]:
    """Give an entry as Consul's API shows it."""
    fields: dict[str, Any] = {
        "LockIndex": entry.lock_index,
        "Key": _text(entry.key),
        "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() if entry.value else None,
    }
    if entry.session is not None:
        fields["Session"] = entry.session
    fields["CreateIndex"] = entry.create_index
    fields["ModifyIndex"] = entry.modify_index
    return fields


def describe_delete(revision: Revision) -> dict[str, Any]:
    """Give a deleted key as an event stream shows it."""
    return {"Key": _text(revision.key), "ModifyIndex": revision.index}


def describe_revision(revision: Revision) -> dict[str, Any]:
    """Give one state of a key's past as `?history` shows it."""
    entry = revision.entry
    if entry is None:
        fields = describe_delete(revision) | {"Deleted": True}
    else:
        fields = describe(entry)
    fields["Time"] = format_time(revision.time_ms)
    return fields


def format_time(time_ms: int) -> str:
    """Write a time as RFC 3339 has it.

    >>> format_time(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    seconds, milliseconds = divmod(time_ms, 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{milliseconds:03d}Z"


def dump_json(value: object, *, pretty: bool = False) -> bytes:
    """Write JSON as Go's encoder does.

    >>> dump_json(["a<b"])
    b'["a\\\\u003cb"]'
    """
    if pretty:
        text = json.dumps(value, indent=4, ensure_ascii=False) + "\n"
    else:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return _NO_TEXT.sub(r"\\ufffd", text).encode("utf-8", "replace")


def _text(key: bytes) -> str:
    """Give a key as text; bytes that are no UTF-8 are marked, for `dump_json`."""
    return key.decode("utf-8", "surrogateescape")


def fold(key: bytes, read: Read) -> bytes:
    """Cut a key after the first separator past the prefix."""
    cut = key.find(read.separator, len(read.key)) if read.separator else -1
    return key if cut < 0 else key[: cut + len(read.separator)]
