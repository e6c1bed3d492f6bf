"""Transactions, pure: steps that take effect together, and what comes of them.

All steps are tried in order on a batch of their own, where each sees what those before
it wrote; all writes share one number. If any step fails, nothing of it takes effect,
and the outcome names every step that failed.

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
    session: str = ""

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.verb in _WRITES


@attrs.frozen
class TxnOperationFailed:
    """Which step failed, and why.

    Attributes:
        at: its place among the steps, from 0.
        reason: in Consul's words.
    """

    at: int
    reason: str


@attrs.frozen
class TransactionResult(Outcome):
    """The outcome of a transaction.

    Attributes:
        results: what the steps give, in order; those that only delete give nothing.
        failed: the steps that failed; then nothing took effect.
    """

    results: tuple[Entry, ...] = ()
    failed: tuple[TxnOperationFailed, ...] = ()


@attrs.frozen
class Transaction:
    """Steps that take effect together or not at all.

    Attributes:
        access: what its sender may do.
    """

    steps: tuple[TxnOperation, ...]
    access: Acl

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return any(step.writes for step in self.steps)

    def apply_to(self, write_batch: WriteBatch, now: float) -> TransactionResult:
        """Try the steps; the batch takes their changes over if none fails."""
        own = WriteBatch(write_batch, one_index=True)
        results: list[Entry] = []
        failed: list[TxnOperationFailed] = []
        for number, step in enumerate(self.steps):
            try:
                results += self._run(step, own, now)
            except _FailedError as exc:
                failed.append(TxnOperationFailed(number, str(exc)))
        if failed:
            return TransactionResult(done=False, failed=tuple(failed))
        write_batch.absorb(own)
        return TransactionResult(
            done=True, index=write_batch.index, results=tuple(results)
        )

    def _run(
        self, step: TxnOperation, write_batch: WriteBatch, now: float
    ) -> list[Entry]:
        """Run a step; give the entries that it adds to the results.

        Raises:
            _FailedError: its condition does not hold.
        """
        if not step.key and step.verb not in ("get-tree", "delete-tree"):
            raise _FailedError("Must provide key")
        if step.writes:
            tree = step.verb == "delete-tree"
            may = self.access.may_write_under if tree else self.access.may_write
            if not may(step.key):
                raise _FailedError("Permission denied")
            return _write(step, write_batch, now)
        found = _read(step, write_batch)
        return [entry for entry in found if self.access.may_read(entry.key)]


class _FailedError(Exception):
    """The condition of a step does not hold."""


def quoted(key: bytes) -> str:
    """Give a key as Consul shows it in its texts."""
    return json.dumps(key.decode("utf-8", "replace"), ensure_ascii=False)


def _read(step: TxnOperation, write_batch: WriteBatch) -> list[Entry]:
    key = quoted(step.key)
    if step.verb == "get-tree":
        found = [write_batch.get(name) for name in write_batch.keys_under(step.key)]
        return [entry for entry in found if entry is not None]
    entry = write_batch.get(step.key)
    match step.verb:
        case "get" if entry is None:
            raise _FailedError(f"key {key} doesn't exist")
        case "get-or-empty" if entry is None:
            return [Entry(step.key, b"", 0, 0, 0)]
        case "get" | "get-or-empty":
            pass
        case "check-not-exists":
            if entry is not None:
                raise _FailedError(f"key {key} exists")
            return []
        case "check-index":
            _check_index(step, key, entry)
        case "check-session":
            _check_session(step, key, entry)
        case verb:
            raise _FailedError(f'unknown KV verb "{verb}"')
    assert entry is not None, "each branch above has seen to it"
    return [entry if step.verb.startswith("get") else attrs.evolve(entry, value=b"")]


def _check_index(step: TxnOperation, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check index, key {key} doesn't exist")
    if entry.modify_index != step.index:
        raise _FailedError(
            f"failed index check for key {key}, current modify index"
            f" {entry.modify_index} != {step.index}"
        )


def _check_session(step: TxnOperation, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check session, key {key} doesn't exist")
    if (entry.session or "") != step.session:
        raise _FailedError(
            f'failed session check for key {key}, current session "{entry.session or ""}"'
            f' != "{step.session}"'
        )


def _write(step: TxnOperation, write_batch: WriteBatch, now: float) -> list[Entry]:
    key = quoted(step.key)
    put = Put(step.key, step.value, step.flags)
    operation: Put | Delete
    match step.verb:
        case "set":
            operation, refusal = put, ""
        case "cas":
            operation = attrs.evolve(put, cas=step.index)
            refusal = f"failed to set key {key}, index is stale"
        case "lock":
            operation = attrs.evolve(put, acquire=step.session)
            refusal = f"failed to lock key {key}, lock is already held"
            if write_batch.is_delayed(step.key, now):
                refusal = f"failed to lock key {key} due to lock delay"
        case "unlock":
            operation = attrs.evolve(put, release=step.session)
            refusal = (
                f"failed to unlock key {key}, lock isn't held, or is held by another"
                " session"
            )
        case verb:
            cas = step.index if verb == "delete-cas" else None
            operation = Delete(step.key, recurse=verb == "delete-tree", cas=cas)
            refusal = f"failed to delete key {key}, index is stale"
    outcome = write_batch.apply(operation, now)
    if not outcome.done:
        raise _FailedError(outcome.refused or refusal)
    entry = None if isinstance(operation, Delete) else write_batch.get(step.key)
    return [] if entry is None else [attrs.evolve(entry, value=b"")]
