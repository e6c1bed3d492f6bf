"""Users by name and password, as RFC 7617 has them.

A password is looked at in a thread, since that takes long on purpose, and few at a time. What
was right is remembered for a while by a keyed hash, so that a user pays once; it is forgotten
when the file says something else of that user. The rule that it obeys: what is wrong takes as
long for a user that there is as for one that there is not, and costs one client no other's turn.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections import Counter
from functools import partial
from hashlib import blake2b

import trio

from canary_trio.config.auth import BasicAuth
from canary_trio.proxy.auth.answer_cache import AnswerCache
from canary_trio.proxy.auth.password_file import PasswordFile
from canary_trio.proxy.auth.password_hash import (
    PASSWORD_BYTES,
    PasswordHash,
    plain_bytes,
)
from canary_trio.proxy.auth.password_lists import PasswordList
from canary_trio.proxy.auth.shared_question import Asker, Questions
from canary_trio.proxy.auth.verdict import (
    AuthOutcome,
    Denied,
    Granted,
    Tell,
    Verdict,
)
from canary_trio.routing.access.gate import RefusalKind
from canary_trio.telemetry.auth_counts import AuthCounts
from canary_trio.upstream.pending_queue import client_of
from http_trio import Exchange, error_response
from http_trio.http1.fields import find_values

CHECKS_PENDING = 64
"""Passwords of a service that wait for that at most; beyond it 503 with Retry-After."""

CHECKS_OF_CLIENT = 8
"""Of one client among them at most."""

KNOWN = 4096
"""Passwords of a service that are remembered at most."""

KNOWN_S = 300.0
"""For how long, in seconds."""

AUTHORIZATION = "Authorization"
"""The field that has the password; servers do not get it, rules may look whether it is there."""

_BASIC = re.compile(rb"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2}) *\Z")
_BUSY = "too many passwords wait to be looked at"


class BasicAuthCheck:
    """The check of one service.

    Args:
        rules: as the document has them.
        users: the file that they name.
        counts: where it is counted what it came to.
        places: of looks at passwords, in the process.
        name: what it is called.
    """

    def __init__(
        self,
        rules: BasicAuth,
        users: PasswordList,
        counts: AuthCounts,
        places: trio.CapacityLimiter,
        name: str = "basic_auth",
    ) -> None:
        self.name = name
        self.rules = rules
        self._users = users
        self.counts = counts
        self._places = places
        self._key = secrets.token_bytes(32)
        self._known: AnswerCache[PasswordHash] = AnswerCache(KNOWN)
        self._questions = Questions()
        self._pending: Counter[str] = Counter()
        realm = f'Basic realm="{rules.realm}", charset="UTF-8"'
        self._ask = ((b"WWW-Authenticate", realm.encode()),)

    def __repr__(self) -> str:
        return f"<BasicAuthCheck by {self._users!r} {self._known!r}>"

    @property
    def hides(self) -> tuple[str, ...]:
        """The fields that are not passed on as a client sends them."""
        header = self.rules.user_header
        hidden = () if self.rules.keep_authorization else (AUTHORIZATION,)
        return hidden if header is None else (*hidden, header)

    @property
    def words(self) -> str:
        """What it goes by, for people."""
        return f"the file {self.rules.file}"

    @property
    def trouble(self) -> str:
        """Why the file cannot be used as it is; empty if it can."""
        return self._users.fault

    def decide(self, exchange: Exchange, fields: bytes, tell: Tell) -> Verdict | Asker:
        """Give the verdict, or who is told it later."""
        given = read_credentials(fields)
        if given is None:
            return self._counted(self._refuse())
        user, password = given
        key = self.key_of(user, password)
        users = self._users.current
        kept = users.users.get(user)
        known = self._known.get(key, exchange.loop.now)
        if known is not None and known == kept:
            return self._counted(self._grant(user))
        client = client_of(exchange.client)
        if (
            self._pending.total() >= CHECKS_PENDING
            or self._pending[client] >= CHECKS_OF_CLIENT
        ):
            busy = error_response(503, _BUSY, retry_after_s=1)
            outcome = AuthOutcome.FAILED
            return self._counted(Denied(RefusalKind.AUTH_FAILED, busy, outcome))
        if key not in self._questions:
            self._pending[client] += 1
        work = partial(self._look, exchange, users, given, key)
        return self._questions.ask(
            exchange, key, work, lambda verdict: tell(self._counted(verdict))
        )

    def key_of(self, user: str, password: bytes) -> bytes:
        """Give what is remembered of a name and a password."""
        said = b"%b\0%b" % (user.encode(), password)
        return blake2b(said, key=self._key, digest_size=32).digest()

    def waiting(self) -> list[Asker]:
        """Give those who wait for a look at their passwords."""
        return self._questions.waiting()

    async def _look(
        self,
        exchange: Exchange,
        users: PasswordFile,
        given: tuple[str, bytes],
        key: bytes,
    ) -> Verdict:
        user, password = given
        kept = users.users.get(user)
        against = users.decoy() if kept is None else kept
        client = client_of(exchange.client)
        self.counts.asked += 1
        try:
            is_right = await trio.to_thread.run_sync(
                against.matches, password, limiter=self._places
            )
        finally:
            self._pending[client] -= 1
            if not self._pending[client]:
                del self._pending[client]
        if kept is None or not is_right:
            return self._refuse()
        self._known.put(key, kept, until=exchange.loop.now + KNOWN_S)
        return self._grant(user)

    def _grant(self, user: str) -> Granted:
        name, header = user.encode(), self.rules.user_header
        line = b"" if header is None else b"\r\n%b: %b" % (header.encode(), name)
        return Granted(line, user=name)

    def _refuse(self) -> Denied:
        response = error_response(401, "a name and a password are needed")
        response.headers = self._ask
        return Denied(RefusalKind.UNAUTHENTICATED, response)

    def _counted(self, verdict: Verdict) -> Verdict:
        self.counts.add(verdict.outcome.value)
        return verdict


def read_credentials(fields: bytes) -> tuple[str, bytes] | None:
    r"""Give the name and the password of a request; None where it has no usable ones.

    >>> read_credentials(b"\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    ('Aladdin', b'open sesame')
    """
    given = find_values(fields, b"authorization")
    match = _BASIC.match(given[0]) if len(given) == 1 else None
    if match is None:
        return None
    try:
        data = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    user, colon, password = data.partition(b":")
    if not colon or len(password) > PASSWORD_BYTES:
        return None
    return _text(user), plain_bytes(_text(password))


def _text(data: bytes) -> str:
    """Read what was said as we ask for it, or as old clients do."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
