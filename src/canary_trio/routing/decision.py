"""What a request is given, and why, as values; and where chance comes from. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

UNITS = 1 << 16
"""By how many numbers users are told apart where they are counted."""


class Reason(enum.StrEnum):
    """Why a request got its arm; a string, since those hash ten times as fast."""

    RULE = "rule"
    STICKY = "sticky"
    HASH = "hash"
    RATIO = "ratio"
    FALLBACK = "fallback"
    """The chosen arm had no usable server."""

    RETRY = "retry"
    """The chosen arm had failed it."""


@attrs.frozen
class Decision:
    """An arm for a request.

    Attributes:
        arm: its name.
        reason: why.
        rule: the name of the rule, if one decided.
        cookie: the value of a Set-Cookie field for a user without a key.
        key: of the server inside the arm: what its `pick` takes. The user's, or with
            balance `hash` that of the arm's `hash_by`, unless users are sticky to
            servers; None if there is none.
        bucket: of the user, from 0 to 9,999; None where no key was asked for.
        user: its key, where `key` is another; empty where it is not.
        unit: tells a user who came with a key from others, from 0 to `UNITS` - 1; below
            for whom nobody is told from. It is the same in one process only.
    """

    arm: str
    reason: Reason
    rule: str | None = None
    cookie: bytes | None = None
    key: bytes | None = None
    bucket: int | None = None
    user: bytes = b""
    unit: int = attrs.field(default=-1, eq=False, repr=False)

    def __str__(self) -> str:
        """Give the reason as a word, such as `rule:beta` or `sticky`."""
        return f"rule:{self.rule}" if self.rule is not None else self.reason.value


@attrs.frozen
class Chance:
    """Where chance comes from: the machine, or a test."""

    uniform: Callable[[], float]
    bytes: Callable[[int], bytes]
