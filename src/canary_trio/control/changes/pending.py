"""A change that is not for good yet: what stands in the store of it. Pure.

    set --confirm-within --> waits --> confirmed: the key goes
                              |  \\--> replaced by another write: the key goes with it
                              +-----> in time nobody did: the former document is written

Or another document is tried: some proxies run it while the rest stay at the present one, or
all of them run it for a share of the users, until it is confirmed, and so written as the
document, or its time is over.

A service has one pending change at most. It is written in the same transaction as the
document that it is about, so the two keys have one index: where they have not, somebody
wrote the document past us, and nothing is waited for any more. The document that it goes
back to is in it whole, since history is bounded and this must not be.

The times in it are the operator's. What a proxy makes of them is bounded on both sides by
what it has seen itself (`due_in_s`), since nobody's clock is sure to be right. One file, since
all of it is one value, and how that is written, read and said.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any, Self

import attrs

from canary_trio.errors import printable

LEAST_WITHIN_S = 1.0
"""The shortest time in which a change may have to be confirmed."""

MOST_WITHIN_S = 7 * 86400.0
"""The longest."""

GRACE_S = 10.0
"""For so long a proxy takes nothing back that it has not seen coming: its clock may be wrong."""

_WHOLE = 10_000  # as of a ratio
_LATEST = 2**53  # milliseconds that every reader of JSON takes as they are


class PendingKind(enum.StrEnum):
    """What is not for good yet."""

    CONFIRM = "confirm"
    """The document itself, which goes back to a former one."""

    TRIAL = "trial"
    """Another document, which some proxies run meanwhile, or all for a share of the users."""


@attrs.frozen
class PendingChange:
    """A change that goes back by itself unless it is confirmed.

    Attributes:
        kind: what is not for good.
        document: the text of the document that it goes back to; or that is tried.
        revision: of the document that it goes back to, which is the present one where
            another one is tried.
        author: who made the change.
        message: why.
        at: when, in milliseconds since 1970 by the author's clock.
        until: when it goes back, by the same clock.
        index: the revision that is to be confirmed; 0 while it is not written.
        proxies: that try it; of a trial by some.
        share: of the users that try it on every proxy, in ten-thousandths; 0 where proxies do.
        judged: whether it goes back where a judge finds it worse than the present one.
        carried: how often it was taken along to another revision.
    """

    document: str = attrs.field(repr=False)
    revision: int
    author: str = attrs.field(converter=printable)
    message: str = attrs.field(converter=printable)
    at: int
    until: int
    index: int = 0
    kind: PendingKind = PendingKind.CONFIRM
    proxies: tuple[str, ...] = ()
    share: int = 0
    judged: bool = False
    carried: int = 0

    @classmethod
    def load(cls, value: bytes, index: int) -> Self | None:
        """Read one; None if it is none.

        Args:
            value: of the key.
            index: of its last change.
        """
        try:
            shown: dict[str, Any] = json.loads(value)
            kind = PendingKind(shown["kind"])
            is_trial = kind is PendingKind.TRIAL
            held = shown["trial" if is_trial else "back_to"]
            return cls(
                kind=kind,
                proxies=tuple(map(_text, held["proxies"])) if is_trial else (),
                share=_share(held.get("share", 0)) if is_trial else 0,
                judged=held.get("judged") is True,
                document=_text(held["document"]),
                revision=_number(held["over" if is_trial else "revision"]),
                author=_text(shown["author"]),
                message=_text(shown["message"]),
                at=_number(shown["at"]),
                until=_number(shown["until"]),
                carried=_number(shown.get("carried", 0)),
                index=index,
            )
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None

    def dump(self) -> bytes:
        """Write it; its index is the store's."""
        shown: dict[str, Any] = {
            "kind": self.kind.value,
            "at": self.at,
            "until": self.until,
            "author": self.author,
            "message": self.message,
        }
        if self.carried:
            shown["carried"] = self.carried
        if self.is_trial:
            shown["trial"] = {
                "over": self.revision,
                "proxies": list(self.proxies),
                **({"share": self.share / _WHOLE} if self.share else {}),
                **({"judged": True} if self.judged else {}),
                "document": self.document,
            }
        else:
            shown["back_to"] = {"revision": self.revision, "document": self.document}
        return json.dumps(shown, ensure_ascii=False).encode()

    @property
    def is_trial(self) -> bool:
        """Whether it is another document that some proxies try."""
        return self.kind is PendingKind.TRIAL

    @property
    def period_s(self) -> float:
        """How long it is waited for, within what may be asked."""
        return min(MOST_WITHIN_S, max(LEAST_WITHIN_S, (self.until - self.at) / 1000))

    def holds(self, revision: int) -> bool:
        """Tell whether it is about a document of this revision."""
        return revision == (self.revision if self.is_trial else self.index)

    def left_s(self, now_ms: int) -> float:
        """Give the seconds that are left, by a clock that may not be the author's."""
        return min(self.period_s, max(0.0, (self.until - now_ms) / 1000))

    def due_in_s(self, now_ms: int, *, came: bool) -> float:
        """Give the seconds after which a proxy that sees it now takes it back.

        Who sees it come waits for the whole period, and needs no clock. Who finds it there,
        since it has only begun, goes by its clock: never sooner than `GRACE_S` after that,
        or the period if it is shorter, and never later than the whole period.

        Args:
            now_ms: the time, by the proxy's clock.
            came: whether it was not there when the proxy looked before.
        """
        if came:
            return self.period_s
        return max(self.left_s(now_ms), min(GRACE_S, self.period_s))

    def shown(self, now_ms: int) -> dict[str, Any]:
        """Give what is told of it, as a value of JSON."""
        return {
            "kind": self.kind.value,
            "revision": self.index,
            "back_to": self.revision,
            "author": self.author,
            "message": self.message,
            "left_s": round(self.left_s(now_ms), 1),
            **({"proxies": list(self.proxies)} if self.is_trial else {}),
            **({"share": self.share / _WHOLE} if self.share else {}),
            **({"judged": True} if self.judged else {}),
        }

    @property
    def who(self) -> str:
        """Who tries it, in words."""
        return who_tries(self.shown(0))


