"""One request to one server, over a connection of its own, as ordinary trio code.

For what goes on beside the traffic: health checks, and copies of requests. It never
touches an event loop or a pool. The response's body is read, framed as HTTP/1.1 demands, and
counted, not kept. Every wait and every size has a limit of its own; the whole is the
caller's to limit, with a cancel scope.
"""

from __future__ import annotations

import attrs
import trio

from http_trio.errors import BadResponse, HttpError, ProtocolError
from http_trio.http1.body import BodyTranscoder, Truncated
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.response_head import ResponseHead, parse_response_head
from http_trio.limits import Limits
from http_trio.net.connect import NotSecured, connect, connect_tls
from http_trio.net.stream import SocketStream
from http_trio.net.tls_socket import AnySocket
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream

_DEFAULT = Limits()

BODY = 64 * 1024 * 1024
"""Bytes of a response's body that are read at most."""


class NoResponse(HttpError):
    """A server gave no usable response. Its fault, mostly; `failure` says what happened.

    Attributes:
        failure: as hooks would be told.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(
            ": ".join(filter(None, (failure.condition.value, failure.detail)))
        )
        self.failure = failure


@attrs.frozen
class FetchResult:
    """A response.

    Attributes:
        status: of the final response, 200 to 599.
        size: bytes of the body's content, as far as it was read.
        fields: the end-to-end fields of the head, each line led by CRLF.
        whole: whether the body ended within the limit.
    """

    status: int
    size: int
    fields: bytes
    whole: bool


async def fetch(
    upstream: Upstream,
    request: bytes,
    *,
    method: bytes,
    limits: Limits = _DEFAULT,
    body: int = BODY,
) -> FetchResult:
    """Send a request and give what came back.

    All addresses are tried, in turn, until one accepts. Cancelled, it closes the
    connection.

    Args:
        upstream: where to; of it only what it is is used, never its pool.
        request: the whole request, as bytes; it should say `Connection: close`.
        method: of the request, for where the response ends (RFC 9112 section 6.3).
        limits: those of heads, and the waits `connect_s`, `response_s`, `write_s` and
            `stream_idle_s`.
        body: bytes of the body to read at most; then no more is waited for.

    Raises:
        NoResponse: there was none, or none that makes sense, or not in time.
    """
    sock = await _connect(upstream, limits)
    try:
        return await _Talk(upstream.name, SocketStream(sock), limits).ask(
            request, method, body
        )
    finally:
        sock.close()


class _Talk:
    """One request and its response, on a connection that is made."""

    def __init__(self, name: str, stream: SocketStream, limits: Limits) -> None:
        self._name = name
        self._stream = stream
        self._limits = limits

    async def ask(self, request: bytes, method: bytes, body: int) -> FetchResult:
        await self._send(request)
        try:
            with trio.fail_after(self._limits.response_s):
                head, rest = await self._read_head(method)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.RESPONSE_TIMEOUT) from exc
        try:
            return await self._read_body(head, rest, body)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.STALLED) from exc

    async def _send(self, request: bytes) -> None:
        try:
            await self._stream.send(request, self._limits.write_s)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.STALLED, "it takes no request") from exc
        except OSError:
            pass  # it may have answered before it closed: the read tells

    async def _read_head(self, method: bytes) -> tuple[ResponseHead, bytes]:
        data = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > self._limits.head:
                    raise self._none(
                        FailureReason.BAD_RESPONSE, "a head beyond the limit"
                    )
                more = await self._receive()
                if not more:
                    raise self._none(FailureReason.CLOSED, "closed without a response")
                data += more
                continue
            try:
                head = parse_response_head(data[:end], method)
            except BadResponse as exc:
                raise self._none(FailureReason.BAD_RESPONSE, str(exc)) from exc
            if head.status >= 200:
                return head, data[end:]
            data = data[end:]

    async def _read_body(
        self, head: ResponseHead, rest: bytes, most: int
    ) -> FetchResult:
        transcoder = BodyTranscoder(
            head.framing, UNTIL_CLOSE, line_limit=self._limits.trailers
        )
        size = 0
        try:
            if rest and not transcoder.done:
                size = len(transcoder.feed(rest))
            while not transcoder.done and size <= most:
                data = await self._receive()
                if not data:
                    transcoder.end()
                    break
                size += len(transcoder.feed(data))
        except Truncated as exc:
            raise self._none(FailureReason.CLOSED, str(exc)) from exc
        except ProtocolError as exc:
            raise self._none(FailureReason.BAD_RESPONSE, str(exc)) from exc
        return FetchResult(head.status, min(size, most), head.kept, whole=size <= most)

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(self._limits.stream_idle_s)
        except OSError as exc:
            raise self._none(FailureReason.CLOSED, exc.strerror or str(exc)) from exc

    def _none(self, condition: FailureReason, detail: str = "") -> NoResponse:
        return NoResponse(Failure(condition, self._name, sent=True, detail=detail))


async def _connect(upstream: Upstream, limits: Limits) -> AnySocket:
    failure = Failure(
        FailureReason.UNREACHABLE,
        upstream.name,
        sent=False,
        detail="its name does not resolve",
    )
    for address in upstream.addresses:
        try:
            with trio.fail_after(limits.connect_s):
                if upstream.tls is None:
                    return await connect(address)
                return await connect_tls(
                    address, upstream.tls, server_name=upstream.server_name
                )
        except NotSecured as exc:
            found = FailureReason.UNTRUSTED, exc.strerror or ""
        except trio.TooSlowError:
            found = FailureReason.CONNECT_TIMEOUT, ""
        except OSError as exc:
            found = FailureReason.UNREACHABLE, exc.strerror or str(exc)
        failure = Failure(found[0], upstream.name, sent=False, detail=found[1])
    raise NoResponse(failure)
