"""The lines of the audit log. Pure.

A line is JSON: when, whose token, from where, what was asked for, and what became of it. It has
keys and never values: a log is read by more people than a store. Whatever a client sends is cut
to a length, and stays inside its string.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

import attrs

from kv_trio.errors import KvError
from kv_trio.state.acl import EVERYTHING, Acl
from kv_trio.state.entry import Outcome
from kv_trio.state.operations import CreateSession, Delete, DestroySession, Put
from kv_trio.state.txn import Transaction
from kv_trio.state.txn_operation import TransactionResult, TxnOperation

Audited = Put | Delete | CreateSession | DestroySession | Transaction
"""What changes a store."""

KEY_LENGTH = 512
"""Characters of a key, or of a reason, that a line shows."""


@attrs.frozen
class WrittenBy:
    """Who asks for a write.

    Attributes:
        token: the name of the token; empty where the store has none, or knows none of it.
        address: of the client.
    """

    token: str
    address: str

    @classmethod
    def of(cls, acl: Acl, address: str) -> WrittenBy:
        """Make it of the rights of a request."""
        return cls("" if acl is EVERYTHING else acl.name, address)


def write_line(
    at: float, sender: WrittenBy, operation: Audited, outcome: Outcome | KvError
) -> bytes:
    """Give the line of a write, and of what became of it."""
    return _line(at, sender, _asked(operation) | _became(outcome))


def request_line(at: float, sender: WrittenBy, asked: str, why: str) -> bytes:
    """Give the line of a request that is no write of keys, or that was refused.

    Args:
        at: the time.
        sender: who asked.
        asked: method and path.
        why: the reason of a refusal; empty for none.
    """
    became = {"done": False, "why": _cut(why)} if why else {"done": True}
    return _line(at, sender, {"do": _cut(asked), **became})


def lost_line(at: float, count: int) -> bytes:
    """Give the line that says how many are missing before it."""
    return _dump({"time": _time(at), "lost": count})


def _line(at: float, sender: WrittenBy, fields: Mapping[str, Any]) -> bytes:
    who: dict[str, Any] = {
        "time": _time(at),
        "token": sender.token,
        "from": sender.address,
    }
    return _dump({**who, **fields})


def _asked(operation: Audited) -> dict[str, Any]:
    match operation:
        case Put():
            conditions = {
                "cas": operation.cas,
                "acquire": operation.acquire,
                "release": operation.release,
            }
            fields: dict[str, Any] = {"do": "put", "key": _cut(operation.key)}
            fields["bytes"] = len(operation.value)
            return fields | {n: v for n, v in conditions.items() if v is not None}
        case Delete():
            do = "delete-tree" if operation.recurse else "delete"
            fields = {"do": do, "key": _cut(operation.key)}
            return fields if operation.cas is None else fields | {"cas": operation.cas}
        case CreateSession():
            session = operation.session
            return {
                "do": "session-create",
                "session": session.id,
                "name": _cut(session.name),
            }
        case DestroySession():
            return {"do": "session-destroy", "session": operation.id}
        case Transaction():
            writes = [one for one in operation.operations if one.writes]
            return {"do": "txn", "operations": [_operation(one) for one in writes]}
        case _:
            assert_never(operation)


def _operation(operation: TxnOperation) -> dict[str, Any]:
    fields: dict[str, Any] = {"do": operation.verb, "key": _cut(operation.key)}
    if operation.value:
        fields["bytes"] = len(operation.value)
    if operation.index:
        fields["cas"] = operation.index
    return fields


def _became(outcome: Outcome | KvError) -> dict[str, Any]:
    if isinstance(outcome, KvError):
        return {"done": False, "why": _cut(str(outcome))}
    if outcome.done:
        return {"done": True, "index": outcome.index}
    why = outcome.refused
    if isinstance(outcome, TransactionResult) and outcome.failed:
        why = outcome.failed[0].reason
    return {"done": False, "why": _cut(why) or "its condition did not hold"}


def _cut(text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return shown if len(shown) <= KEY_LENGTH else shown[: KEY_LENGTH - 1] + "…"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat("T", "milliseconds")[:-6] + "Z"


def _dump(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"
