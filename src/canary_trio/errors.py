"""What can go wrong with the proxy, named by condition."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import attrs

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Give text that may be printed, whoever wrote it: one line, no escape sequences.

    >>> print(printable("a\\x1b[2Jb"))
    a\\x1b[2Jb
    """
    return _UNPRINTABLE.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


class CanaryError(Exception):
    """The root of the errors of this package."""


@attrs.frozen
class Problem:
    """One fault of a document; it may be printed as it is.

    Attributes:
        path: where, such as `$.arms.canary.servers[0]`.
        found: what stands there.
        expected: what may stand there.
    """

    path: str = attrs.field(converter=printable)
    found: str = attrs.field(converter=printable)
    expected: str = attrs.field(converter=printable)

    def __str__(self) -> str:
        """Give the problem as one line."""
        return f"{self.path}: found {self.found}, expected {self.expected}"


class InvalidConfig(CanaryError):
    """A document is not valid. Its writer's fault; `problems` has all of its faults."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class BadAssignment(CanaryError):
    """A change such as `ratio=0.25` cannot be read, or names nothing in the document."""


class BadNote(CanaryError):
    """What a change is to be noted with is too long, or no text. Its writer's fault."""


class WrittenMeanwhile(CanaryError):
    """Another writer changed the document first. Nothing of ours is written; try again.

    Attributes:
        revision: the one that is there now.
        who: who made it, when and why, in words; empty if that is not known.
        summary: what is different from the revision that ours was made of, in words, as far
            as that is known.
    """

    def __init__(
        self, service: str, revision: int, who: str = "", summary: Sequence[str] = ()
    ) -> None:
        made = f"revision {revision} {who}".strip()
        changed = f", which changed {'; '.join(summary)}" if summary else ""
        super().__init__(
            printable(
                f"{service}: another writer was first: {made}{changed}; nothing was"
                " written; look at what is there and try again"
            )
        )
        self.revision = revision
        self.who = who
        self.summary = tuple(summary)


class NoRevision(CanaryError):
    """A revision is asked for that is not kept, or never was. Its asker's fault.

    Attributes:
        revision: that was asked for.
        kept: those that there are, the newest first.
    """

    def __init__(self, service: str, revision: int, kept: Sequence[int]) -> None:
        shown = ", ".join(map(str, kept[:20])) + (", ..." if len(kept) > 20 else "")
        super().__init__(
            f"{service}: revision {revision} is not kept; there are {shown or 'none'}"
        )
        self.revision = revision
        self.kept = tuple(kept)


class MissingExtra(CanaryError):
    """What is asked for needs a package that is not installed. The operator's to add."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an extra that is not installed: pip install"
            f" 'canary-trio[{extra}]'"
        )


class NothingToUndo(CanaryError):
    """The change before the first that is kept is to be taken back. Its asker's fault."""

    def __init__(
        self, service: str, revision: int, *, is_deleted: bool = False
    ) -> None:
        if is_deleted:
            super().__init__(
                f"{service}: the document was deleted past these commands, so there is no"
                f" change to undo; revision {revision} was the last: canary rollback"
                f" {service} {revision}"
            )
            return
        super().__init__(
            f"{service}: nothing is kept of before revision {revision}, so it cannot be undone"
        )


class TooLargeTogether(CanaryError):
    """A document is too large to be written together with something else."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"found a document of {size} bytes, expected at most about {limit}, for what must"
            " be written together with it; nothing was written"
        )


class NothingPending(CanaryError):
    """No change waits to be confirmed, or not any more. The fault of who was late."""


class CannotConfirm(CanaryError):
    """A change cannot be one that has to be confirmed. The fault of who makes it."""


class RolloutRefused(CanaryError):
    """A rollout cannot do in its phase what it is told; it says what can be done."""


class CannotServe(CanaryError):
    """A proxy cannot serve as it was started, and another try would end as this one."""


class BadSource(CannotServe):
    """A URL names no source, or none that will do. The fault of who wrote it."""


class WrongServer(CannotServe):
    """Behind a source's address is a server of another kind. The operator's fault."""


class AdminExposed(CannotServe):
    """Others could ask an admin listener, and nothing says who may. The operator's fault."""


class NameTaken(CannotServe):
    """A proxy of this name is alive. The operator's fault: give each its own name."""


class BadPasswords(CanaryError):
    """A file of users cannot be used. The operator's fault; what was read before stays.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(f"{printable(os.fspath(path))}: {why}")
        self.path = os.fspath(path)


class NoDocument(CanaryError):
    """The store holds no document for a service."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"no document for service {service!r}; write one with: canary apply"
            f" {service} FILE"
        )


class BadToken(CanaryError):
    """A file that is to hold a token, or tokens, cannot be used. The operator's fault."""
