"""What is known of a range of keys, put together from reads and from a stream. Pure.

What was read at a revision is not undone by an event that is older.
"""

from __future__ import annotations

from kv_trio.errors import UnexpectedResponse
from kv_trio.etcd.wire import Event, Header, RangeResult
from kv_trio.state.entry import Entry


class RangeState:
    """The entries of a range as they are known, and up to which revision. Pure."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.header = Header("", 0)

    def __repr__(self) -> str:
        return f"<RangeState {len(self.entries)} entries at {self.header.revision}>"

    def is_before(self, header: Header) -> bool:
        """Whether a response comes from the same store, at no earlier a time."""
        mine = self.header
        return header.cluster == mine.cluster and header.revision >= mine.revision

    def take_all(self, found: RangeResult) -> bool:
        """Take the whole range; give whether something is another now."""
        entries = {entry.key: entry for entry in found.entries}
        self.header = found.header
        changed = entries != self.entries
        self.entries = entries
        return changed

    def take_changes(self, found: RangeResult) -> bool | None:
        """Take what is newer than what is known; None if something is missing then."""
        entries = self.entries | {entry.key: entry for entry in found.entries}
        if len(entries) != found.count:
            return None
        self.header = found.header
        changed = entries != self.entries
        self.entries = entries
        return changed

    def take_events(self, header: Header, events: tuple[Event, ...]) -> bool:
        """Take changes in their order; give whether something is another now."""
        changed = False
        for event in events:
            known = self.entries.get(event.key)
            if event.revision <= self.header.revision:
                continue  # the range was read since
            if event.entry is None:
                changed |= self.entries.pop(event.key, None) is not None
            elif event.entry != known:
                self.entries[event.key] = event.entry
                changed = True
        if changed:
            newest = max(event.revision for event in events)
            self.header = Header(header.cluster, max(newest, self.header.revision))
        return changed


class Lines:
    """The lines of what comes in parts."""

    def __init__(self, limit: int) -> None:
        """Begin with nothing; a line has at most `limit` bytes."""
        self._limit = limit
        self._rest = bytearray()

    def __repr__(self) -> str:
        return f"<Lines, {len(self._rest)} bytes of one>"

    def take(self, part: bytes) -> list[bytes]:
        """Give the lines that a part ends.

        Raises:
            UnexpectedResponse: one is too long.
        """
        self._rest += part
        lines: list[bytes] = []
        if b"\n" in part:
            *found, rest = self._rest.split(b"\n")
            lines = [bytes(line) for line in found if line.strip()]
            self._rest = rest
        if len(self._rest) > self._limit:
            raise UnexpectedResponse(
                f"a line of the watch is longer than {self._limit} bytes, the limit"
            )
        return lines
