"""Reading what a store answered, pure; whatever is no answer of one is said so."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kv_trio.consul.durations import parse_duration_s
from kv_trio.errors import UnexpectedAnswer
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn import StepFailed, Transacted


def read_json(url: str, body: bytes) -> Any:
    """Read JSON, whatever it is.

    Raises:
        UnexpectedAnswer: it is none.
    """
    try:
        return json.loads(body)
    except ValueError as exc:
        raise UnexpectedAnswer(f"{url}: the answer is no JSON") from exc


def read_index(url: str, text: str) -> int:
    """Read an `X-Consul-Index`.

    Raises:
        UnexpectedAnswer: it is none.
    """
    if not text.isdigit():
        raise UnexpectedAnswer(
            f"{url}: X-Consul-Index is {text!r}, expected a number; is this a kv-trio or"
            " Consul server?"
        )
    return int(text)


def read_entries(url: str, body: bytes) -> tuple[Entry, ...]:
    """Read what `/v1/kv` gave; there is one at least.

    Raises:
        UnexpectedAnswer: it is no list of keys.
    """
    try:
        entries = tuple(map(_entry, read_json(url, body)))
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedAnswer(f"{url}: the answer is no list of keys") from exc
    if not entries:
        raise UnexpectedAnswer(f"{url}: an empty list of keys")
    return entries


def read_history(url: str, body: bytes) -> tuple[Revision, ...]:
    """Read what `?history` gave.

    Raises:
        UnexpectedAnswer: it is no history.
    """
    try:
        return tuple(map(_revision, read_json(url, body)))
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedAnswer(f"{url}: the answer is no history") from exc


def read_transacted(url: str, body: bytes) -> Transacted:
    """Read what `/v1/txn` gave.

    Raises:
        UnexpectedAnswer: it is no answer to a transaction.
    """
    shown = read_json(url, body)
    try:
        results = tuple(_entry(one["KV"]) for one in shown["Results"] or ())
        failed = tuple(
            StepFailed(one["OpIndex"], one["What"]) for one in shown["Errors"] or ()
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedAnswer(f"{url}: no answer to a transaction") from exc
    index = max((entry.modify_index for entry in results), default=0)
    return Transacted(not failed, index, results=results, failed=failed)


def read_session_id(url: str, body: bytes) -> str:
    """Read the id of a session that was created.

    Raises:
        UnexpectedAnswer: there is none.
    """
    try:
        return str(read_json(url, body)["ID"])
    except (TypeError, KeyError) as exc:
        raise UnexpectedAnswer(f"{url}: a session without an ID") from exc


def read_sessions(url: str, body: bytes) -> tuple[Session, ...]:
    """Read what `/v1/session/list` gave.

    Raises:
        UnexpectedAnswer: it is no list of sessions.
    """
    try:
        return tuple(map(_session, read_json(url, body)))
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedAnswer(f"{url}: the answer is no list of sessions") from exc


def _entry(shown: Mapping[str, Any]) -> Entry:
    return Entry(
        key=shown["Key"].encode(),
        value=base64.b64decode(shown["Value"] or ""),
        flags=shown["Flags"],
        create_index=shown["CreateIndex"],
        modify_index=shown["ModifyIndex"],
        lock_index=shown["LockIndex"],
        session=shown.get("Session"),
    )


def _revision(shown: Mapping[str, Any]) -> Revision:
    time_ms = round(datetime.fromisoformat(shown["Time"]).timestamp() * 1000)
    entry = None if shown.get("Deleted") else _entry(shown)
    return Revision(shown["Key"].encode(), shown["ModifyIndex"], entry, time_ms)


def _session(shown: Mapping[str, Any]) -> Session:
    return Session(
        id=shown["ID"],
        name=shown["Name"],
        ttl_s=parse_duration_s(shown["TTL"]) if shown["TTL"] else 0.0,
        ttl=shown["TTL"],
        lock_delay_s=shown["LockDelay"] / 1e9,
        deletes=shown["Behavior"] == "delete",
        create_index=shown["CreateIndex"],
    )
