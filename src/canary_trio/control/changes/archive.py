"""The transaction that writes a document together with its history.

The document goes over the revision that it was made of, and in the same transaction go the
note of who made it, a copy of it for later, what a revision written past us was, and the end
of a change that was to be confirmed: whoever writes the document decides. What is too old in
history is cleared by whoever writes.

A store takes so many bytes in one transaction. Copies that do not fit go ahead, each by
itself, behind a mark in the place of their note: nobody reads them before the note is there, and
where it never comes, since who wrote died, they are cleared as what is too old is. A document that does not fit itself is
written alone, and noted afterwards.
"""

from __future__ import annotations

import getpass
import random
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import attrs

from canary_trio.config.policies import KeptHistory
from canary_trio.control.changes.history import (
    UNFINISHED,
    Change,
    ChangeLog,
    Note,
    make_id,
)
from canary_trio.control.store_keys import (
    changes_prefix,
    config_key,
    past_document_key,
    pending_key,
)
from canary_trio.errors import TooLargeTogether
from kv_trio import StoreRefused, TransactionResult, TxnOperation

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore

TRANSACTION_BYTES = 500_000
"""Of the JSON of a transaction; a kv-trio and a Consul take 512 KiB."""

_AROUND = 120  # bytes of an operation's JSON beside its key and value
_NOT_ALLOWED = "ermission denied"


@cache
def own_note() -> Note:
    """Give the note of who does not say who it is: the user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # it has no name here
        user = "unknown"
    return Note(f"{user}@{socket.gethostname() or 'unknown'}"[:128])


@attrs.frozen
class Unnoted:
    """A document that was written past us, and what is known of that."""

    change: Change
    text: bytes


@attrs.frozen
class RevisionWrite:
    """A document that is to be written.

    Attributes:
        service: whose it is.
        text: as it is written.
        change: who makes it; without a revision yet.
        unnoted: what it replaces, where that was written past us.
        history: as it is.
        bounds: of history.
    """

    service: str
    text: bytes
    change: Change
    unnoted: Unnoted | None
    history: ChangeLog
    bounds: KeptHistory

    async def write(self, client: KeyStore, also: Sequence[TxnOperation] = ()) -> int:
        """Write it; give the revision, or 0 where another writer was first.

        Args:
            client: of the store.
            also: further operations of the transaction, at most 20. A change that is to be
                confirmed ends, unless one of them is about it.

        Raises:
            TooLargeTogether: there are such operations, and the document has no room for
                them.
            KvError: the store cannot be written.
        """
        first = [self._config, *self._with(also)]
        copies, rest = self._copies, self._notes(0) + self._clearing
        if _size(first + copies + rest) <= TRANSACTION_BYTES:
            result = await client.transact(first + copies + rest)
            return _revision(result, first + copies + rest)
        notes = [operation.key.decode() for operation in self._notes(0)]
        for note in notes:
            await client.put(note, UNFINISHED)
        for copy in copies:
            await client.put(copy.key.decode(), copy.value)
        if _size(first + rest) <= TRANSACTION_BYTES:
            revision = _revision(await client.transact(first + rest), first + rest)
        elif also:
            raise TooLargeTogether(len(self.text), TRANSACTION_BYTES * 3 // 4)
        else:
            revision = await self._write_alone(client)
        if not revision:
            for key in (*(copy.key.decode() for copy in copies), *notes):
                await client.delete(key)
        return revision

    async def _write_alone(self, client: KeyStore) -> int:
        key, over = config_key(self.service), self.change.over
        written = await client.put(key, self.text, cas=over)
        if not written.done:
            return 0
        rest = [*self._with(()), *self._notes(written.index), *self._clearing]
        _revision(await client.transact(rest), rest)
        return written.index

    @property
    def _config(self) -> TxnOperation:
        key, over = config_key(self.service), self.change.over
        return TxnOperation("cas", key, self.text, index=over)

    def _with(self, also: Sequence[TxnOperation]) -> list[TxnOperation]:
        pending = pending_key(self.service)
        if any(operation.key == pending.encode() for operation in also):
            return list(also)
        return [*also, TxnOperation("delete", pending)]

    @property
    def _unnoted_id(self) -> str:
        """The id of what was written past us: it sorts before the change itself."""
        at = self.change.at or datetime.now(UTC)
        return make_id(at - timedelta(milliseconds=1), int(self.change.id[-4:], 16))

    @property
    def _copies(self) -> list[TxnOperation]:
        key = past_document_key(self.service, self.change.id)
        copies = [TxnOperation("set", key, self.text)]
        if self.unnoted is not None:
            key = past_document_key(self.service, self._unnoted_id)
            copies.insert(0, TxnOperation("set", key, self.unnoted.text))
        return copies

    def _notes(self, revision: int) -> list[TxnOperation]:
        prefix = changes_prefix(self.service)
        change = attrs.evolve(self.change, revision=revision)
        notes = [TxnOperation("set", prefix + change.id, change.dump())]
        if self.unnoted is not None:
            key = prefix + self._unnoted_id
            notes.insert(0, TxnOperation("set", key, self.unnoted.change.dump()))
        return notes

    @property
    def _clearing(self) -> list[TxnOperation]:
        at = self.change.at or datetime.now(UTC)
        ids = self.history.to_clear(self.service, at, self.bounds)
        notes = [changes_prefix(self.service) + id_ for id_ in ids]
        copies = [past_document_key(self.service, id_) for id_ in ids]
        return [TxnOperation("delete", key) for key in (*notes, *copies)]


def new_id(now: datetime) -> str:
    """Give an id for a change that is made now."""
    return make_id(now, random.getrandbits(16))


def _size(operations: Sequence[TxnOperation]) -> int:
    return sum(
        len(operation.key) + len(operation.value) * 4 // 3 + _AROUND
        for operation in operations
    )


def _revision(result: TransactionResult, operations: Sequence[TxnOperation]) -> int:
    """Give the index of a transaction that took effect; 0 where a condition did not hold.

    Raises:
        StoreRefused: the right to do one of the operations is missing.
    """
    if result.done:
        return result.index
    for failure in result.failed:
        if _NOT_ALLOWED in failure.reason:
            key = operations[failure.position].key.decode("utf-8", "replace")
            raise StoreRefused(403, f"{failure.reason}: the right to write {key}")
    return 0
