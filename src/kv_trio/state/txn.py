"""Transactions, pure: operations that take effect together, and what comes of them.

All operations are tried in order on a batch of their own, where each sees what those
before it wrote; all writes share one number. If any operation fails, none of them takes
effect, and the outcome names every one that failed.

The texts are Consul's: its clients match on them.
"""

from __future__ import annotations

import json

import attrs

from kv_trio.state.acl import Acl
from kv_trio.state.entry import Entry, Outcome
from kv_trio.state.operations import Delete, Put
from kv_trio.state.write_batch import WriteBatch

_WRITES = frozenset(
    {"set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"}
)


def _encoded(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _lower(id_: str) -> str:
    """Give a session's id as it is kept: ids have no case."""
    return id_.lower()


@attrs.frozen
class TxnOperation:
    """One operation of a transaction.

    Attributes:
        verb: `set`, `cas` (if at `index`), `lock`, `unlock` (of `session`), `delete`,
            `delete-tree`, `delete-cas`, `get`, `get-or-empty`, `get-tree`,
            `check-index`, `check-session` or `check-not-exists`.
        key: the key, or for a tree the prefix.
    """

    verb: str
    key: bytes = attrs.field(converter=_encoded)
    value: bytes = b""
    flags: int = 0
    index: int = 0
    session: str = attrs.field(default="", converter=_lower)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.verb in _WRITES

    @property
    def is_tree(self) -> bool:
        """Whether it is about all keys with a prefix."""
        return self.verb in {"get-tree", "delete-tree"}


@attrs.frozen
class TxnOperationFailed:
    """Which operation failed, and why.

    Attributes:
        position: its place among the operations, from 0.
        reason: in Consul's words.
    """

    position: int
    reason: str


@attrs.frozen
class TransactionResult(Outcome):
    """The outcome of a transaction.

    Attributes:
        results: what the operations give, in order; those that only delete give nothing.
        failed: the operations that failed; then nothing took effect.
    """

    results: tuple[Entry, ...] = ()
    failed: tuple[TxnOperationFailed, ...] = ()


@attrs.frozen
class Transaction:
    """Operations that take effect together or not at all.

    Attributes:
        acl: what its sender may do.
    """

    operations: tuple[TxnOperation, ...]
    acl: Acl

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return any(operation.writes for operation in self.operations)

    def apply_to(self, write_batch: WriteBatch, now: float) -> TransactionResult:
        """Try the operations; the batch takes their changes over if none fails."""
        own = WriteBatch(write_batch, one_index=True)
        results: list[Entry] = []
        failed: list[TxnOperationFailed] = []
        for number, operation in enumerate(self.operations):
            try:
                results += self._run(operation, own, now)
            except _FailedError as exc:
                failed.append(TxnOperationFailed(number, str(exc)))
        if failed:
            return TransactionResult(done=False, failed=tuple(failed))
        write_batch.absorb(own)
        return TransactionResult(
            done=True, index=write_batch.index, results=tuple(results)
        )

    def _run(
        self, operation: TxnOperation, write_batch: WriteBatch, now: float
    ) -> list[Entry]:
        """Run an operation; give the entries that it adds to the results.

        Raises:
            _FailedError: its condition does not hold.
        """
        if not operation.key and not operation.is_tree:
            raise _FailedError("Must provide key")
        if operation.writes:
            may = self.acl.may_write_under if operation.is_tree else self.acl.may_write
            if not may(operation.key):
                raise _FailedError("Permission denied")
            if operation.verb == "lock":
                self._check_session(operation.session, write_batch)
            return _write(operation, write_batch, now)
        if not operation.is_tree and not self.acl.may_read(operation.key):
            if operation.verb.startswith("get"):
                return []  # as from a tree: whether it is there is not told
            raise _FailedError("Permission denied")
        found = _read(operation, write_batch)
        return [entry for entry in found if self.acl.may_read(entry.key)]

    def _check_session(self, id_: str, write_batch: WriteBatch) -> None:
        session = write_batch.session(id_)
        if session and not self.acl.may_use(session, write_batch.held_by(id_)):
            raise _FailedError("Permission denied")


class _FailedError(Exception):
    """The condition of an operation does not hold."""


def quoted(key: bytes) -> str:
    """Give a key as Consul shows it in its texts."""
    return json.dumps(key.decode("utf-8", "replace"), ensure_ascii=False)


def _read(operation: TxnOperation, write_batch: WriteBatch) -> list[Entry]:
    key = quoted(operation.key)
    if operation.verb == "get-tree":
        found = [
            write_batch.get(name) for name in write_batch.keys_under(operation.key)
        ]
        return [entry for entry in found if entry is not None]
    entry = write_batch.get(operation.key)
    match operation.verb:
        case "get" if entry is None:
            raise _FailedError(f"key {key} doesn't exist")
        case "get-or-empty" if entry is None:
            return [Entry(operation.key, b"", 0, 0, 0)]
        case "get" | "get-or-empty":
            pass
        case "check-not-exists":
            if entry is not None:
                raise _FailedError(f"key {key} exists")
            return []
        case "check-index":
            _check_index(operation, key, entry)
        case "check-session":
            _check_session(operation, key, entry)
        case verb:
            raise _FailedError(f'unknown KV verb "{verb}"')
    assert entry is not None, "each branch above has seen to it"
    return [
        entry if operation.verb.startswith("get") else attrs.evolve(entry, value=b"")
    ]


def _check_index(operation: TxnOperation, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check index, key {key} doesn't exist")
    if entry.modify_index != operation.index:
        raise _FailedError(
            f"failed index check for key {key}, current modify index"
            f" {entry.modify_index} != {operation.index}"
        )


def _check_session(operation: TxnOperation, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check session, key {key} doesn't exist")
    if (entry.session or "") != operation.session:
        raise _FailedError(
            f'failed session check for key {key}, current session "{entry.session or ""}"'
            f' != "{operation.session}"'
        )


def _write(operation: TxnOperation, write_batch: WriteBatch, now: float) -> list[Entry]:
    key = quoted(operation.key)
    put = Put(operation.key, operation.value, operation.flags)
    change: Put | Delete
    match operation.verb:
        case "set":
            change, refusal = put, ""
        case "cas":
            change = attrs.evolve(put, cas=operation.index)
            refusal = f"failed to set key {key}, index is stale"
        case "lock":
            change = attrs.evolve(put, acquire=operation.session)
            refusal = f"failed to lock key {key}, lock is already held"
            if write_batch.is_delayed(operation.key, now):
                refusal = f"failed to lock key {key} due to lock delay"
        case "unlock":
            change = attrs.evolve(put, release=operation.session)
            refusal = (
                f"failed to unlock key {key}, lock isn't held, or is held by another"
                " session"
            )
        case verb:
            cas = operation.index if verb == "delete-cas" else None
            change = Delete(operation.key, recurse=verb == "delete-tree", cas=cas)
            refusal = f"failed to delete key {key}, index is stale"
    outcome = write_batch.apply(change, now)
    if not outcome.done:
        raise _FailedError(outcome.refused or refusal)
    entry = None if isinstance(change, Delete) else write_batch.get(operation.key)
    return [] if entry is None else [attrs.evolve(entry, value=b"")]
