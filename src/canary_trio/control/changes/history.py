"""The history of a document: who made each revision, when and why. Pure.

A change is noted in the same transaction that writes the document, so the index of the note
is the revision that it made. One that is noted later names its revision: a document that was
written past us is noted by the next one who writes.

Notes are small and are read all at once; what a document was is beside them, by the same id,
and is read alone. An id begins with the time, so ids sort as they were made. One file, since
what a note holds, how it is read back and which of them are cleared are one format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

import attrs

from canary_trio.config.policies import KeptHistory
from canary_trio.control.changes.difference import Difference
from canary_trio.control.store_keys import changes_prefix
from canary_trio.errors import BadNote

LEAST = 5
"""Revisions that are kept however old they are."""

CLEARED = 16
"""Revisions that one write clears at most; the next one goes on."""

AUTHOR_LENGTH = 128
"""Characters of an author at most."""

MESSAGE_LENGTH = 1024
"""Characters of a message at most."""

SUMMARY = 8
"""Differences that a note names; of the others it has the number."""

UNFINISHED = b'{"unfinished": true}'
"""What stands in the place of a note while its document is copied ahead of it."""

_ID = re.compile(r"\d{13}-[0-9a-f]{4}\Z")
_WORDS = 200  # characters of a difference in a note


class Stored(Protocol):
    """A note as a store has it: an entry."""

    @property
    def key(self) -> bytes:
        """Of the note; its last part is the id of the change."""

    @property
    def value(self) -> bytes:
        """What was noted."""

    @property
    def modify_index(self) -> int:
        """The revision at which it was written."""


@attrs.frozen
class Note:
    """What a change is noted with.

    Attributes:
        author: who makes it.
        message: why.
        copy_of: the revision whose content it takes, if it is one's.
        undoes: the revision that it takes back, if it does.
    """

    author: str = attrs.field()
    message: str = attrs.field(default="")
    copy_of: int = attrs.field(default=0, kw_only=True)
    undoes: int = attrs.field(default=0, kw_only=True)

    @author.validator
    def _check_author(self, _: object, value: str) -> None:
        _check("author", value.strip(), AUTHOR_LENGTH)
        if not value.strip():
            raise BadNote("found an empty author, expected who makes the change")

    @message.validator
    def _check_message(self, _: object, value: str) -> None:
        _check("message", value, MESSAGE_LENGTH)


def _check(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise BadNote(f"found {len(text)} characters of {what}, expected {limit}")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise BadNote(f"found half a character in the {what}, expected UTF-8")


@attrs.frozen
class Change:
    """A revision of a document, and how it came to be.

    Attributes:
        id: by which its document is found; empty where only the store's key has it.
        revision: that it made.
        over: the revision before it; 0 for none.
        author, message: as noted; both are empty where it was written past us.
        at: when it was made; None where nobody knows.
        summary: some of what it changed, in words.
        others: so many more differences.
        copy_of: the revision that it took its content from; 0 for none.
        undoes: the revision that it took back; 0 for none.
        by_hand: whether it was written past us.
        tried: whether it was only tried in place of the one that it is over.
    """

    id: str
    revision: int
    over: int = 0
    author: str = ""
    message: str = ""
    at: datetime | None = None
    summary: tuple[str, ...] = ()
    others: int = 0
    copy_of: int = 0
    undoes: int = 0
    by_hand: bool = False
    tried: bool = False

    @classmethod
    def noted(
        cls,
        id_: str,
        note: Note,
        found: Sequence[Difference],
        *,
        over: int,
        at: datetime,
    ) -> Self:
        """Give a change that is about to be written."""
        return cls(
            id=id_,
            revision=0,
            over=over,
            author=note.author.strip(),
            message=note.message.strip(),
            at=at,
            copy_of=note.copy_of,
            undoes=note.undoes,
        ).with_summary(found)

    def with_summary(self, found: Sequence[Difference]) -> Self:
        """Add what it changes, in short."""
        words = tuple(_cut(one.words) for one in found[:SUMMARY])
        return attrs.evolve(self, summary=words, others=max(0, len(found) - SUMMARY))

    @classmethod
    def load(cls, entry: Stored) -> Self | None:
        """Read a note; None if it is none."""
        id_ = entry.key.decode("utf-8", "replace").rpartition("/")[2]
        try:
            fields = json.loads(entry.value)
            if fields.get("unfinished"):
                return None
            return cls(
                id=id_,
                revision=_number(fields.get("revision", entry.modify_index)),
                over=_number(fields.get("over", 0)),
                author=str(fields.get("author", "")),
                message=str(fields.get("message", "")),
                at=None if fields.get("by_hand") else time_of(id_),
                summary=tuple(map(str, fields.get("changes", ()))),
                others=_number(fields.get("others", 0)),
                copy_of=_number(fields.get("copy_of", 0)),
                undoes=_number(fields.get("undoes", 0)),
                by_hand=bool(fields.get("by_hand", False)),
                tried=bool(fields.get("tried", False)),
            )
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            return None

    def dump(self) -> bytes:
        """Write it; the revision is left out where the store's index says it."""
        fields: dict[str, Any] = {"over": self.over}
        if self.revision:
            fields["revision"] = self.revision
        if self.by_hand:
            fields["by_hand"] = True
        else:
            fields["author"] = self.author
            fields["time"] = "" if self.at is None else show_time(self.at)
            fields["message"] = self.message
        if self.summary:
            fields["changes"] = list(self.summary)
        if self.others:
            fields["others"] = self.others
        if self.copy_of:
            fields["copy_of"] = self.copy_of
        if self.undoes:
            fields["undoes"] = self.undoes
        if self.tried:
            fields["tried"] = True
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")

    @property
    def who(self) -> str:
        """Who made it, when and why, in words."""
        if self.by_hand:
            return "by hand"
        said = f"by {self.author}"
        if self.at is not None:
            said += f" at {show_time(self.at)}"
        return said + (f" ({self.message})" if self.message else "")


