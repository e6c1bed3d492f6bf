"""The members of an etcd: which of them is asked, as whom, and what of what they say.

One member is asked until it does not respond, or says that it cannot: then the next one is,
for all that follows. A read is sent to each of them before it fails; a write only where it
is certain that it was not sent, or is refused for want of a leader, since it would be
another write.

A token is asked for when there is none, and again when the server says that it holds no
more, once for each such error, never by a clock. One that is refused is not asked for again
before some seconds have passed, or a wrong password would keep the server busy.

One file, since which member, which token and which error hang on each other.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from kv_trio.client.transport import Reply, Token, Transport
from kv_trio.errors import (
    KvError,
    NoConnection,
    StoreRefused,
    StoreUnreachable,
    UnexpectedResponse,
)
from kv_trio.etcd.wire import ALL_CODES, dump, read_error, read_token, right_for

T = TypeVar("T")

READ_S = 3.0
"""Seconds that a member has for a read, before the next one is asked."""

WRITE_S = 10.0
"""Seconds that a member has for a write; etcd itself gives up after about seven."""

REFUSED_S = 10.0
"""Seconds after a refused password, or one that cannot be asked about, until the next try."""

TOKEN_BYTES = 64 * 1024
"""Bytes of the response that has a token, at most."""

PORT = 2379
"""Of a member whose URL names none."""

MOST_MEMBERS = 16
"""In one URL."""

_URL = re.compile(r"(etcds?)://([^/?#]*)/?\Z")
_MEMBER = re.compile(r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?\Z")
_UNAUTHENTICATED, _UNAVAILABLE, _LATE = 16, 14, 4  # codes of gRPC
_NO_LEADER = "etcdserver: no leader"
_NOT_ENABLED = "authentication is not enabled"
_STALE = (
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
)
"""In errors after which one authenticates anew (etcd issues 12615, 11941 of Traefik)."""


def members_of(url: str) -> list[str]:
    """Give the URLs of the members that an etcd's URL names.

    >>> members_of("etcd://10.0.0.1,[::1]:2479")
    ['http://10.0.0.1:2379', 'http://[::1]:2479']

    Raises:
        ValueError: it is none; says what was expected.
    """
    found = _URL.match(url)
    texts = found[2].split(",") if found else []
    members = [_MEMBER.match(text) for text in texts]
    if found is None or not all(members) or len(members) > MOST_MEMBERS:
        shown = re.sub(r"//[^/]*@", "//...@", url)
        hint = "; name and password are the token, NAME:PASSWORD" if "@" in url else ""
        raise ValueError(
            f"found {shown!r}, expected etcd://HOST[:PORT][,HOST[:PORT]...], at most"
            f" {MOST_MEMBERS} of them, or etcds://...{hint}"
        )
    scheme = "https" if found[1] == "etcds" else "http"
    return [f"{scheme}://{m[1]}:{m[2] or PORT}" for m in members if m is not None]


def user_of(token: str) -> dict[str, str]:
    """Give name and password.

    Raises:
        ValueError: the token is none of an etcd.
    """
    name, colon, password = token.partition(":")
    if not colon:
        raise ValueError("the token of an etcd is NAME:PASSWORD, and this has no colon")
    return {"name": name, "password": password}


class Endpoints:
    """The members of one etcd; use it as an async context manager."""

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make the connections; none is opened yet.

        Args:
            url: such as `etcd://10.0.0.1:2379,10.0.0.2:2379`.
            token: `NAME:PASSWORD` of a user, where etcd asks for one, or what gives it.
            ca_file: the authorities that members are verified by.
            cert_file: the certificate that they are shown, with its private key.

        Raises:
            ValueError: the URL, or the token, is none.
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self.url = url.rstrip("/")
        self._members = [
            Transport(one, None, ca_file, cert_file=cert_file)
            for one in members_of(url)
        ]
        self._at = 0
        self._user = user_of(token) if isinstance(token, str) else None
        self._given = token
        self._token: str | None = (
            None  # none was asked for yet; "" where none is needed
        )
        self._renewing = trio.Lock()
        self._refusal: tuple[int, str] | None = None
        self._refused_at = 0.0
        self._open = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Endpoints {self.url}, asks {self.member.url}>"

    async def __aenter__(self) -> Self:
        """Open the connections."""
        for member in self._members:
            await self._open.enter_async_context(member)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._open.__aexit__(kind, error, trace)  # noqa: ASYNC102  # each shields

    @property
    def urls(self) -> tuple[str, ...]:
        """Where they are."""
        return tuple(member.url for member in self._members)

    @property
    def member(self) -> Transport:
        """The member that is asked now."""
        return self._members[self._at]

    @property
    def user_name(self) -> str:
        """The name of the user that is authenticated; empty if there is none."""
        user = self._user
        if user is None and callable(self._given) and (token := self._given()):
            user = user_of(token)
        return user["name"] if user else ""

    def leave(self, member: Transport) -> None:
        """Ask the next member from now on, if this one is asked now."""
        if member is self.member:
            self._at = (self._at + 1) % len(self._members)

    async def read(
        self,
        path: str,
        message: Mapping[str, Any],
        parse: Callable[[str, bytes], T],
        *,
        limit: int,
        member: Transport | None = None,
    ) -> T:
        """Ask what changes nothing, one member after the other.

        Args:
            path: such as `/v3/kv/range`.
            message: that is sent.
            parse: makes a value of where it was sent and what came back.
            limit: bytes of the reply at most.
            member: the only one to ask.

        Raises:
            StoreUnreachable: none of them can say it, and one could not be asked.
            UnexpectedResponse: each of them says what no etcd does.
            StoreRefused: as of a client.
        """
        tries = 1 if member is not None else len(self._members)
        unreachable: StoreUnreachable | None = None
        for left in reversed(range(tries)):
            asked = member or self.member
            try:
                reply = await self._ask(asked, path, message, limit, READ_S)
                return parse(reply.url, reply.body)
            except (StoreUnreachable, UnexpectedResponse) as exc:
                self.leave(asked)
                if isinstance(exc, StoreUnreachable):
                    unreachable = exc
                if not left:
                    raise unreachable or exc from exc.__cause__
        raise AssertionError("the last try returns or raises")

    async def write(
        self,
        path: str,
        message: Mapping[str, Any],
        parse: Callable[[str, bytes], T],
        *,
        limit: int,
    ) -> T:
        """Ask for a change, once.

        Raises:
            StoreUnreachable: it may have been done, if the error is no `NoConnection`.
            StoreRefused, UnexpectedResponse: as of a client.
        """
        for left in reversed(range(len(self._members))):
            asked = self.member
            try:
                reply = await self._ask(asked, path, message, limit, WRITE_S)
                return parse(reply.url, reply.body)
            except NoConnection:
                self.leave(asked)
                if not left:
                    raise
            except (StoreUnreachable, UnexpectedResponse):
                self.leave(asked)
                raise
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def stream(
        self, member: Transport, path: str, message: Mapping[str, Any]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give what a member sends without end, in parts; the caller looks at the time."""
        await self._authenticate(member, self._token)
        async with member.stream(
            path, body=dump(message), headers=self._headers(), silent_s=None
        ) as parts:
            yield parts

    async def renew_token(self, member: Transport, reason: str) -> None:
        """Authenticate anew if that is what an error calls for."""
        if self._is_stale(reason):
            await self._authenticate(member, self._token, anew=True)

    # === private ===

    def _look_at_user(self) -> None:
        """Take up another user, or password, where it was given meanwhile."""
        if not callable(self._given):
            return
        given = self._given()
        try:
            user = user_of(given) if given else None
        except ValueError as exc:
            raise StoreRefused(HTTPStatus.UNAUTHORIZED, str(exc)) from exc
        if user != self._user:
            self._user, self._token, self._refusal = user, None, None

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._token} if self._token else {}

    def _is_stale(self, reason: str) -> bool:
        return self._user is not None and any(words in reason for words in _STALE)

    async def _ask(
        self,
        member: Transport,
        path: str,
        message: Mapping[str, Any],
        limit: int,
        deadline_s: float,
    ) -> Reply:
        self._look_at_user()
        await self._authenticate(member, self._token)
        used = self._token
        reply = await self._send(member, path, message, limit, deadline_s)
        if reply.status in ALL_CODES and self._is_stale(read_error(reply.body)[0]):
            await self._authenticate(member, used, anew=True)
            reply = await self._send(member, path, message, limit, deadline_s)
        if reply.status in ALL_CODES:
            raise self._error(reply, message)
        return reply

    async def _send(
        self,
        member: Transport,
        path: str,
        message: Mapping[str, Any],
        limit: int,
        deadline_s: float,
    ) -> Reply:
        return await member.request(
            "POST",
            path,
            {},
            dump(message),
            limit=limit,
            deadline_s=deadline_s,
            also=ALL_CODES,
            headers=self._headers(),
        )

    def _error(self, reply: Reply, message: Mapping[str, Any]) -> KvError:
        reason, code = read_error(reply.body)
        if code == -1 and reply.status < 500:
            return UnexpectedResponse(
                f"{reply.url}: the response is {reply.status} with {reason!r}, which is"
                " none of etcd's JSON gateway; is this an etcd from 3.4 on?"
            )
        if code in (_UNAVAILABLE, _LATE) or reply.status >= 500:
            kind = NoConnection if reason == _NO_LEADER else StoreUnreachable
            return kind(f"{reply.url}: {reason or reply.status}")
        key = right = ""
        if reply.status == HTTPStatus.FORBIDDEN:
            missing = right_for(message)
            reason += f"; the user must have the right to {missing}"
            verb, _, key = missing.partition(" ")
            right = f"key:{verb}"
        if "user name is empty" in reason and self._user is None:
            reason += "; this etcd asks for a user: the token is NAME:PASSWORD"
        told = f"{reason} ({reply.url})"
        return StoreRefused(reply.status, told, key=key, right=right)

    async def _authenticate(
        self, member: Transport, used: str | None, *, anew: bool = False
    ) -> None:
        """Get a token, unless there is one that is another than the one that was used.

        Raises:
            StoreRefused: name and password are refused, or were lately.
        """
        if self._user is None or (self._token is not None and not anew):
            return
        async with self._renewing:
            if self._token != used:
                return  # somebody else was quicker
            if self._refusal is not None:
                if trio.current_time() < self._refused_at + REFUSED_S:
                    raise StoreRefused(*self._refusal)
                self._refusal = None
            self._token = None
            reply = await self._send(
                member, "/v3/auth/authenticate", self._user, TOKEN_BYTES, READ_S
            )
            reason = read_error(reply.body)[0] if reply.status in ALL_CODES else ""
            if _NOT_ENABLED in reason:
                self._token = ""
            elif reason:
                error = self._error(reply, self._user)
                if isinstance(error, StoreRefused):
                    self._refusal = (error.status, f"{reason} ({reply.url})")
                    self._refused_at = trio.current_time()
                raise error
            else:
                self._token = read_token(reply.url, reply.body)
