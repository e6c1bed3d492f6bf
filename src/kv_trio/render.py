"""Answers, in Consul's JSON and words, pure.

Compact, `<`, `>` and `&` escaped as Go does it, an empty value as null, and the
fields in Consul's order; `Session` only where a key is locked.
"""

from __future__ import annotations

import base64
import html
import json
import re
import time
from typing import Any

from http_trio import Answer
from kv_trio.access import Access
from kv_trio.core import Entry, Revision, Store
from kv_trio.errors import BadQuery, KvError, Moved
from kv_trio.query import Read

JSON = b"application/json"
_NO_TEXT = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8
_PLAIN = b"text/plain; charset=utf-8"
_RAW = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"sandbox"),
)


def index_of(store: Store, read: Read) -> int:
    """Give the number of the last change of what is read."""
    return store.index_under(read.key) if read.is_prefix else store.index_of(read.key)


def answer_read(store: Store, read: Read, access: Access) -> Answer:
    """Render what is read, as it is now, and as far as it may be seen."""
    if read.is_prefix:
        keys = [key for key in store.keys_under(read.key) if access.may_read(key)]
        if read.keys:
            if not keys and read.key:
                return absent(store, read)
            return _json([_text(key) for key in _folded(keys, read)], store, read)
        entries = [entry for entry in map(store.get, keys) if entry is not None]
    else:
        entry = store.get(read.key)
        if entry is not None and read.raw:
            headers = index_headers(entry.modify_index) + _RAW
            return Answer(200, entry.value, b"text/plain", headers)
        entries = [] if entry is None else [entry]
    if not entries:
        return absent(store, read)
    return _json([describe(entry) for entry in entries], store, read)


def answer_entries(entries: list[Entry], read: Read, index: int) -> Answer:
    """Render entries of the past, as they were at an index."""
    headers = index_headers(index)
    if not entries:
        return Answer(404, content_type=None, headers=headers)
    if read.keys:
        keys = _folded([entry.key for entry in entries], read)
        shown: list[Any] = [_text(key) for key in keys]
    elif read.raw and not read.is_prefix:
        return Answer(200, entries[0].value, b"text/plain", headers + _RAW)
    else:
        shown = [describe(entry) for entry in entries]
    return Answer(200, dump_json(shown, pretty=read.pretty), JSON, headers)


def json_answer(value: object) -> Answer:
    """Render a value."""
    return Answer(200, dump_json(value), JSON)


def bad_query(exc: BadQuery) -> Answer:
    """Tell what is wrong with a request."""
    text = str(exc).encode("utf-8", "replace")
    return Answer(exc.status, text, _PLAIN if text else None)


def failed(exc: KvError) -> Answer:
    """Tell that the store cannot do it."""
    return Answer(500, str(exc).encode("utf-8", "replace"))


def moved(exc: Moved, query: bytes, method: str) -> Answer:
    """Send a client to the clean form of its path, as Go's router does."""
    location = exc.location + ("?" + query.decode("latin-1") if query else "")
    headers = ((b"Location", location.encode("latin-1")),)
    if method not in ("GET", "HEAD"):
        return Answer(301, content_type=None, headers=headers)
    body = f'<a href="{html.escape(location)}">Moved Permanently</a>.\n\n'
    return Answer(301, body.encode(), b"text/html; charset=utf-8", headers)


def method_not_allowed(method: str, methods: str) -> Answer:
    """Tell which methods there are; to OPTIONS that is no error."""
    allow = ((b"Allow", methods.encode()),)
    if method == "OPTIONS":
        return Answer(200, content_type=None, headers=allow)
    return Answer(405, f"method {method} not allowed".encode(), headers=allow)


def absent(store: Store, read: Read) -> Answer:
    """Tell that there is nothing of what is read.

    Where nothing ever was, the index is that of the last change of any key, as Consul
    has it; the number that a client waits to be passed stays that of what is read.
    """
    index = index_of(store, read) if read.is_prefix else 1
    if index <= max(1, store.floor):
        index = max(1, store.kv_index)
    return Answer(404, content_type=None, headers=index_headers(index))


def index_headers(index: int) -> tuple[tuple[bytes, bytes], ...]:
    """Give the fields that Consul's clients read of an answer's state."""
    return (
        (b"X-Consul-Index", b"%d" % index),
        (b"X-Consul-Knownleader", b"true"),
        (b"X-Consul-Lastcontact", b"0"),
    )


def _json(value: object, store: Store, read: Read) -> Answer:
    body = dump_json(value, pretty=read.pretty)
    return Answer(200, body, JSON, index_headers(index_of(store, read)))


def describe(entry: Entry) -> dict[str, Any]:
    """Give an entry as Consul's API shows it."""
    shown: dict[str, Any] = {
        "LockIndex": entry.lock_index,
        "Key": _text(entry.key),
        "Flags": entry.flags,
        "Value": base64.b64encode(entry.value).decode() if entry.value else None,
    }
    if entry.session is not None:
        shown["Session"] = entry.session
    shown["CreateIndex"] = entry.create_index
    shown["ModifyIndex"] = entry.modify_index
    return shown


def describe_delete(revision: Revision) -> dict[str, Any]:
    """Give what is known of a key that was deleted."""
    return {"Key": _text(revision.key), "ModifyIndex": revision.index}


def describe_revision(revision: Revision) -> dict[str, Any]:
    """Give one state of a key's past."""
    entry = revision.entry
    if entry is None:
        shown = describe_delete(revision) | {"Deleted": True}
    else:
        shown = describe(entry)
    shown["Time"] = format_time(revision.time_ms)
    return shown


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
    """Give a key as text; bytes that are none are marked, for `dump_json`."""
    return key.decode("utf-8", "surrogateescape")


def _folded(keys: list[bytes], read: Read) -> list[bytes]:
    """Cut each key after the first separator past the prefix, without repeats."""
    separator, start = read.separator, len(read.key)
    if not separator:
        return keys
    found: dict[bytes, None] = {}
    for key in keys:
        at = key.find(separator, start)
        found[key if at < 0 else key[: at + len(separator)]] = None
    return list(found)
