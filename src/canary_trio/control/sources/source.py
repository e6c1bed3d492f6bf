"""What the control plane needs of a source: the protocol that all of them obey.

A key has an entry or none; each change gives it another revision (`Entry.modify_index`).
A watch gives the present state first and then each newer one; it may skip states that were
soon replaced, never skips the last one, survives whatever happens to its server, and tells
its `Contact` how it stands. A write is compare-and-set, and a transaction takes effect as a
whole or not at all. A session lives as long as it is renewed, and takes the keys that it
holds along.

The values and the errors are the store's own (`kv_trio`), so a `kv_trio.Client` is a
`KeyStore` as it is, and code that takes one works on every source. Whatever goes wrong with
a server is a `KvError`, and what a source cannot do at all is `SourceCannot`, in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from kv_trio import (
    Contact,
    Entry,
    KvError,
    Listing,
    Snapshot,
    TransactionResult,
    TxnOperation,
    WriteResult,
)

S_co = TypeVar("S_co", covariant=True)

WAIT_S = 30.0
"""The longest time after which a watch asks its source anew, unless it is told another."""


class SourceCannot(KvError):
    """A source cannot do what is asked of it, such as a file that is to be written."""


class WatchedStates(Protocol[S_co]):
    """The states of what is watched, as they come.

    Attributes:
        wait_s: the longest time after which it asks anew; may be changed at any time.
    """

    wait_s: float

    def __aiter__(self) -> Self:
        """Give the watch itself, which is its own iterator."""

    async def __anext__(self) -> S_co:
        """Wait for a state that is another than the last one given."""


class WatchedPrefix(WatchedStates[Listing], Protocol):
    """The states of all keys with a prefix, as they come.

    Attributes:
        changes: of so many keys the next state is waited for, by a store that counts; another
            one gives a state at each change.
    """

    changes: int


Changes = Mapping[str, Entry | None]
"""What each key that changed is now; None for one that is absent."""


class WatchedKeys(WatchedStates[Changes], Protocol):
    """The changes of a set of keys, as they come."""

    def follow(self, keys: Iterable[str]) -> None:
        """Follow these keys from now on; the states of new ones come next."""


class KeyStore(Protocol):
    """Keys that are read, watched and written."""

    @property
    def url(self) -> str:
        """Where it is."""

    async def get(self, key: str) -> Snapshot:
        """Read a key."""

    async def list(self, prefix: str) -> Listing:
        """Read all keys with a prefix, sorted."""

    def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AbstractAsyncContextManager[WatchedStates[Snapshot]]:
        """Follow a key."""

    def watch_prefix(
        self,
        prefix: str,
        *,
        after: int = 0,
        wait_s: float = WAIT_S,
        contact: Contact | None = None,
    ) -> AbstractAsyncContextManager[WatchedPrefix]:
        """Follow all keys with a prefix.

        Args:
            prefix: of the keys.
            after: where it is no hurry to see what was there when the store was at this
                revision: the first state is a newer one, or what there is after `wait_s`.
            wait_s: the longest time after which it asks anew.
            contact: kept up to date.
        """

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        """Write a key: if it is at a revision (0: absent), or a session gets or loses it."""

    async def delete(self, key: str, *, cas: int | None = None) -> bool:
        """Remove a key; give whether `cas` held."""

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        """Run up to 64 operations that take effect together or not at all."""

    async def create_session(self, name: str, ttl_s: float, *, deletes: bool) -> str:
        """Begin a session, which ends if it is not renewed in time; give its id."""

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""

    async def destroy_session(self, id_: str) -> None:
        """End a session, and remove the keys that it holds if it `deletes` them."""

    def lock(
        self, key: str, value: bytes = b"", *, ttl_s: float = 10.0
    ) -> AbstractAsyncContextManager[str]:
        """Have a lock while the block runs; the block is cancelled if it is lost."""


class DocumentSource(KeyStore, Protocol):
    """A source, opened by `open_source` as an async context manager.

    Attributes:
        read_only: why it cannot be written, in words; empty if it can. Then it has no
            sessions either, and nothing that proxies say of themselves.
    """

    @property
    def read_only(self) -> str:
        """Why it cannot be written; empty if it can."""

    async def check_server(self, key: str) -> None:
        """Look whether its server is one of the kind that its scheme says.

        Args:
            key: that is read; what it holds does not matter.

        Raises:
            WrongServer: it is of another kind.
            KvError: that cannot be told now.
        """

    def doubt(self) -> None:
        """Ask anew for all that is followed: its server may be another one by now."""

    async def token_name(self) -> str:
        """Give the name of the token that it is shown; empty where nobody knows one."""

    def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AbstractAsyncContextManager[WatchedKeys]:
        """Follow many keys, whose present states come first."""

    async def __aenter__(self) -> Self:
        """Open the source."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
