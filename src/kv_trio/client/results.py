"""What a client reads and is told of its writes, pure."""

from __future__ import annotations

import attrs

from kv_trio.state.entry import Entry


@attrs.frozen
class Snapshot:
    """One key at one time.

    Attributes:
        entry: None where the key is absent.
        index: what a blocking read waits to be passed.
    """

    entry: Entry | None
    index: int

    @property
    def content(self) -> object:
        """What makes it another state than the last one."""
        return self.entry


@attrs.frozen
class Listing:
    """All keys with one prefix at one time."""

    entries: tuple[Entry, ...]
    index: int

    @property
    def content(self) -> object:
        """What makes it another state than the last one."""
        return self.entries


@attrs.frozen
class Written:
    """What came of a conditional write.

    Attributes:
        done: whether its condition held.
        index: the number of the key's last change; 0 where the server does not say.
    """

    done: bool
    index: int
