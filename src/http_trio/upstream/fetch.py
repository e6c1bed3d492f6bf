"""One request to one server, and its whole response, as ordinary trio code.

For what goes on beside the traffic: health checks, copies of requests, questions of our
own. `fetch` has a connection of its own, and touches no event loop and no pool; `fetch_pooled`
takes one of the server's pool, and gives it back. The response's body is read as HTTP/1.1
frames it and counted. It is kept only for a caller that asks for it, since checks and
copies want to know its size alone; a body beyond the limit is never kept. Every wait and
every size has a limit of its own; the whole is the caller's to limit, with a cancel scope.
One file, since both ways are one conversation.
"""

from __future__ import annotations

import attrs
import trio

from http_trio.errors import BadResponse, HttpError, ProtocolError
from http_trio.http1.body import BodyTranscoder, Truncated
from http_trio.http1.fields import find_value
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.response_head import ResponseHead
from http_trio.limits import Limits
from http_trio.net.connect import NotSecured, connect, connect_tls
from http_trio.net.descriptors import OUT_OF_RESOURCES
from http_trio.net.event_loop import EventLoop
from http_trio.net.stream import ByteStream, SocketStream
from http_trio.net.tls_socket import AnySocket
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream
from http_trio.upstream.response_reader import read_head

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
        body: its content as it was sent, still in its Content-Encoding; empty unless it
            was to be kept and is whole.
        trailers: the lines of its trailers.
    """

    status: int
    size: int
    fields: bytes
    whole: bool
    body: bytes = attrs.field(default=b"", repr=False)
    trailers: tuple[bytes, ...] = ()

    def value(self, name: bytes) -> bytes | None:
        """Give the first value of a field, or else of a trailer; None if it is absent."""
        return find_value(self.fields, name) or find_value(
            b"".join(b"\r\n" + line for line in self.trailers), name
        )


async def fetch(
    upstream: Upstream,
    request: bytes,
    *,
    method: bytes,
    limits: Limits = _DEFAULT,
    body_limit: int = BODY,
    keep_body: bool = False,
    lead: bytes | None = None,
) -> FetchResult:
    """Send a request and give what came back.

    All addresses are tried, in turn, until one accepts. Cancelled, it closes the
    connection.

    Args:
        upstream: where to; its pool is not used.
        request: the whole request, as bytes; it should say `Connection: close`.
        method: of the request, for where the response ends (RFC 9112 section 6.3).
        limits: those of heads, and the waits `connect_s`, `response_s`, `write_s` and
            `stream_idle_s`.
        body_limit: bytes of the body to read at most; then no more is waited for.
        keep_body: whether to give the body too, if it is within the limit.
        lead: what the connection begins with, where the upstream has a `proxy_protocol`;
            by default that it is ours.

    Raises:
        NoResponse: there was none, or none that makes sense, or not in time.
    """
    sock = await _connect(upstream, limits, upstream.own_lead if lead is None else lead)
    try:
        if refusal := upstream.refusal(sock):
            reason = FailureReason.UNTRUSTED
            raise NoResponse(Failure(reason, upstream.name, sent=False, detail=refusal))
        stream = upstream.speak(SocketStream(sock), limits)
        talk = _Talk(upstream.name, stream, limits)
        return await talk.ask(request, method, body_limit, keep_body=keep_body)
    finally:
        sock.close()


async def fetch_pooled(
    upstream: Upstream,
    loop: EventLoop,
    request: bytes,
    *,
    method: bytes,
    limits: Limits = _DEFAULT,
    body_limit: int = BODY,
    keep_body: bool = False,
) -> FetchResult:
    """Send a request over a connection of the pool, and give what came back.

    For questions that are asked often. What a kept connection's end left without a response
    is asked once more, over another one: so only for methods that may be repeated. The
    connection goes back to the pool if the response was read to its end; else, and when it
    is cancelled, it is closed.

    Args:
        upstream: where to.
        loop: the event loop whose connections they are, such as `exchange.loop`.
        request: the whole request, as bytes; it should not say `Connection: close`.
        method: as of `fetch`.
        limits: as of `fetch`.
        body_limit: as of `fetch`.
        keep_body: as of `fetch`.

    Raises:
        NoResponse: there was none, or none that makes sense, or not in time.
    """
    kept = upstream.take_idle(peek=True, lead=upstream.own_lead)
    while True:
        channel = kept or upstream.connect(loop, upstream.own_lead)
        if isinstance(channel, Failure):
            raise NoResponse(channel)
        try:
            return await _ask_over(
                channel, upstream.name, limits, (request, method, body_limit), keep_body
            )
        except NoResponse as exc:
            may_be_stale = exc.failure.condition is FailureReason.CLOSED
            if kept is None or channel.fresh or not may_be_stale:
                raise
            kept = None


async def _ask_over(
    channel: UpstreamChannel,
    name: str,
    limits: Limits,
    asked: tuple[bytes, bytes, int],
    keep_body: bool,  # noqa: FBT001  # as of `fetch_pooled`
) -> FetchResult:
    """Ask over a channel, which is given back or closed."""
    connecting, reusable = channel.connecting, False
    channel.leave_loop()
    try:
        if connecting and (failure := await _finish(channel, name, limits)) is not None:
            raise NoResponse(failure)
        channel.sent = True
        talk = _Talk(name, channel.stream, limits)
        found = await talk.ask(*asked, keep_body=keep_body)
        reusable = talk.reusable
        return found
    finally:
        if reusable:
            channel.rejoin()
        else:
            channel.close()


async def _finish(
    channel: UpstreamChannel, name: str, limits: Limits
) -> Failure | None:
    with trio.move_on_after(limits.connect_s):
        return await channel.finish_connecting()
    channel.blame_address()
    return Failure(FailureReason.CONNECT_TIMEOUT, name, sent=False)


class _Talk:
    """One request and its response, on a connection that is made.

    Attributes:
        reusable: whether another request may follow on the connection.
    """

    def __init__(self, name: str, stream: ByteStream, limits: Limits) -> None:
        self._name = name
        self._stream = stream
        self._limits = limits
        self.reusable = False

    async def ask(
        self, request: bytes, method: bytes, body_limit: int, *, keep_body: bool
    ) -> FetchResult:
        await self._send(request)
        try:
            with trio.fail_after(self._limits.response_s):
                head = await self._read_head(method)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.RESPONSE_TIMEOUT) from exc
        try:
            return await self._read_body(head, body_limit, keep=keep_body)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.STALLED) from exc

    async def _send(self, request: bytes) -> None:
        try:
            await self._stream.send(request, self._limits.write_s)
        except trio.TooSlowError as exc:
            raise self._none(FailureReason.STALLED, "it takes no request") from exc
        except OSError:
            pass  # it may have answered before it closed: the read tells

    async def _read_head(self, method: bytes) -> ResponseHead:
        """Read the final head; what came behind it is in the stream again."""
        limits = self._limits
        while True:
            try:
                head, self._stream.buffer = await read_head(
                    self._stream,
                    method,
                    limit=limits.head,
                    idle_s=limits.stream_idle_s,
                )
            except BadResponse as exc:
                raise self._none(FailureReason.BAD_RESPONSE, str(exc)) from exc
            except Truncated as exc:
                raise self._none(FailureReason.CLOSED, str(exc)) from exc
            except OSError as exc:
                raise self._none(FailureReason.CLOSED, _in_words(exc)) from exc
            if head.status >= 200:
                return head

    async def _read_body(
        self, head: ResponseHead, limit: int, *, keep: bool
    ) -> FetchResult:
        transcoder = BodyTranscoder(
            head.framing, UNTIL_CLOSE, line_limit=self._limits.trailers
        )
        pieces: list[bytes] = []
        try:
            while not transcoder.done and transcoder.passed <= limit:
                data = await self._receive()
                if not data:
                    transcoder.end()
                    break
                piece = transcoder.feed(data)
                if keep:
                    pieces.append(piece)
        except Truncated as exc:
            raise self._none(FailureReason.CLOSED, str(exc)) from exc
        except ProtocolError as exc:
            raise self._none(FailureReason.BAD_RESPONSE, str(exc)) from exc
        self.reusable = (
            head.keep_alive
            and head.framing != UNTIL_CLOSE
            and transcoder.done
            and not transcoder.rest
            and not self._stream.buffer
        )
        size = transcoder.passed
        whole = size <= limit
        return FetchResult(
            head.status,
            min(size, limit),
            head.kept,
            whole=whole,
            body=b"".join(pieces) if whole else b"",
            trailers=transcoder.trailers,
        )

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(self._limits.stream_idle_s)
        except OSError as exc:
            raise self._none(FailureReason.CLOSED, _in_words(exc)) from exc

    def _none(self, condition: FailureReason, detail: str = "") -> NoResponse:
        return NoResponse(Failure(condition, self._name, sent=True, detail=detail))


def _in_words(exc: OSError) -> str:
    return exc.strerror or str(exc)


async def _connect(upstream: Upstream, limits: Limits, lead: bytes) -> AnySocket:
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
                    return await connect(address, lead=lead)
                return await connect_tls(
                    *(address, upstream.tls),
                    server_name=upstream.server_name,
                    lead=lead,
                )
        except NotSecured as exc:
            found = FailureReason.UNTRUSTED, exc.strerror or ""
        except trio.TooSlowError:
            found = FailureReason.CONNECT_TIMEOUT, ""
        except OSError as exc:
            starved = exc.errno in OUT_OF_RESOURCES  # no fault of the server
            found = (
                FailureReason.FULL if starved else FailureReason.UNREACHABLE,
                _in_words(exc),
            )
        failure = Failure(found[0], upstream.name, sent=False, detail=found[1])
    raise NoResponse(failure)
