"""Requests of the client over httpx, the one module that imports it.

The one door through which a store's bytes come in. Of httpx only the connections are
used (its transport), not its client, which also reads cookies, redirects, charsets and
compressed bodies: what a store says there is never looked at. Whatever else the bytes
are, they become a `Reply` or one of our errors, whichever library trips over them; a
reply has a limit, and a request a deadline, so that a server that is silent is noticed.

One file, since a door has two sides: what is sent, and what comes back.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable, Container, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from socket import SHUT_RDWR
from types import TracebackType
from typing import Any, Self

import attrs
import httpx
import trio

from http_trio import client_context
from kv_trio.client.paths import encode_query, missing_right
from kv_trio.errors import (
    KvError,
    NoConnection,
    StoreRefused,
    StoreUnreachable,
    UnexpectedResponse,
)

TIMEOUT_S = 10.0
"""Seconds for every request that does not wait for a change."""

Token = str | Callable[[], str | None] | None
"""A secret, or what gives the one that is valid now."""

REFUSAL_BYTES = 64 * 1024
"""Bytes of a refusal's reason that are read; what comes after them is not."""

_KEPT = 20  # idle connections
_KEPT_S = 5.0
_CLOSE_S = 1.0
_REASON = 500  # characters of a refusal that are shown
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "kv-trio"}
_PLAIN = {"", "identity"}  # content codings that need no decoding
_USER = re.compile(r"(?<=//)[^/@]*@")
_File = str | os.PathLike[str] | None


@attrs.frozen
class Reply:
    """The response of a server.

    Attributes:
        url: of the request, for messages.
        index, tag: its fields `X-Consul-Index` and `ETag`; empty if it has none.
    """

    url: str
    status: int
    index: str
    body: bytes
    tag: str = ""

    @property
    def is_absent(self) -> bool:
        """Whether there is no such key."""
        return self.status == HTTPStatus.NOT_FOUND


class Transport:
    """The connections to one server; use it as an async context manager."""

    def __init__(
        self,
        url: str,
        token: Token,
        ca_file: _File,
        http: httpx.AsyncBaseTransport | None = None,
        *,
        cert_file: _File = None,
    ) -> None:
        """Make the connections; none is opened yet.

        Args:
            url: of the server.
            token: the secret that it is shown, or what gives it for each request.
            ca_file: the authorities that an https:// server is verified by.
            http: what sends requests, instead of connections.
            cert_file: the certificate that it is shown, with its private key.

        Raises:
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self.url = url.rstrip("/")
        self._shown = _USER.sub("", self.url)
        self._token = token
        self._http = http or httpx.AsyncHTTPTransport(
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=_KEPT,
                keepalive_expiry=_KEPT_S,
            ),
            verify=_trust(self.url, ca_file, cert_file),
            trust_env=False,  # a proxy for the web is none for the store
        )

    def __repr__(self) -> str:
        return f"<Transport {self._shown}>"

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._http.__aexit__(kind, error, trace)

    async def request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: bytes | None = None,
        *,
        limit: int,
        deadline_s: float | None = None,
        also: Container[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request, and give the reply.

        Args:
            method: such as `"GET"`.
            path: percent-encoded.
            parameters: of the query, not encoded.
            body: of the request, if it has one.
            limit: bytes of the reply's body at most.
            deadline_s: seconds from the start to the end; `TIMEOUT_S` by default.
            also: status codes beside the 2xx that are no refusals.
            headers: beside those that every request has.

        Raises:
            StoreUnreachable: there is no reply, or none in time.
            StoreRefused: the reply is an error.
            UnexpectedResponse: it is too large, or encoded.
        """
        deadline_s = TIMEOUT_S if deadline_s is None else deadline_s
        request = self._prepare(method, path, parameters, body, headers)
        try:
            with trio.fail_after(deadline_s):
                async with self._send(request) as response:
                    if not response.is_success and response.status_code not in also:
                        raise await self._refusal(response)
                    content = await self._read(response, self._shown + path, limit)
        except trio.TooSlowError as exc:
            late = f"{self._shown}: no response in {deadline_s:g} s"
            raise StoreUnreachable(late) from exc
        index, tag = _field(response, b"x-consul-index"), _field(response, b"etag")
        return Reply(self._shown + path, response.status_code, index, content, tag)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        silent_s: float | None = TIMEOUT_S,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give a reply's body in parts, without a limit.

        Args:
            path: percent-encoded.
            body: of the request, which is a POST then.
            headers: beside those that every request has.
            silent_s: within which each part must come; None where the caller looks.

        Raises:
            StoreUnreachable, StoreRefused, UnexpectedResponse: as `request`.
        """
        method = "GET" if body is None else "POST"
        request = self._prepare(method, path, {}, body, headers)
        timeouts: dict[str, float | None] = dict.fromkeys(
            ("connect", "write", "pool"), TIMEOUT_S
        )
        timeouts["read"] = silent_s
        request.extensions = {"timeout": timeouts}
        async with self._send(request) as response:
            if not response.is_success:
                raise await self._refusal(response)
            _check_plain(response, self._shown + path)
            parts = _Parts(self, response)
            try:
                yield parts
            finally:
                with trio.CancelScope(shield=True):
                    await parts.aclose()

    # === what is sent ===

    def _prepare(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: bytes | None,
        more: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        query = encode_query(parameters)
        headers = {**_HEADERS, **(more or {})}
        if token := self._token() if callable(self._token) else self._token:
            if not (token.isascii() and token.isprintable()):
                raise StoreUnreachable(
                    "the token has characters that no header can have"
                )
            headers["X-Consul-Token"] = token
        if "?" in self.url or "#" in self.url:
            raise StoreUnreachable(f"{self._shown!r} is not the URL of a server")
        with self._own_errors():
            url = httpx.URL(self.url + path + ("?" + query if query else ""))
            if url.userinfo:
                user = f"{url.username}:{url.password}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(user).decode()}"
            return httpx.Request(method, url, headers=headers, content=body)

    @asynccontextmanager
    async def _send(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        with self._own_errors():
            response = await self._http.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            with trio.CancelScope(shield=True), suppress(Exception):  # it is over
                await response.aclose()

    # === what comes back ===

    async def _read(self, response: httpx.Response, url: str, limit: int) -> bytes:
        _check_plain(response, url)
        parts = _Parts(self, response)
        body = await parts.read(limit)
        if parts.cut:
            raise UnexpectedResponse(
                f"{url}: the response is larger than {limit} bytes, which is the limit;"
                " its connection was ended"
            )
        return body

    async def _refusal(self, response: httpx.Response) -> StoreRefused:
        """Give the reason of a refusal; what charset the server names is not tried."""
        body = await _Parts(self, response).read(REFUSAL_BYTES)
        text = body.decode("utf-8", "replace")
        if location := _field(response, b"location"):
            text += f" (moved to {location})"
        reason = _one_line(text)[:_REASON]
        if response.status_code == 403:
            method, path = response.request.method, response.request.url.raw_path
            told, key, right = missing_right(method, path.decode())
            return StoreRefused(403, reason + told, key=key, right=right)
        return StoreRefused(response.status_code, reason)

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Turn whatever a library raises at what a server or a URL says into our error."""
        try:
            yield
        except KvError:
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise NoConnection(f"{self._shown}: {_reason(exc)}") from exc
        except httpx.RemoteProtocolError as exc:
            kind = UnexpectedResponse if "illegal" in str(exc) else StoreUnreachable
            raise kind(f"{self._shown}: {_reason(exc)}") from exc
        except (httpx.HTTPError, OSError) as exc:
            raise StoreUnreachable(f"{self._shown}: {_reason(exc)}") from exc
        except httpx.InvalidURL as exc:
            raise StoreUnreachable(f"{self._shown!r} is not a URL: {exc}") from exc
        except Exception as exc:  # such as a UnicodeError at a host's name
            what = _one_line(f"{type(exc).__name__}: {exc}")[:_REASON]
            raise StoreUnreachable(f"{self._shown}: {what}") from exc


