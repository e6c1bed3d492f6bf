"""Consul's transactions in etcd's words. Pure.

The verbs are tried in order on what was read of their keys, where each sees what those
before it wrote; what comes of it is written if none of these keys has changed since. So a
verb means the same as in the store, whatever etcd's comparisons can say, and a key may come
twice, which etcd itself refuses. A key that a session holds is one with its lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kv_trio.errors import BadQuery
from kv_trio.etcd.wire import encode
from kv_trio.state.entry import Entry
from kv_trio.state.txn_operation import (
    TransactionResult,
    TxnOperation,
    TxnOperationFailed,
)

MOST_OPERATIONS = 128
"""Of a transaction: what an etcd takes, if nobody has set another limit."""


@attrs.frozen
class Plan:
    """What becomes of a transaction.

    Attributes:
        failed: which operations fail; then nothing is written.
        read: what the verbs that read give.
        before: each key as it was read.
        after: each key as it is to be; where it is the same, it is not written.
    """

    failed: tuple[TxnOperationFailed, ...]
    read: tuple[Entry | bytes, ...]
    before: Mapping[bytes, Entry | None]
    after: Mapping[bytes, Entry | None]

    @property
    def writes(self) -> bool:
        """Whether something is to be written."""
        return any(self.after[key] is not self.before[key] for key in self.after)

    def message(self) -> dict[str, Any]:
        """Give the transaction as etcd reads it."""
        compare = [
            {
                "target": "MOD",
                "key": encode(key),
                "mod_revision": str(entry.modify_index if entry else 0),
            }
            for key, entry in self.before.items()
        ]
        success: list[dict[str, Any]] = []
        for key, entry in self.after.items():
            if entry is self.before[key]:
                continue
            if entry is None:
                success.append({"request_delete_range": {"key": encode(key)}})
                continue
            put = {"key": encode(key), "value": encode(entry.value)}
            if entry.session is not None:
                put["lease"] = entry.session
            success.append({"request_put": put})
        return {"compare": compare, "success": success}

    def result(self, revision: int) -> TransactionResult:
        """Give the outcome, once it is written at a revision."""
        if self.failed:
            return TransactionResult(False, failed=self.failed)
        results = []
        for found in self.read:
            entry = self.after[found] if isinstance(found, bytes) else found
            if isinstance(found, bytes) and entry is not None:
                created = entry.create_index or revision
                entry = attrs.evolve(entry, create_index=created, modify_index=revision)
            if entry is not None:
                results.append(entry)
        return TransactionResult(True, revision, results=tuple(results))


def check_operations(operations: Sequence[TxnOperation]) -> None:
    """Check that a transaction can be run at all.

    Raises:
        BadQuery: it is too long, or has a verb that an etcd is not asked.
    """
    if len(operations) > MOST_OPERATIONS:
        raise BadQuery(
            413, f"{len(operations)} operations, expected at most {MOST_OPERATIONS}"
        )
    for operation in operations:
        if operation.verb not in _VERBS:
            raise BadQuery(
                400,
                f"{operation.verb!r} is no operation of an etcd, expected one of"
                f" {', '.join(sorted(_VERBS))}",
            )


def plan(
    operations: Sequence[TxnOperation], before: Mapping[bytes, Entry | None]
) -> Plan:
    """Find out what operations would do to the keys as they are."""
    after = dict(before)
    failed = []
    read: list[Entry | bytes] = []
    for position, operation in enumerate(operations):
        key, verb = operation.key, operation.verb
        entry = after[key]
        if reason := _why_not(operation, entry):
            failed.append(TxnOperationFailed(position, reason))
        elif verb in _GETS:
            if entry is not None:
                read.append(key if entry is not before[key] else entry)
        elif verb in _DELETES:
            after[key] = None
        elif verb in _PUTS:
            session = entry.session if entry else None
            if verb in ("lock", "unlock"):
                session = operation.session if verb == "lock" else None
            created = entry.create_index if entry else 0
            after[key] = Entry(
                key, operation.value, 0, created, 0, session=session or None
            )
            read.append(key)
    return Plan(tuple(failed), tuple(read), before, after)


_PUTS = frozenset({"set", "cas", "lock", "unlock"})
_GETS = frozenset({"get", "get-or-empty"})
_DELETES = frozenset({"delete", "delete-cas"})
_CHECKS = frozenset({"check-index", "check-session", "check-not-exists"})
_VERBS = _PUTS | _GETS | _DELETES | _CHECKS


def _why_not(operation: TxnOperation, entry: Entry | None) -> str:
    """Say why an operation fails; empty if it does not."""
    at = entry.modify_index if entry else 0
    session = entry.session if entry else None
    match operation.verb:
        case "cas" | "delete-cas" | "check-index" if at != operation.index:
            return f"the key is at {at}, expected {operation.index}"
        case "lock" if session not in (None, operation.session):
            return "the key is held by another session"
        case "unlock" | "check-session" if session != operation.session:
            return "the key is not held by that session"
        case "get" if entry is None:
            return "the key is absent"
        case "check-not-exists" if entry is not None:
            return "the key is there"
    return ""
