"""Sessions of browsers at an admin listener: by a cookie that no page of another site gets.

A session begins with a token, or with a login that holds once and that somebody with a token
made (`canary console`). It is worth what its token, or its certificate, is worth now: where
the file of roles grants nothing any more, the session grants nothing. What is kept of a secret
is its hash. Sessions live in this process, end with it, and after `SESSION_S`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import deque
from collections.abc import Callable

import attrs

from canary_trio.admin.asking.tokens import AdminRole, Caller, Roles

SESSION_S = 12 * 3600.0
"""How long a session lasts, in seconds."""

LOGIN_S = 120.0
"""How long a one-time login holds, in seconds."""

SESSIONS = 1000
"""That are kept at most; the oldest end."""

LOGINS = 100
"""One-time logins that are kept at most; the oldest end."""

FAILURES = 20
"""Logins of one address that may fail within `FAILURES_S`; beyond it none from there is tried."""

FAILURES_S = 10.0
"""In seconds."""

ADDRESSES = 1000
"""Whose failures are kept at most; those of the oldest are forgotten."""

COOKIE, SECURE_COOKIE = b"canary", b"__Host-canary"
"""How the name of the cookie begins: over plain HTTP, and over TLS (RFC 6265bis, 4.1.3.2)."""

_PORT = re.compile(rb":([0-9]{1,5})\Z")


@attrs.frozen
class Grant:
    """What a session is made of.

    Attributes:
        digest: of the secret of a token; empty for a certificate.
        subject: of a certificate; empty for a token.
        until: when it ends, by the clock of `Sessions`.
    """

    digest: bytes = attrs.field(repr=False)
    subject: str
    until: float = 0.0

    def caller(self, roles: Roles) -> Caller | None:
        """Give who that is now; None if the file grants nothing any more."""
        if self.subject:
            role = roles.certificates.get(self.subject, AdminRole.READ)
            return Caller(self.subject, role, "session")
        found = roles.tokens.get(self.digest)
        return None if found is None else attrs.evolve(found, by="session")


class Sessions:
    """The sessions and one-time logins of one listener."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: dict[bytes, Grant] = {}
        self._logins: dict[bytes, Grant] = {}
        self._failures: dict[str, deque[float]] = {}

    def __repr__(self) -> str:
        return f"<Sessions {len(self._sessions)} logins={len(self._logins)}>"

    def is_tired(self, client: str) -> bool:
        """Tell whether so many logins of an address failed of late that none is tried now."""
        failures = self._failures.get(client)
        if failures is None or len(failures) < FAILURES:
            return False
        return self._clock() - failures[0] < FAILURES_S

    def failed(self, client: str) -> None:
        """Note that a login of an address failed."""
        found = self._failures.pop(client, None) or deque(maxlen=FAILURES)
        found.append(self._clock())
        while len(self._failures) >= ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[client] = found

    def begin(self, grant: Grant) -> tuple[str, float]:
        """Begin a session; give its secret, and when it ends."""
        return _keep(self._sessions, grant, self._clock() + SESSION_S, SESSIONS)

    def find(self, secret: bytes, roles: Roles) -> tuple[Caller, Grant] | None:
        """Give whose a session is; None if there is none, or it grants nothing."""
        key = _hash(secret)
        grant = self._sessions.get(key)
        if grant is None:
            return None
        caller = None if grant.until <= self._clock() else grant.caller(roles)
        if caller is None:
            self._sessions.pop(key, None)
            return None
        return caller, grant

    def end(self, secret: bytes) -> None:
        """End a session, if there is one."""
        self._sessions.pop(_hash(secret), None)

    def new_login(self, grant: Grant) -> tuple[str, float]:
        """Make a login that holds once; give it, and when it ends."""
        return _keep(self._logins, grant, self._clock() + LOGIN_S, LOGINS)

    def redeem(self, login: str) -> Grant | None:
        """Take a login, which holds no more; None if it is none, or came too late."""
        grant = self._logins.pop(_hash(login.encode("utf-8", "replace")), None)
        return None if grant is None or grant.until <= self._clock() else grant


def grant_of(secret: bytes) -> Grant:
    """Give what a session that begins with the secret of a token is made of."""
    return Grant(hashlib.sha256(secret).digest(), "")


def cookie_name(host: bytes | None, *, secure: bool) -> bytes:
    """Give the name of the cookie of a listener: with its port, which cookies do not know.

    So who is logged in at two listeners of one machine stays logged in at both.

    >>> cookie_name(b"[::1]:8081", secure=False), cookie_name(b"a.example", secure=True)
    (b'canary.8081', b'__Host-canary')
    """
    found = _PORT.search(host or b"")
    return (SECURE_COOKIE if secure else COOKIE) + (b"." + found[1] if found else b"")


def cookie_in(fields: list[bytes], wanted: bytes) -> bytes | None:
    """Give the session's secret of the Cookie fields of a request; None for none.

    >>> cookie_in([b"a=1; canary=x", b"canary=y"], b"canary")
    b'x'
    """
    for field in fields:
        for pair in field.split(b";"):
            name, _, value = pair.strip(b" \\t").partition(b"=")
            if name == wanted:
                return value
    return None


def _keep(
    kept: dict[bytes, Grant], grant: Grant, until: float, most: int
) -> tuple[str, float]:
    secret = secrets.token_urlsafe(32)
    while len(kept) >= most:
        del kept[next(iter(kept))]
    kept[_hash(secret.encode())] = attrs.evolve(grant, until=until)
    return secret, until


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
