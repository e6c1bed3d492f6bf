"""The fleet's secret, which signs cookies: its form in the store, and what is none. Pure.

The newest secret is in the first line; below it are those that it replaces, each with the
time until which its cookies are taken. All proxies read the same lines, so they agree on
who signs and who is believed, by the time of day alone:

    <base64> from 2026-05-01T12:01:00Z          signs from then on, verifies at once
    <base64> until 2026-05-31T12:01:00Z         signs until then, verifies for longer

A line without times signs and verifies always; so one secret in base64 is a whole document.
A secret that is new to some proxies must not sign yet, or they would take its users for
strangers: hence the lead before it does.

Who knows a secret can make a cookie for any user, so one that could be guessed is refused,
with words that say what to do; the secret itself is in none of them.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs

from canary_trio.errors import CanaryError

SECRET_BYTES = 32
"""Of a secret that a proxy makes."""

LEAST_SECRET_BYTES = 16
"""Of a secret that is taken: 128 bits are not guessed."""

MOST_SECRETS = 8
"""Lines: each costs the check of a stranger's cookie half a microsecond."""

LEAD = timedelta(minutes=1)
"""How long a new secret is known before it signs."""

_TEXT_LIMIT = 16 * 1024  # bytes of all lines


class BadSecret(CanaryError, ValueError):
    """What stands in the place of the secret is none that can be used; says why."""


@attrs.frozen
class Secret:
    """One secret.

    Attributes:
        value: its bytes.
        signs_from: when it begins to sign; None for always.
        until: when its cookies are not taken any more; None for never.
    """

    value: bytes = attrs.field(repr=False)
    signs_from: datetime | None = None
    until: datetime | None = None


@attrs.frozen
class FleetSecret:
    """All secrets that a fleet has, the newest first; at least one."""

    secrets: tuple[Secret, ...]

    @classmethod
    def draw(cls) -> FleetSecret:
        """Draw the first secret of a fleet."""
        return cls((Secret(secrets.token_bytes(SECRET_BYTES)),))

    @classmethod
    def load(cls, text: bytes) -> FleetSecret:
        """Read what stands in the store.

        Raises:
            BadSecret: it is not what this class dumps.
        """
        if len(text) > _TEXT_LIMIT:
            raise BadSecret(f"it has {len(text)} bytes, expected at most {_TEXT_LIMIT}")
        lines = [line.split() for line in text.split(b"\n") if line.strip()]
        if not lines:
            raise BadSecret("it is empty")
        if len(lines) > MOST_SECRETS:
            raise BadSecret(
                f"it has {len(lines)} lines, expected at most {MOST_SECRETS}"
            )
        found = tuple(_read_line(line, at) for at, line in enumerate(lines, 1))
        if found[0].until is not None:
            raise BadSecret("its first line ends: nothing would sign after that")
        return cls(found)

    def dump(self) -> bytes:
        """Give what stands in the store: one secret a line, without a last line's end."""
        return b"\n".join(b" ".join(_words(secret)) for secret in self.secrets)

    def at(self, now: datetime) -> tuple[bytes, ...]:
        """Give the secrets that verify at a time; the first of them signs."""
        valid = [one for one in self.secrets if one.until is None or one.until > now]
        signing = next(
            (one for one in valid if one.signs_from is None or one.signs_from <= now),
            valid[-1],
        )
        others = [one.value for one in valid if one is not signing]
        return (signing.value, *others)

    def next_change(self, now: datetime) -> datetime | None:
        """Give the next time at which `at` may give something else; None for never."""
        times = [t for one in self.secrets for t in (one.signs_from, one.until) if t]
        return min((time for time in times if time > now), default=None)

    def rotated(self, now: datetime, old_for: timedelta) -> FleetSecret:
        """Give the secrets with a new one in front.

        Args:
            now: the time.
            old_for: how long cookies of the old ones are taken after the new one signs;
                with none they are not from now on, and the new one signs at once.

        Raises:
            BadSecret: there are too many that verify still.
        """
        value = secrets.token_bytes(SECRET_BYTES)
        if not old_for:
            return FleetSecret((Secret(value),))
        now = now.replace(microsecond=0)
        signs_from = now + LEAD
        until = signs_from + old_for
        old = [
            attrs.evolve(one, until=min(one.until or until, until))
            for one in self.secrets
            if one.until is None or one.until > now
        ]
        if len(old) >= MOST_SECRETS:
            ends = min(one.until or until for one in old)
            raise BadSecret(
                f"{len(old)} secrets verify still, which is the most that can;"
                f" the first of them does until {_time_text(ends)}"
            )
        return FleetSecret((Secret(value, signs_from), *old))


def check_secret(secret: bytes) -> bytes:
    """Give a secret back if it is long enough.

    Raises:
        BadSecret: it is not.
    """
    if len(secret) < LEAST_SECRET_BYTES:
        raise BadSecret(
            f"it has {len(secret)} bytes, expected at least {LEAST_SECRET_BYTES}"
        )
    return secret


def _read_line(words: list[bytes], number: int) -> Secret:
    try:
        value = check_secret(base64.b64decode(words[0], validate=True))
    except binascii.Error as exc:
        raise BadSecret(
            f"line {number} does not begin with base64; delete the key, and the fleet's"
            " secret is written back, or a new one made"
        ) from exc
    times: dict[bytes, datetime] = {}
    names, texts = words[1::2], words[2::2]
    if len(names) != len(texts) or not {*names} <= {b"from", b"until"}:
        raise BadSecret(
            f"line {number} goes on with something else than `from TIME` and `until TIME`"
        )
    for name, text in zip(names, texts, strict=True):
        times[name] = _read_time(text, number)
    return Secret(value, times.get(b"from"), times.get(b"until"))


def _read_time(text: bytes, number: int) -> datetime:
    try:
        time = datetime.fromisoformat(text.decode("ascii"))
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadSecret(
        f"line {number} has something else than a time such as 2026-05-01T12:00:00Z"
    )


def _words(secret: Secret) -> Iterator[bytes]:
    yield base64.b64encode(secret.value)
    for name, time in ((b"from", secret.signs_from), (b"until", secret.until)):
        if time is not None:
            yield from (name, _time_text(time).encode())


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
