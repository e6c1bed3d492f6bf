"""The values that a store is made of, pure: entries, their revisions, sessions.

All are frozen, so whoever has one may keep it while the store goes on. Beside them are
the outcome of every change (`Outcome`), and the reads of every state (`View`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Protocol

import attrs


@attrs.frozen
class Entry:
    """One key's value, with the numbers of Consul's API.

    Attributes:
        flags: an unsigned 64-bit number, for whoever reads the key.
        create_index: the number of the change since which the key is there.
        modify_index: the number of its last change.
        lock_index: how often its lock was acquired.
        session: the one that has its lock, if one has.
    """

    key: bytes
    value: bytes
    flags: int
    create_index: int
    modify_index: int
    lock_index: int = 0
    session: str | None = None


@attrs.frozen
class Revision:
    """One state that a key had.

    Attributes:
        index: the number of the change that brought it.
        entry: None where the change deleted the key.
        time_ms: when it was written, in milliseconds of Unix time; 0 if not yet.
    """

    key: bytes
    index: int
    entry: Entry | None
    time_ms: int = 0


def _finite(seconds: float) -> float:
    """Give a time that can be written and read again: no infinity, and 0.0 for -0.0."""
    if not math.isfinite(seconds):
        raise ValueError(f"{seconds} s are no time of a session")
    return seconds or 0.0


@attrs.frozen
class Session:
    """A session, which locks are bound to: they end with it.

    Attributes:
        ttl: the seconds as the client wrote them, a duration of Go.
        ttl_s: seconds for which it lives without a renewal, at least; 0 for ever.
        lock_delay_s: seconds for which a lock cannot be taken after it was lost.
        deletes: whether the keys that it holds are deleted at its end, not released.
        owner: the name of the token that began it; empty where there were none.
    """

    id: str
    name: str = ""
    ttl_s: float = attrs.field(default=0.0, converter=_finite)
    ttl: str = ""
    lock_delay_s: float = attrs.field(default=15.0, converter=_finite)
    deletes: bool = False
    create_index: int = 0
    owner: str = ""


@attrs.frozen
class Outcome:
    """The outcome of an operation.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change, where one is known.
        refused: why it made no sense at all; empty if it did.
        too_large: whether it was refused since it asks for too much.
    """

    done: bool
    index: int = 0
    refused: str = ""
    too_large: bool = False


class View(Protocol):
    """A consistent state that can be read: a store, or changes on top of one."""

    @property
    def index(self) -> int:
        """The number of the last change."""

    @property
    def session_count(self) -> int:
        """How many sessions there are."""

    def get(self, key: bytes) -> Entry | None:
        """Give a key's entry."""

    def keys_under(self, prefix: bytes) -> Iterator[bytes]:
        """Give the keys that begin with prefix, sorted."""

    def session(self, id_: str) -> Session | None:
        """Give a session that has not ended."""

    def held_by(self, id_: str) -> AbstractSet[bytes]:
        """Give the keys whose locks a session has; it may change with the state."""

    def is_delayed(self, key: bytes, now: float) -> bool:
        """Tell whether the key's lock was lost too recently to be taken."""
