"""Answers to reads, in Consul's JSON, pure.

Compact, `<`, `>` and `&` escaped as Go does it, an empty value as null, and the
fields in Consul's order; `Session` only where a key is locked.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from http_trio import Answer
from kv_trio.core import Entry, Store
from kv_trio.query import Read

JSON = b"application/json"
_RAW = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"sandbox"),
)


def index_of(store: Store, read: Read) -> int:
    """Give the number of the last change of what is read."""
    return store.index_under(read.key) if read.is_prefix else store.index_of(read.key)


def exists(store: Store, read: Read) -> bool:
    """Tell whether there is anything of what is read."""
    if read.is_prefix:
        return next(store.keys_under(read.key), None) is not None
    return store.get(read.key) is not None


def answer_read(store: Store, read: Read) -> Answer:
    """Render what is read, as it is now."""
    headers = (
        (b"X-Consul-Index", b"%d" % index_of(store, read)),
        (b"X-Consul-Knownleader", b"true"),
        (b"X-Consul-Lastcontact", b"0"),
    )
    if not exists(store, read):
        return Answer(404, content_type=None, headers=headers)
    if read.keys:
        body = dump_json([_text(key) for key in _folded_keys(store, read)])
    elif read.recurse:
        body = dump_json([describe(entry) for entry in store.under(read.key)])
    else:
        entry = store.get(read.key)
        assert entry is not None, "exists() said so"
        if read.raw:
            return Answer(200, entry.value, b"text/plain", headers + _RAW)
        body = dump_json([describe(entry)])
    return Answer(200, body, JSON, headers)


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


def dump_json(value: object) -> bytes:
    """Write JSON as Go's encoder does.

    >>> dump_json(["a<b"])
    b'["a\\\\u003cb"]'
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode()


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _folded_keys(store: Store, read: Read) -> list[bytes]:
    """Cut each key after the first separator past the prefix, without repeats."""
    separator, start = read.separator, len(read.key)
    if not separator:
        return list(store.keys_under(read.key))
    found: dict[bytes, None] = {}
    for key in store.keys_under(read.key):
        at = key.find(separator, start)
        found[key if at < 0 else key[: at + len(separator)]] = None
    return list(found)
