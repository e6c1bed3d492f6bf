"""An operation of a transaction, and what becomes of all of them: values, pure.

Whoever sends a transaction needs no more than these; how one is tried is in `txn`.
"""

from __future__ import annotations

import attrs

from kv_trio.state.entry import Entry, Outcome

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
