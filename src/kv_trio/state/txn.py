"""Transactions, pure: operations that take effect together, and what comes of them.

All operations are tried in order on a batch of their own, where each sees what those
before it wrote; all writes share one number. If any operation fails, none of them takes
effect, and the outcome names every one that failed.

The texts are Consul's: its clients match on them. One file, since what the verbs find,
how they fail, and what all of them together may cost is decided operation by operation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Entry
from kv_trio.state.operations import Delete, Put
from kv_trio.state.txn_operation import (
    TransactionResult,
    TxnOperation,
    TxnOperationFailed,
)
from kv_trio.state.write_batch import WriteBatch


@attrs.frozen
class Transaction:
    """Operations that take effect together or not at all.

    Attributes:
        acl: what its sender may do.
        limits: what it may find and change.
    """

    operations: tuple[TxnOperation, ...]
    acl: Acl
    limits: StoreLimits = StoreLimits()

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return any(operation.writes for operation in self.operations)

    def apply_to(self, write_batch: WriteBatch, now: float) -> TransactionResult:
        """Try the operations; the batch takes their changes over if none fails."""
        own = WriteBatch(write_batch, one_index=True)
        results = _Results(self.limits)
        failed: list[TxnOperationFailed] = []
        try:
            for number, operation in enumerate(self.operations):
                try:
                    self._run(operation, own, now, results)
                except _FailedError as exc:
                    failed.append(TxnOperationFailed(number, str(exc)))
        except _TooLargeError as exc:
            return TransactionResult(done=False, refused=str(exc), too_large=True)
        finally:
            write_batch.work += own.work + len(results.entries)
        if failed:
            return TransactionResult(done=False, failed=tuple(failed))
        write_batch.absorb(own)
        return TransactionResult(
            done=True, index=write_batch.index, results=tuple(results.entries)
        )

    def _run(
        self,
        operation: TxnOperation,
        write_batch: WriteBatch,
        now: float,
        results: _Results,
    ) -> None:
        """Run an operation; add what it finds to the results.

        Raises:
            _FailedError: its condition does not hold.
            _TooLargeError: it finds, or changes, more than a transaction may.
        """
        if not operation.key and not operation.is_tree:
            raise _FailedError("Must provide key")
        if operation.writes:
            self._run_write(operation, write_batch, now, results)
        elif operation.is_tree:
            self._run_tree(operation.key, write_batch, results)
        elif self.acl.may_read(operation.key):
            results.add_all(_read(operation, write_batch))
        elif not operation.verb.startswith("get"):  # as from a tree: it is left out
            raise _FailedError("Permission denied")

    def _run_write(
        self,
        operation: TxnOperation,
        write_batch: WriteBatch,
        now: float,
        results: _Results,
    ) -> None:
        may = self.acl.may_write_under if operation.is_tree else self.acl.may_write
        if not may(operation.key):
            raise _FailedError("Permission denied")
        if operation.verb == "lock":
            self._check_session(operation.session, write_batch)
        room = max(0, self.limits.changed_keys - len(write_batch.entries))
        results.add_all(_write(operation, write_batch, now, room))

    def _run_tree(
        self, prefix: bytes, write_batch: WriteBatch, results: _Results
    ) -> None:
        for readable in self.acl.readable_under(prefix):
            found = map(write_batch.get, write_batch.keys_under(readable))
            results.add_all(filter(None, found))

    def _check_session(self, id_: str, write_batch: WriteBatch) -> None:
        session = write_batch.session(id_)
        if session and not self.acl.may_use(session, write_batch.held_by(id_)):
            raise _FailedError("Permission denied")


class _FailedError(Exception):
    """The condition of an operation does not hold."""


class _TooLargeError(Exception):
    """A transaction finds or changes more than one may."""


class _Results:
    """What a transaction finds, up to its limits."""

    def __init__(self, limits: StoreLimits) -> None:
        self.entries: list[Entry] = []
        self._size = 0
        self._limits = limits

    def add_all(self, entries: Iterable[Entry]) -> None:
        """Add entries.

        Raises:
            _TooLargeError: one is one too many.
        """
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        limits = self._limits
        if len(self.entries) >= limits.transaction_entries:
            raise _TooLargeError(
                f"the transaction reads more than {limits.transaction_entries} entries;"
                " narrow its prefixes, list them with ?recurse, or raise the store's"
                " limit: --limit transaction_entries=NUMBER"
            )
        self._size += len(entry.value)
        if self._size > limits.listing_bytes:
            raise _TooLargeError(
                f"the transaction reads values of more than {limits.listing_bytes}"
                " bytes; narrow its prefixes, or raise the store's limit:"
                " --limit listing_bytes=NUMBER"
            )
        self.entries.append(entry)


def quoted(key: bytes) -> str:
    """Give a key as Consul shows it in its texts."""
    return json.dumps(key.decode("utf-8", "replace"), ensure_ascii=False)


def _read(operation: TxnOperation, write_batch: WriteBatch) -> list[Entry]:
    key = quoted(operation.key)
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


def _write(
    operation: TxnOperation, write_batch: WriteBatch, now: float, room: int
) -> list[Entry]:
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
            is_tree = verb == "delete-tree"
            change = Delete(operation.key, recurse=is_tree, cas=cas, limit=room)
            refusal = f"failed to delete key {key}, index is stale"
    outcome = write_batch.apply(change, now)
    if outcome.too_large:
        raise _TooLargeError(outcome.refused)
    if not outcome.done:
        raise _FailedError(outcome.refused or refusal)
    entry = None if isinstance(change, Delete) else write_batch.get(operation.key)
    return [] if entry is None else [attrs.evolve(entry, value=b"")]
