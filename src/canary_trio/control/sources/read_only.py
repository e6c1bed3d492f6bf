"""What sources share that can only be read: files, and servers that are polled.

A key has a resource or none: a document, `canary/SERVICE/config`, and the fleet's secret
beside it, `canary/SERVICE/secret`. A revision is a number made of the content, so the same
document has the same revision wherever and whenever it is read; of two revisions nobody can
tell which is newer.

A watch waits for a hint that something may be another now, `wait_s` at the longest, and
reads. What it has read is given if it differs from what was given last. Whatever needs a
store that is written is refused with words (`SourceCannot`); nothing is emulated.

One file, since it is one class and its watch, with a method for each that the protocol has.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, NoReturn, Protocol, Self, TypeVar

import trio

from canary_trio.control.sources.source import WAIT_S, Changes, SourceCannot
from kv_trio import (
    Backoff,
    Contact,
    Entry,
    KvError,
    Snapshot,
    TxnOperation,
)

S = TypeVar("S")

LEAST_WAIT_S = 0.1
"""Seconds between two reads of a watch at least, whatever hints come."""

_REVISION_BYTES = 6  # every reader of JSON takes such a number as it is
_KEY = re.compile(r"canary/([^/]+)/(config|secret)\Z")

Entries = Mapping[str, Entry | None]
"""What some keys are; None for one that is absent."""


def resource_of(key: str) -> tuple[str, str] | None:
    """Give the service and the kind of a key's resource; None if it can have none.

    >>> resource_of("canary/web/config"), resource_of("canary/web/proxies/a")
    (('web', 'config'), None)
    """
    found = _KEY.match(key)
    return (found[1], found[2]) if found else None


def entry_of(key: str, content: bytes) -> Entry:
    """Give the entry of a resource."""
    digest = hashlib.sha256(content).digest()
    revision = int.from_bytes(digest[:_REVISION_BYTES]) or 1
    return Entry(key.encode(), content, 0, revision, revision)


class Hints(Protocol):
    """What tells a watch that something may be another now."""

    async def wait(self, wait_s: float) -> None:
        """Wait for a hint, or for so many seconds."""


class Clock:
    """The hints of a source that only time gives."""

    async def wait(self, wait_s: float) -> None:
        """Wait for so many seconds."""
        await trio.sleep(wait_s)


class ReadOnlySource(ABC):
    """A source that can only be read; use it as an async context manager.

    Attributes:
        url: where it is.
        read_only: why it cannot be written.
        is_directory: whether it has a document for each service, or one for any.
    """

    url: str
    is_directory: bool
    read_only: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    async def __aenter__(self) -> Self:
        """Open the source."""
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        await trio.lowlevel.cancel_shielded_checkpoint()  # noqa: ASYNC102  # it shields

    @abstractmethod
    async def read(self, key: str) -> Entry | None:
        """Read a key; None if it is absent.

        Raises:
            KvError: it cannot be read.
        """

    @abstractmethod
    def hints(self) -> AbstractAsyncContextManager[Hints]:
        """Begin to listen for hints of all that is read from then on."""

    # === what it can do ===

    async def check_server(self, key: str) -> None:
        """Read the key; whatever server is there may have a document."""
        await self.read(key)

    def doubt(self) -> None:  # noqa: B027  # for all of them
        """Do nothing: it is read whole each time."""

    async def token_name(self) -> str:
        """Give nothing: nobody writes here."""
        await trio.lowlevel.checkpoint()
        return ""

    async def get(self, key: str) -> Snapshot:
        """Read a key."""
        entry = await self.read(key)
        return Snapshot(entry, entry.modify_index if entry else 0)

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[KeyWatch]:
        """Follow a key."""
        async with self.hints() as hints:
            yield KeyWatch(self, hints, (key,), wait_s, contact)

    @asynccontextmanager
    async def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AsyncIterator[KeysWatch]:
        """Follow many keys, whose present states come first."""
        async with self.hints() as hints:
            yield KeysWatch(self, hints, tuple(keys), WAIT_S, contact)

    # === what it cannot do ===

    async def list(self, prefix: str) -> NoReturn:
        """Raise SourceCannot: it cannot say which keys there are."""
        self._cannot(f"say what is below {prefix}")

    def watch_prefix(self, prefix: str, **_: object) -> NoReturn:
        """Raise SourceCannot, as `list`."""
        self._cannot(f"say what is below {prefix}")

    async def put(self, key: str, value: bytes, **_: object) -> NoReturn:
        """Raise SourceCannot."""
        del value
        self._cannot(f"take {key}")

    async def delete(self, key: str, **_: object) -> NoReturn:
        """Raise SourceCannot."""
        self._cannot(f"delete {key}")

    async def transact(self, operations: Sequence[TxnOperation]) -> NoReturn:
        """Raise SourceCannot."""
        del operations
        self._cannot("take a transaction")

    async def create_session(self, name: str, ttl_s: float, **_: object) -> NoReturn:
        """Raise SourceCannot."""
        del name, ttl_s
        self._cannot("keep what proxies report")

    async def renew_session(self, id_: str) -> NoReturn:
        """Raise SourceCannot."""
        self._cannot(f"renew {id_}")

    async def destroy_session(self, id_: str) -> NoReturn:
        """Raise SourceCannot."""
        self._cannot(f"end {id_}")

    def lock(self, key: str, value: bytes = b"", **_: object) -> NoReturn:
        """Raise SourceCannot."""
        del value
        self._cannot(f"lock {key}")

    def _cannot(self, what: str) -> NoReturn:
        raise SourceCannot(f"{self.url} cannot {what}: {self.read_only}")


class ReadOnlyWatch(ABC, Generic[S]):
    """The states of some keys, as they come.

    Attributes:
        wait_s: the longest time after which they are read again.
        contact: how the watch stands with its source.
    """

    def __init__(
        self,
        source: ReadOnlySource,
        hints: Hints,
        keys: tuple[str, ...],
        wait_s: float,
        contact: Contact | None,
    ) -> None:
        self.wait_s = wait_s
        self.contact = contact or Contact()
        self._source = source
        self._hints = hints
        self._keys = keys
        self._is_due = True  # what is known may not be so any more
        self._waiting = trio.CancelScope()
        self._backoff = Backoff()
        self._read_at = float("-inf")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(self._keys)} of {self._source!r}>"

    def __aiter__(self) -> Self:
        """Give the watch itself, which is its own iterator."""
        return self

    async def __anext__(self) -> S:
        """Wait for a state that is another than the last one given."""
        while True:
            if not self._is_due:
                with trio.CancelScope() as self._waiting:
                    await self._hints.wait(self.wait_s)
                self._is_due = True  # until it is read, also if that is cancelled
            await trio.sleep_until(self._read_at + LEAST_WAIT_S)
            keys, self._read_at = self._keys, trio.current_time()
            try:
                entries = {key: await self._source.read(key) for key in keys}
            except KvError as exc:
                self.contact.failed(exc)
                await self._backoff.pause()
                continue
            if keys is not self._keys:
                continue  # it is to follow others meanwhile
            self._is_due = False
            self.contact.heard()
            self._backoff.reset()
            state = self._state_of(entries)
            if state is not None:
                return state

    @abstractmethod
    def _state_of(self, entries: Entries) -> S | None:
        """Give what is new; None if nothing is."""


class KeyWatch(ReadOnlyWatch[Snapshot]):
    """The states of one key."""

    _given: Snapshot | None = None

    def _state_of(self, entries: Entries) -> Snapshot | None:
        (entry,) = entries.values()
        state = Snapshot(entry, entry.modify_index if entry else 0)
        if state == self._given:
            return None
        self._given = state
        return state


class KeysWatch(ReadOnlyWatch[Changes]):
    """The changes of a set of keys."""

    _given: Entries | None = None

    def follow(self, keys: Iterable[str]) -> None:
        """Follow these keys from now on; the states of new ones come next."""
        self._keys = tuple(keys)
        self._is_due = True
        self._waiting.cancel()

    def _state_of(self, entries: Entries) -> Changes | None:
        given = self._given or {}
        changes = {
            key: entry
            for key, entry in entries.items()
            if key not in given or given[key] != entry
        }
        self._given = entries
        return changes or None
