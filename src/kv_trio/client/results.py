"""The results of a client's reads and writes, as values. Pure."""

from __future__ import annotations

import attrs

from kv_trio.state.entry import Entry


@attrs.frozen
class Snapshot:
    """One key at one time.

    Attributes:
        entry: None where the key is absent.
        index: the number of its last change; a blocking read waits for a higher one.
    """

    entry: Entry | None
    index: int

    @property
    def content(self) -> object:
        """What a watch compares to tell one state from the next."""
        return self.entry


@attrs.frozen
class Listing:
    """All keys with one prefix at one time.

    Attributes:
        entries: sorted by key.
        index: the number of their last change; a blocking read waits for a higher one.
    """

    entries: tuple[Entry, ...]
    index: int

    @property
    def content(self) -> object:
        """What a watch compares to tell one state from the next."""
        return self.entries


@attrs.frozen
class WriteResult:
    """The outcome of a conditional write.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change; 0 where it is absent, or where the
            server does not say.
    """

    done: bool
    index: int