def words_of(service: str, shown: dict[str, Any]) -> str:
    """Say what is told of a pending change."""
    why = f" ({shown['message']})" if shown["message"] else ""
    tried = f", tried by {who_tries(shown)}," if "proxies" in shown else ""
    return (
        f"revision {shown['revision']} by {shown['author']}{why}{tried} goes back to"
        f" revision {shown['back_to']} {in_time(shown['left_s'])} unless it is confirmed:"
        f" canary confirm {service}"
    )


def who_tries(shown: dict[str, Any]) -> str:
    """Say who tries a document, of what is told of it.

    >>> who_tries({"proxies": ["a", "b"]}), who_tries({"proxies": [], "share": 0.005})
    ('a, b', '0.5% of users')
    """
    share = shown.get("share", 0)
    return f"{share * 100:g}% of users" if share else ", ".join(shown["proxies"])


def chosen_of(service: str, proxies: Iterable[str], count: int) -> tuple[str, ...]:
    """Choose so many proxies to try something: always the same ones of the same fleet.

    >>> chosen_of("web", ["a", "b", "c"], 2) == chosen_of("web", ["c", "b", "a"], 2)
    True
    """

    def order(name: str) -> bytes:
        return hashlib.blake2b(f"{service}/{name}".encode(), digest_size=8).digest()

    return tuple(sorted(sorted(set(proxies), key=order)[:count]))


def in_time(left_s: float) -> str:
    """Say a countdown.

    >>> in_time(42.3), in_time(0.0), in_time(7200.0), in_time(90.0)
    ('in 42 s', 'now', 'in 2 h 0 min', 'in 1 min 30 s')
    """
    left = math.ceil(left_s) if left_s < 1 else round(left_s)
    if left <= 0:
        return "now"
    hours, minutes, seconds = left // 3600, left // 60 % 60, left % 60
    if hours:
        return f"in {hours} h {minutes} min"
    return f"in {minutes} min {seconds} s" if minutes else f"in {seconds} s"


def _share(value: object) -> int:
    if isinstance(value, int | float) and 0 <= value < 1:
        return round(value * _WHOLE)
    raise ValueError("no share")


def _number(value: object) -> int:
    if type(value) is int and 0 <= value < _LATEST:
        return value
    raise ValueError("no number")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("no text")