@attrs.frozen
class ChangeLog:
    """What is known of the revisions of a document.

    Attributes:
        present: the revision that the document is at; 0 where there is none.
        changes: the newest first. Where the present one is not noted, it is the first
            of them, made by hand.
        keys: of the store, of all notes, the oldest first, also of what is none.
    """

    present: int
    changes: tuple[Change, ...]
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, present: int, entries: Iterable[Stored]) -> Self:
        """Make it of the present revision, and of the notes as the store has them."""
        listed = sorted(entries, key=lambda entry: entry.key)
        found = [change for change in map(Change.load, listed) if change]
        found.sort(key=lambda change: (change.revision, change.id), reverse=True)
        if present and not any(change.revision == present for change in found):
            found.insert(0, Change("", present, by_hand=True))
        keys = tuple(entry.key.decode("utf-8", "replace") for entry in listed)
        return cls(present, tuple(found), keys)

    def find(self, revision: int) -> Change | None:
        """Give the change that made a revision; None if nobody knows of it."""
        for change in self.changes:
            if change.revision == revision:
                return change
        return None

    def before(self, revision: int) -> Change | None:
        """Give the change whose document a revision replaced, as far as that is known."""
        change = self.find(revision)
        if change is not None and change.over:
            return self.find(change.over)
        past = (one for one in self.changes if one.revision < revision)
        return next((one for one in past if not one.tried), None)

    def to_undo(self) -> tuple[Change | None, Change | None]:
        """Give the last change that is in effect, and the one that was before it.

        One that was undone is in effect no more, and an undo itself is none; so one undo
        after the other goes back step by step.
        """
        change = self.find(self.present)
        while change is not None and change.undoes:
            change = self.find(change.copy_of)
        return change, None if change is None else self.before(change.revision)

    def to_clear(
        self,
        service: str,
        now: datetime,
        bounds: KeptHistory,
    ) -> tuple[str, ...]:
        """Give the ids that a write clears, which adds one: the oldest beyond the bounds."""
        prefix = changes_prefix(service)
        ids = [key.removeprefix(prefix) for key in self.keys]
        ids = [id_ for id_ in ids if _ID.match(id_)]
        kept = max(bounds.revisions, 1) - 1
        oldest = now - timedelta(days=bounds.days)
        count = 0
        for number, id_ in enumerate(ids):
            left = len(ids) - number
            at = time_of(id_)
            is_old = at is not None and at < oldest and left >= LEAST
            if left <= kept and not is_old:
                break
            count += 1
        return tuple(ids[: min(count, CLEARED)])


def make_id(now: datetime, draw: int) -> str:
    """Give the id of a change: its time, and 16 bits by chance.

    >>> make_id(datetime(2026, 1, 1, tzinfo=UTC), 255)
    '1767225600000-00ff'
    """
    return f"{round(now.timestamp() * 1000):013d}-{draw & 0xFFFF:04x}"


def time_of(id_: str) -> datetime | None:
    """Give the time that an id begins with; None if it is no id."""
    if not _ID.match(id_):
        return None
    try:
        return datetime.fromtimestamp(int(id_[:13]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def show_time(at: datetime) -> str:
    """Write a time as history shows it: to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"found {value!r}, expected a number")
    return value


def _cut(words: str) -> str:
    return words if len(words) <= _WORDS else words[: _WORDS - 3] + "..."
