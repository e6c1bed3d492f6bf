"""Responses of Consul's API as values: the other half of `kv_trio.consul.encode`. Pure.

Whatever a store would not send is refused with `UnexpectedResponse`, and the URL.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kv_trio.consul.durations import parse_duration_s
from kv_trio.errors import UnexpectedResponse
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn import TransactionResult, TxnOperationFailed


def read_json(url: str, body: bytes) -> Any:
    """Read JSON, whatever it says.

    Raises:
        UnexpectedResponse: it is no JSON.
    """
    try:
        return json.loads(body)
    except ValueError as exc:
        raise UnexpectedResponse(f"{url}: the response is no JSON") from exc


def read_index(url: str, text: str) -> int:
    """Read an `X-Consul-Index`.

    Raises:
        UnexpectedResponse: it is no number.
    """
    if not text.isdigit():
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
    except (TypeError, KeyError, ValueError) as exc:
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
    except (TypeError, KeyError, ValueError) as exc:
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
            TxnOperationFailed(item["OpIndex"], item["What"])
            for item in document["Errors"] or ()
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedResponse(f"{url}: no response to a transaction") from exc
    index = max((entry.modify_index for entry in results), default=0)
    return TransactionResult(not failed, index, results=results, failed=failed)


def read_session_id(url: str, body: bytes) -> str:
    """Read the id of a session that was created.

    Raises:
        UnexpectedResponse: there is none.
    """
    try:
        return str(read_json(url, body)["ID"])
    except (TypeError, KeyError) as exc:
        raise UnexpectedResponse(f"{url}: a session without an ID") from exc


def read_sessions(url: str, body: bytes) -> tuple[Session, ...]:
    """Read the sessions that `/v1/session/list` gave.

    Raises:
        UnexpectedResponse: it is no list of sessions.
    """
    try:
        return tuple(map(_session, read_json(url, body)))
    except (TypeError, KeyError, ValueError) as exc:
        raise UnexpectedResponse(f"{url}: the response is no list of sessions") from exc


def _entry(fields: Mapping[str, Any]) -> Entry:
    return Entry(
        key=fields["Key"].encode(),
        value=base64.b64decode(fields["Value"] or ""),
        flags=fields["Flags"],
        create_index=fields["CreateIndex"],
        modify_index=fields["ModifyIndex"],
        lock_index=fields["LockIndex"],
        session=fields.get("Session"),
    )


def _revision(fields: Mapping[str, Any]) -> Revision:
    time_ms = round(datetime.fromisoformat(fields["Time"]).timestamp() * 1000)
    entry = None if fields.get("Deleted") else _entry(fields)
    return Revision(fields["Key"].encode(), fields["ModifyIndex"], entry, time_ms)


def _session(fields: Mapping[str, Any]) -> Session:
    return Session(
        id=fields["ID"],
        name=fields["Name"],
        ttl_s=parse_duration_s(fields["TTL"]) if fields["TTL"] else 0.0,
        ttl=fields["TTL"],
        lock_delay_s=fields["LockDelay"] / 1e9,
        deletes=fields["Behavior"] == "delete",
        create_index=fields["CreateIndex"],
    )