class _Parts:
    """The parts of a body as they come, of which the rest may be left.

    Left halfway, the generators under a response would wait for the collector. So the
    connection is ended first, and they end by that.
    """

    def __init__(self, transport: Transport, response: httpx.Response) -> None:
        self.cut = self._is_whole = False
        self._transport, self._response = transport, response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._parts = aiter(response.stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        with self._transport._own_errors():  # noqa: SLF001
            try:
                return await anext(self._parts)
            except StopAsyncIteration:
                self._is_whole = True
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        """Give all of them, or those up to the limit, and then end the connection."""
        body = bytearray()
        async for part in self:
            if (
                body
            ):  # most have one part; each may be one byte. The next read is cancelled
                await trio.lowlevel.cancel_shielded_checkpoint()
            body += part
            if len(body) > limit:
                self.cut = True
                await self.aclose()
                break
        return bytes(body[:limit])

    async def aclose(self) -> None:
        """End the connection if there is more to come."""
        if self._is_whole:
            return
        connection = self._response.extensions.get("network_stream")
        with suppress(Exception), trio.CancelScope(shield=True):
            if connection is not None:
                await _shut_down(connection)
            async for _ in self._parts:
                pass


async def _shut_down(connection: Any) -> None:
    """End a connection, so that what is read of it comes to an end.

    It is closed by the pool that has it: one that is closed under a pool, after a
    response whose end has come already, would be used again.
    """
    socket = connection.get_extra_info("socket")
    if socket is None:
        await connection.aclose()
    else:
        socket.shutdown(SHUT_RDWR)


def _field(response: httpx.Response, name: bytes) -> str:
    """Give a field's values, as they are, whatever their bytes."""
    values = [value for key, value in response.headers.raw if key.lower() == name]
    return b", ".join(values).decode("latin-1")


def _check_plain(response: httpx.Response, url: str) -> None:
    """Check that a body is as it is: what is decoded can be any size."""
    coding = _field(response, b"content-encoding").strip().lower()
    if coding not in _PLAIN:
        raise UnexpectedResponse(
            f"{url}: Content-Encoding is {coding[:_REASON]!r}, expected none"
        )


def _trust(url: str, ca_file: _File, cert_file: _File) -> ssl.SSLContext | bool:
    """Give what verifies a server; only for http:// no authorities are read."""
    if url.lower().startswith("http:"):
        return False
    return client_context(ca=ca_file, cert=cert_file)


def _one_line(text: str) -> str:
    """Give text without what would move a terminal's cursor or begin a new line."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _reason(exc: BaseException) -> str:
    """Give the reason in words; that of a TLS error is in one of its causes."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return f"no TLS ({cause.reason.lower().replace('_', ' ')})"
        cause = cause.__cause__ or cause.__context__
    return _one_line(str(exc))[:_REASON] or type(exc).__name__
