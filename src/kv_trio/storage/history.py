"""The history: the states that keys had, read from the database, and forgotten.

It is bounded by count (per key) and by age. It is known what was forgotten: for all
keys the time up to `compacted`, and for a key that was trimmed the time up to its
oldest revision that is left. So a read of that time raises `Compacted`,
never by a wrong value. This is looked up after the revisions were read, since some may
be forgotten meanwhile. The last state of a key is never forgotten.
"""

from __future__ import annotations

import sqlite3
import threading

import attrs

from kv_trio.errors import BadQuery, Compacted, StoreDamaged
from kv_trio.limits import StoreLimits
from kv_trio.state.entry import Entry, Revision
from kv_trio.storage.database import set_meta
from kv_trio.storage.journal import REVISIONS
from kv_trio.storage.schema import REVISION, Row, read_revision

_IS_LATEST = "key = k AND modify_index = m"


@attrs.frozen
class Bounds:
    """How much of the past is kept.

    Attributes:
        count: revisions of a key; 1 or more. A few more may be kept for a while.
        age_s: seconds after which a state that was replaced is forgotten.
    """

    count: int = 100
    age_s: float = 30 * 24 * 3600.0


class History:
    """The revisions in a database.

    Its methods wait for a disk, and may be called from any thread. Those that give
    revisions or entries raise `BadQuery` for more of them than the limits let.

    Attributes:
        limits: of what one call gives.
    """

    def __init__(self, reader: sqlite3.Connection, *, owned: bool) -> None:
        self.limits = StoreLimits()
        self._reader = reader
        self._owned = owned
        self._reading = threading.Lock()

    def __repr__(self) -> str:
        return "<History>"

    def close(self) -> None:
        """Close the connection, if it is the history's own."""
        if self._owned:
            self._reader.close()

    # === reading ===

    def of(self, key: bytes, *, until: int, limit: int) -> list[Revision]:
        """Give the revisions of a key up to an index, the newest first."""
        return self._revisions(
            f"SELECT {REVISION} FROM {REVISIONS} WHERE key = ? AND modify_index <= ?"
            " ORDER BY modify_index DESC LIMIT ?",
            (key, until, limit),
        )

    def at(self, key: bytes, index: int) -> Entry | None:
        """Give what a key was when the store was at an index; None if it was absent.

        Raises:
            Compacted: that is forgotten.
        """
        revisions = self.of(key, until=index, limit=1)
        self._check_kept(index, self._trimmed_of(key))
        return revisions[0].entry if revisions else None

    def oldest_of(self, key: bytes) -> int:
        """Give the index from which on the past of a key is known."""
        return self._oldest(self._trimmed_of(key))

    def under_at(self, prefix: bytes, index: int) -> list[Entry]:
        """Give what the keys with a prefix were at an index, sorted by key.

        Raises:
            Compacted: that is forgotten of at least one of them.
        """
        under, bounds = _under(prefix)
        found = self._revisions(
            "WITH latest AS (SELECT key AS k, max(modify_index) AS m FROM"
            f" {REVISIONS} WHERE {under} AND modify_index <= ? GROUP BY key)"
            f" SELECT {REVISION} FROM history JOIN latest ON {_IS_LATEST} UNION ALL"
            f" SELECT {REVISION} FROM journal JOIN latest ON {_IS_LATEST} ORDER BY key",
            (*bounds, index),
        )
        trimmed = self._read_number(f"SELECT max(at) FROM trims WHERE {under}", bounds)
        self._check_kept(index, trimmed)
        return [revision.entry for revision in found if revision.entry is not None]

    def since(
        self, key: bytes, *, recurse: bool, after: int, until: int
    ) -> list[Revision]:
        """Give what a key, or the keys with a prefix, became after an index, in order.

        What was trimmed is left out; the last state of each is always there.

        Raises:
            Compacted: some of it is forgotten.
        """
        under, bounds = _under(key) if recurse else ("key = ?", (key,))
        found = self._revisions(
            f"SELECT {REVISION} FROM {REVISIONS} WHERE {under} AND modify_index > ?"
            " AND modify_index <= ? ORDER BY modify_index, key",
            (*bounds, after, until),
        )
        self._check_kept(after, None)
        return found

    def last_before(self, time_ms: int) -> int:
        """Give the index of the last filed revision before a time; 0 if none is."""
        query = "SELECT max(modify_index) FROM history WHERE time_ms < ?"
        return self._read_number(query, (time_ms,)) or 0

    def replaced_by(self, index: int) -> list[Row]:
        """Give the keys and indexes of the revisions that compaction would forget.

        A state that still held at that index is not among them: it is the state then.
        All up to there must be filed.
        """
        with self._reading:
            return self._reader.execute(
                "SELECT key, modify_index FROM history AS old WHERE modify_index <= ?1"
                " AND (value IS NULL OR EXISTS (SELECT 1 FROM history AS new"
                " WHERE new.key = old.key AND new.modify_index > old.modify_index"
                " AND new.modify_index <= ?1))",
                (index,),
            ).fetchall()

    # === forgetting, on the connection that writes ===

    def trim(self, db: sqlite3.Connection, key: bytes, count: int) -> None:
        """Forget the oldest revisions of a key, beyond a count."""
        oldest = db.execute(
            "SELECT modify_index FROM history WHERE key = ? ORDER BY modify_index DESC"
            " LIMIT 1 OFFSET ?",
            (key, count - 1),
        ).fetchone()
        if oldest is None:
            return
        gone = db.execute(
            "DELETE FROM history WHERE key = ? AND modify_index < ?", (key, *oldest)
        )
        if gone.rowcount:
            db.execute("INSERT OR REPLACE INTO trims VALUES (?, ?)", (key, *oldest))

    def begin_compaction(self, index: int, db: sqlite3.Connection) -> None:
        """Note that the time before an index is forgotten, before it is."""
        set_meta(db, "compacted", max(index, self._compacted()))
        db.execute("DELETE FROM trims WHERE at <= ?", (index,))

    def forget(self, revisions: list[Row], db: sqlite3.Connection) -> None:
        """Remove revisions."""
        db.executemany(
            "DELETE FROM history WHERE key = ? AND modify_index = ?", revisions
        )

    # === private ===

    def _trimmed_of(self, key: bytes) -> int | None:
        """Give the index of the oldest revision of a key that was trimmed."""
        return self._read_number("SELECT max(at) FROM trims WHERE key = ?", (key,))

    def _check_kept(self, index: int, trimmed: int | None) -> None:
        """Raise `Compacted` if something of the time since an index is forgotten."""
        oldest = self._oldest(trimmed)
        if index < oldest:
            raise Compacted(index, oldest)

    def _oldest(self, trimmed: int | None) -> int:
        return max(self._compacted(), trimmed or 0)

    def _compacted(self) -> int:
        return (
            self._read_number("SELECT value FROM meta WHERE name = 'compacted'", ())
            or 0
        )

    def _read_number(self, query: str, values: Row) -> int | None:
        with self._reading:
            row: tuple[int | None] | None = self._reader.execute(
                query, values
            ).fetchone()
        return row[0] if row else None

    def _revisions(self, query: str, values: Row) -> list[Revision]:
        found: list[Revision] = []
        size = 0
        try:
            with self._reading:
                for row in self._reader.execute(query, values):
                    found.append(read_revision(row))
                    size += len(row[1] or b"")
                    if len(found) > self.limits.listing_entries:
                        raise self._too_large(f"{len(found)} states", "listing_entries")
                    if size > self.limits.listing_bytes:
                        raise self._too_large(f"{size} bytes", "listing_bytes")
        except (ValueError, sqlite3.DatabaseError) as exc:
            raise StoreDamaged(f"the history cannot be read: {exc}") from exc
        return found

    def _too_large(self, found: str, name: str) -> BadQuery:
        limit = getattr(self.limits, name)
        return BadQuery(
            413,
            f"{found} of the past or more, and one request reads {limit} at most; ask"
            f" for fewer by limit=, narrow the prefix, or raise the store's limit:"
            f" --limit {name}=NUMBER",
        )


def _under(prefix: bytes) -> tuple[str, Row]:
    """Give a condition on keys with a prefix: from it up to the first beyond it."""
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return "key >= ?", (prefix,)
    return "key >= ? AND key < ?", (prefix, stem[:-1] + bytes([stem[-1] + 1]))
