"""Which arm a request gets, and why. Compiled once per revision, pure.

A `Routes` is a configuration made ready: everything that does not depend on the
request is computed here. What outlives it (the sequence's debts) is handed in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from canary_trio import session
from canary_trio.cohort import Ranges, bucket, salt_of
from canary_trio.config import Config, Style
from canary_trio.split import Sequence, random_arm


class Reason(enum.StrEnum):
    """Why a request got its arm; a string, since those hash ten times as fast."""

    RULE = "rule"
    RATIO = "ratio"
    STICKY = "sticky"
    HASH = "hash"
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
        cookie: the value of a Set-Cookie field for a user without a key.
        rule: the name of the rule that decided, if one did.
    """

    arm: str
    reason: Reason
    cookie: bytes | None = None
    rule: str | None = None


@attrs.frozen
class Chance:
    """Where chance comes from: the machine, or a test."""

    uniform: Callable[[], float]
    bytes: Callable[[int], bytes]


class Routes:
    """The routing of one revision."""

    def __init__(self, config: Config, *, service: str, secret: bytes) -> None:
        self.config = config
        self._shares = config.ratio
        self._ranges = Ranges.of(config.ratio)
        self._secret = secret
        self._sticky = config.sticky_sessions
        self._epoch = self._sticky.epoch if self._sticky else 0
        self._salt = salt_of(service, self._epoch)
        self._is_random = config.style is Style.RANDOM

    def __repr__(self) -> str:
        return f"<Routes {dict(self._shares)}>"

    @property
    def sticky_cookie(self) -> str | None:
        """The name of the cookie that keeps users on their arm, if any does."""
        return self._sticky.key.name if self._sticky else None

    def choose(
        self, cookies: bytes | None, sequence: Sequence, chance: Chance, *, secure: bool
    ) -> Decision:
        """Choose an arm.

        Args:
            cookies: the request's Cookie field; looked at only if users are sticky.
            sequence: the exact split, which outlives this revision.
            chance: for `random`, and for new users' keys.
            secure: whether the client came over TLS.
        """
        sticky = self._sticky
        if sticky is None:
            arm = (
                random_arm(self._shares, chance.uniform())
                if self._is_random
                else sequence.next(self._shares)
            )
            return Decision(arm, Reason.RATIO)
        value = session.cookie_value(cookies, sticky.key.name) if cookies else None
        key = session.verify(self._secret, self._epoch, value) if value else None
        if key is not None:
            return Decision(self._arm_of(key), Reason.STICKY)
        minted = session.mint(self._secret, self._epoch, chance.bytes)
        key = session.verify(self._secret, self._epoch, minted)
        assert key is not None, "we have just signed it"
        cookie = session.set_cookie(sticky.key.name, minted, secure=secure)
        return Decision(self._arm_of(key), Reason.RATIO, cookie)

    def _arm_of(self, key: bytes) -> str:
        return self._ranges.arm_of(bucket(key, self._salt))
