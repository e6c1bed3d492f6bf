"""What waits to be confirmed, read from the store beside the document that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.store_keys import config_key, pending_key
from canary_trio.errors import NothingPending
from kv_trio import Entry, TxnOperation

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore


@attrs.frozen
class Found:
    """What waits, and what the document is.

    Attributes:
        change: that waits; None for none.
        replaced: one whose document was written past us: it waits no more.
        is_odd: whether there is something that is no pending change.
        index: of the key; 0 where it is absent.
        revision: of the document; 0 where there is none, or nothing waits.
    """

    change: PendingChange | None = None
    replaced: PendingChange | None = None
    is_odd: bool = False
    index: int = 0
    revision: int = 0

    def check(self, service: str) -> PendingChange:
        """Give what waits.

        Raises:
            NothingPending: nothing does.
        """
        if self.change is not None:
            return self.change
        if self.replaced is not None:
            raise NothingPending(
                f"{service}: revision {self.replaced.index} is no longer waited for:"
                f" revision {self.revision} replaced it"
            )
        odd = (
            f"; {pending_key(service)} holds something else, which the next change of the"
            " document removes"
        )
        raise NothingPending(
            f"{service}: no change waits to be confirmed{odd if self.is_odd else ''}"
        )


async def read_pending(client: KeyStore, service: str) -> Found:
    """Give what waits to be confirmed.

    Raises:
        KvError: the store cannot be read.
    """
    entry = (await client.get(pending_key(service))).entry
    if entry is None:
        return Found()
    document = (await client.get(config_key(service))).entry
    change = pending_of(entry)
    revision = document.modify_index if document else 0
    holds = change is not None and change.holds(revision)
    return Found(
        change if holds else None,
        None if holds else change,
        change is None,
        entry.modify_index,
        revision,
    )


async def carried_over(client: KeyStore, service: str) -> list[TxnOperation]:
    """Give what lets a change wait on while something else than an operator writes.

    Whoever decides on the document ends what waits; a rollout's step decides on nothing of
    it. So its writer takes what waits along to the revision that it makes. What is tried
    ends: it is tried in place of one very revision.

    Raises:
        KvError: the store cannot be read.
    """
    found = await read_pending(client, service)
    if found.change is None or found.change.is_trial:
        return []
    # another text, for a key that is written as it is keeps its index
    along = attrs.evolve(found.change, carried=found.change.carried + 1)
    return [TxnOperation("cas", pending_key(service), along.dump(), index=found.index)]


def pending_of(entry: Entry | None) -> PendingChange | None:
    """Give the pending change that an entry of the store is; None if it is none."""
    return (
        None if entry is None else PendingChange.load(entry.value, entry.modify_index)
    )
