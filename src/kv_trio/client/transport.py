"""Requests of the client over httpcore, the one module that imports it.

The one door through which a store's bytes come in. httpcore is connections and framing,
and no more: cookies, redirects, charsets and compressed bodies are what a store says and
nobody looks at. Whatever else the bytes are, they become a `Reply` or one of our errors,
whichever library trips over them; a reply has a limit, and a request a deadline, so that a
server that is silent is noticed.

One file, since a door has two sides: what is sent, and what comes back.
"""

from __future__ import annotations

import functools
import os
import re
import ssl
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Container,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from socket import SHUT_RDWR
from typing import Any, Protocol, Self

import httpcore
import trio

from http_trio import client_context
from kv_trio.client.paths import ServerUrl, encode_query, missing_right
from kv_trio.client.results import Reply
from kv_trio.errors import (
    REASON_CHARACTERS,
    KvError,
    NoConnection,
    StoreRefused,
    StoreUnreachable,
    UnexpectedResponse,
    one_line,
    reason_of,
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
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "kv-trio"}
_BODILESS = {"GET", "HEAD", "OPTIONS", "DELETE"}  # whose requests say no length of 0
_TROUBLES = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    OSError,
)
_GOOD = range(200, 300)
_parsed = functools.lru_cache(64)(ServerUrl.parse)
_PLAIN = {"", "identity"}  # content codings that need no decoding
_USER = re.compile(r"(?<=//)[^/@]*@")
_File = str | os.PathLike[str] | None


class StoreConnections(Protocol):
    """What sends requests: httpcore's pool, or one that is none."""

    async def handle_async_request(
        self, request: httpcore.Request
    ) -> httpcore.Response:
        """Send a request; give the response once its head has come."""

    async def aclose(self) -> None:
        """Close the connections."""


class Transport:
    """The connections to one server; use it as an async context manager."""

    def __init__(
        self,
        url: str,
        token: Token,
        ca_file: _File,
        http: StoreConnections | None = None,
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
        self._http: StoreConnections = http or httpcore.AsyncConnectionPool(
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_S,
            ssl_context=_trust(self.url, ca_file, cert_file),
        )

    def __repr__(self) -> str:
        return f"<Transport {self._shown}>"

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._http.aclose()

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
                    if response.status not in _GOOD and response.status not in also:
                        raise await self._refusal(request, response)
                    content = await self._read(response, self._shown + path, limit)
        except trio.TooSlowError as exc:
            late = f"{self._shown}: no response in {deadline_s:g} s"
            raise StoreUnreachable(late) from exc
        index, tag = _field(response, b"x-consul-index"), _field(response, b"etag")
        return Reply(self._shown + path, response.status, index, content, tag)

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
            if response.status not in _GOOD:
                raise await self._refusal(request, response)
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
    ) -> httpcore.Request:
        query = encode_query(parameters)
        headers = {**_HEADERS, **(more or {})}
        if token := self._token() if callable(self._token) else self._token:
            if not (token.isascii() and token.isprintable()):
                raise StoreUnreachable(
                    "the token has characters that no header can have"
                )
            headers["X-Consul-Token"] = token
        with self._own_errors():
            server = self._parse()
            if body or method not in _BODILESS:
                headers["Content-Length"] = str(len(body or b""))
            url = httpcore.URL(
                scheme=server.scheme,
                host=server.host,
                port=server.port,
                target=server.base + path + ("?" + query if query else ""),
            )
            fields = [*server.fields.items(), *headers.items()]
            return httpcore.Request(method, url, headers=fields, content=body)

    def _parse(self) -> ServerUrl:
        try:
            return _parsed(self.url)
        except ValueError as exc:
            words = f"{self._shown!r} is not the URL of a server: {reason_of(exc)}"
            raise StoreUnreachable(words) from exc

    @asynccontextmanager
    async def _send(
        self, request: httpcore.Request
    ) -> AsyncIterator[httpcore.Response]:
        with self._own_errors():
            response = await self._http.handle_async_request(request)
        try:
            yield response
        finally:
            with trio.CancelScope(shield=True), suppress(Exception):  # it is over
                await response.aclose()

    # === what comes back ===

    async def _read(self, response: httpcore.Response, url: str, limit: int) -> bytes:
        _check_plain(response, url)
        parts = _Parts(self, response)
        body = await parts.read(limit)
        if parts.cut:
            raise UnexpectedResponse(
                f"{url}: the response is larger than {limit} bytes, which is the limit;"
                " its connection was ended"
            )
        return body

    async def _refusal(
        self, request: httpcore.Request, response: httpcore.Response
    ) -> StoreRefused:
        """Give the reason of a refusal; what charset the server names is not tried."""
        body = await _Parts(self, response).read(REFUSAL_BYTES)
        text = body.decode("utf-8", "replace")
        if location := _field(response, b"location"):
            text += f" (moved to {location})"
        reason = one_line(text)[:REASON_CHARACTERS]
        if response.status == HTTPStatus.FORBIDDEN:
            method, target = request.method.decode(), request.url.target.decode()
            told, key, right = missing_right(method, target)
            return StoreRefused(403, reason + told, key=key, right=right)
        return StoreRefused(response.status, reason)

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Turn whatever a library raises at what a server or a URL says into our error."""
        try:
            yield
        except KvError:
            raise
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
            raise NoConnection(f"{self._shown}: {reason_of(exc)}") from exc
        except httpcore.RemoteProtocolError as exc:
            kind = UnexpectedResponse if "illegal" in str(exc) else StoreUnreachable
            raise kind(f"{self._shown}: {reason_of(exc)}") from exc
        except _TROUBLES as exc:
            raise StoreUnreachable(f"{self._shown}: {reason_of(exc)}") from exc
        except Exception as exc:  # such as a UnicodeError at a host's name
            what = one_line(f"{type(exc).__name__}: {exc}")[:REASON_CHARACTERS]
            raise StoreUnreachable(f"{self._shown}: {what}") from exc


class _Parts:
    """The parts of a body as they come, of which the rest may be left.

    Left halfway, the generators under a response would wait for the collector. So the
    connection is ended first, and they end by that.
    """

    def __init__(self, transport: Transport, response: httpcore.Response) -> None:
        self.cut = False
        self._is_whole = False
        self._transport = transport
        self._response = response
        assert isinstance(response.stream, AsyncIterable)
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
            body += part
            if len(body) > limit:
                self.cut = True
                await self.aclose()
                break
            # Each part is a chunk, which may be one byte. The next read is cancelled.
            await trio.lowlevel.cancel_shielded_checkpoint()
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


def _field(response: httpcore.Response, name: bytes) -> str:
    """Give a field's values, as they are, whatever their bytes."""
    values = [value for key, value in response.headers if key.lower() == name]
    return b", ".join(values).decode("latin-1")


def _check_plain(response: httpcore.Response, url: str) -> None:
    """Check that a body is as it is: what is decoded can be any size."""
    coding = _field(response, b"content-encoding").strip().lower()
    if coding not in _PLAIN:
        raise UnexpectedResponse(
            f"{url}: Content-Encoding is {coding[:REASON_CHARACTERS]!r}, expected none"
        )


def _trust(url: str, ca_file: _File, cert_file: _File) -> ssl.SSLContext | None:
    """Give what verifies a server; only for http:// no authorities are read."""
    if url.lower().startswith("http:"):
        return None
    return client_context(ca=ca_file, cert=cert_file)
