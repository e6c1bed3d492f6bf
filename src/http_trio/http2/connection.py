"""A client's HTTP/2 connection in the event loop: what comes, and its streams.

It gives what is read to the session, and tells each stream what is its; what is sent
goes out by `frame_writer.py`. A request's head becomes one of HTTP/1.1 (`messages/`), and
its stream an exchange as any other. One file, since all share one socket and one end.

The rule that it obeys: what a client may make us do without asking anything has a
budget (`Overhead`), beyond which the connection ends with GOAWAY.
"""

from __future__ import annotations

import logging
import math
import os

from http_trio.errors import BadRequest
from http_trio.http1.forwarded import ForwardedPolicy, SaidOfClient
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.http1.response import Response, error_response
from http_trio.http2.frame_writer import FrameWriter
from http_trio.http2.messages.heads import Field, Malformed, request_head, trailer_lines
from http_trio.http2.messages.plain_requests import PlainRequests
from http_trio.http2.session import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    Http2Session,
    Http2Settings,
    code_name,
)
from http_trio.http2.stream import Http2Stream
from http_trio.limits import BUFFER
from http_trio.net.certificates.held_names import HeldNames
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import AnySocket, certificate_of_client
from http_trio.net.traffic_counts import CLIENT, PROXY, SERVER
from http_trio.server.connection import Origin
from http_trio.server.exchange import Exchange, Handler

_log = logging.getLogger(__name__)

_READABLE = READ | 8 | 16  # EPOLLERR, EPOLLHUP


class Http2Connection(FrameWriter):
    """One client's connection.

    Attributes:
        client_address: the client's address as text, or "unix".
        said: what is said of it to upstreams.
        streams: those that are open, by number.
    """

    protocol = "HTTP/2"
    __slots__ = (
        "_begun",
        "_client_reset",
        "_handler",
        "_held",
        "_idle_since",
        "_listener",
        "_overload",
        "_plain",
        "_was_served",
        "client_address",
        "said",
        "streams",
    )

    def __init__(
        self,
        listener: Origin,
        sock: AnySocket,
        client_address: str,
        handler: Handler,
        policy: ForwardedPolicy,
        held: HeldNames | None = None,
        *,
        plain: PlainRequests,
    ) -> None:
        loop, limits = listener.loop, listener.loop.limits
        session = Http2Session(self, Http2Settings.for_clients(limits), is_client=False)
        super().__init__(loop, sock, session)
        self.client_address = client_address
        self.streams: dict[int, Http2Stream] = {}
        self._begun: list[Exchange] = []
        self.deadline = loop.now + limits.head_s
        self._idle_since = loop.now
        self._was_served = False
        self._handler = handler
        self._held = held
        self._client_reset = 0  # the last stream that the client ended itself
        self._listener = listener
        self.said = SaidOfClient(policy, client_address, b"2.0", sock)
        self._overload: Response | None = None
        self._plain = plain
        loop.watch(self.fd, self, READ)
        self.wake()

    def __repr__(self) -> str:
        return (
            f"<Http2Connection from {self.client_address} streams={len(self.streams)}>"
        )

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges that are in progress."""
        found = [stream.exchange for stream in self.streams.values()]
        return [exchange for exchange in found if exchange is not None]

    # === for the event loop ===

    def ready(self, mask: int) -> None:
        """Handle readiness."""
        if mask & _READABLE:
            try:
                data = self.sock.recv(BUFFER)
            except BlockingIOError:
                data = None
            except OSError:
                data = b""
            if data == b"":
                self.abort()
            elif data is not None:
                self.take(data)
        if mask & WRITE and not self._is_closed:
            self.flush()

    def take(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._lingered >= 0:
            self._drop_unread(len(data))
            return
        overhead, session, now = self._overhead, self.session, self.loop.now
        overhead.received(len(data), now)
        self._half_sent.received(data, now)
        session.receive(data)
        if self._begun:
            self._begin_all()
        if overhead.left < 0:
            self._check_overhead()
        if not self.streams:
            self._settle()
        if not self._is_woken and session.has_output:
            self.wake()

    def expire(self) -> None:
        """Handle that the client was too slow, or idle for too long."""
        now, limits = self.loop.now, self.loop.limits
        if self._lingered >= 0:
            self.abort()
            return
        self.deadline = math.inf  # what follows may end streams, and set a nearer one
        if self._outbox:
            self._wait_until(self._stuck_since + limits.write_s)
            if self.deadline <= now:
                self.abort()
                return
        elif not self.streams:
            self._end(NO_ERROR, "idle")  # so that it knows that nothing was lost
            return
        for stream in list(self.streams.values()):
            if stream.deadline <= now:
                stream.expire()
            self._wait_until(stream.deadline)

    def idle(self) -> tuple[bool, float] | None:
        """Say whether one was of use, and since when the next one is waited for."""
        if self.streams or self._is_over or self._outbox:
            return None
        return self._was_served, self._idle_since

    def abort(self) -> None:
        """Close at once; the exchanges in progress end."""
        if self._is_closed:
            return
        self._is_closed = True
        self.loop.unwatch(self.fd)
        self.sock.close()
        self._end_streams(CANCEL)
        self.session.forget()  # a cycle: its memory would wait for the collector
        self.said.gone()
        self._listener.ended(self)

    # === for the listener ===

    def drain(self) -> None:
        """Take no further streams; answer the parked."""
        self.announce()
        for exchange in self.exchanges:
            if exchange.is_parked:
                exchange.due()

    def turn_away(self, response: Response) -> None:
        """Answer the first request, whatever is asked, and close."""
        self._overload = response

    # === for the streams ===

    @property
    def client_certificate(self) -> Certificate | None:
        """The certificate that the client has shown and that was verified."""
        return certificate_of_client(self.sock)

    # === for the session ===

    def head_received(
        self, stream_id: int, fields: tuple[Field, ...], *, ended: bool
    ) -> None:
        """Begin an exchange."""
        if self._is_over:
            return  # it came with what ended it
        if self._overload is not None:
            self._refuse(stream_id, fields, self._overload, ended)
            self.leave("full")
            return
        try:
            head, key = None, b""
            if ended:
                head = self._plain.head(fields, self.loop.limits)
            if head is None:
                raw, key = request_head(fields, ended=ended, draw=os.urandom)
                head = self.loop.request_heads.get(raw) or self._parse(raw)
            self._overhead.asked(len(head.raw))
            if self._held is not None and not self._held.holds(head.host or b""):
                raise BadRequest(421, "this connection's certificate has another name")
        except Malformed as exc:
            _log.debug("%r: %s", self, exc)
            self.session.reset(stream_id, PROTOCOL_ERROR)  # and pays for it, at its end
        except BadRequest as exc:
            self._refuse(stream_id, fields, error_response(exc.status, str(exc)), ended)
        else:
            stream = self.streams[stream_id] = Http2Stream(self, stream_id, key)
            self.loop.counts.streams += 1
            self._begun.append(stream.begin(head, ended=ended))

    def interim_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Do nothing: a client sends none."""

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        """Give a piece of a body to its stream."""
        self._overhead.brought(len(data))
        stream = self.streams.get(stream_id)
        if stream is None:
            self.session.consumed(stream_id, len(data))
        else:
            stream.received(data, ended=ended)

    def trailers_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Give the trailers of a body to its stream."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        try:
            lines = trailer_lines(fields)
            if len(lines) > self.loop.limits.trailers:
                raise Malformed("trailers beyond the limit")
        except Malformed as exc:
            _log.debug("%r: %s", self, exc)
            self._overhead.wasted()
            stream.reset(PROTOCOL_ERROR)
            return
        stream.received(b"", ended=True, trailers=lines)

    def stream_reset(self, stream_id: int) -> None:
        """Note whose doing the end is that follows."""
        self._client_reset = stream_id

    def stream_closed(self, stream_id: int, code: int) -> None:
        """End a stream."""
        stream = self.streams.pop(stream_id, None)
        if code == NO_ERROR:
            self._was_served = True
        else:
            self._count_reset(stream_id, stream, code)
        if stream is None:
            self._overhead.wasted()  # it was malformed, and never begun
            self._check_overhead()
            return
        self.loop.counts.ended_streams += 1
        if self._blocked:
            self._blocked.discard(stream)
        if self._ending:
            self._ending.discard(stream)
        if stream.closed(code):
            self._overhead.wasted()
            self._check_overhead()
        if not self.streams:
            self._idle_since = self.loop.now
            if stream.has_stalled and not self._was_served:
                self.leave()  # who takes nothing is closed, as over HTTP/1.1

    def settings_received(self) -> None:
        """Do nothing: the session obeys them."""

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """Do nothing: a client that says so closes when it has read its responses."""

    def ping_answered(self) -> None:
        """End the notice of a shutdown: what the client had sent has come."""
        if self._is_told:
            self.leave()

    def connection_failed(self, code: int, reason: str) -> None:
        """End the connection: what is left to send is the reason."""
        if code != NO_ERROR:
            is_flood = code == ENHANCE_YOUR_CALM
            self._count_goaway("flood" if is_flood else "fault", code)
        self._over(code, reason)

    # === private ===

    def _settle(self) -> None:
        """Note that nothing is in progress: from here on it may be idle for so long."""
        if not self.streams and not self._is_over and not self._outbox:
            limits, since = self.loop.limits, self._half_sent.since
            wait_s = limits.idle_s if self._was_served else limits.head_s
            self.deadline = self._idle_since + wait_s
            if since is not None:  # a head, maybe
                self.deadline = min(self.deadline, since + limits.head_s)

    @property
    def _is_done(self) -> bool:
        """Whether it is to be closed when all is sent."""
        return self._is_over or (self._is_leaving and not self.streams)

    def _check_overhead(self) -> None:
        if self._overhead.left < 0 and not self._is_over:
            _log.debug("%r sends too much that asks for nothing", self)
            self._end(ENHANCE_YOUR_CALM, "flood")

    def _refuse(
        self,
        stream_id: int,
        fields: tuple[Field, ...],
        response: Response,
        ended: bool,  # noqa: FBT001  # of the four that come with a head
    ) -> None:
        """Answer a request that no handler sees."""
        self.loop.refused[response.status] += 1
        stream = Http2Stream(self, stream_id)
        stream.ended = ended
        stream.is_head = (b":method", b"HEAD") in fields
        self.streams[stream_id] = stream
        self.loop.counts.streams += 1
        stream.answer(response)

    def _parse(self, raw: bytes) -> RequestHead:
        """Give a head that is not known."""
        limits = self.loop.limits
        if len(raw) > limits.head:
            raise BadRequest(431, f"a header section of {len(raw)} bytes")
        head = parse_request_head(raw, limits)
        self.loop.request_heads.offer(raw, head)
        return head

    def _begin_all(self) -> None:
        """Let the handler decide on the requests that have come."""
        begun, self._begun = self._begun, []  # each with what came of its body
        for exchange in begun:
            if exchange.connection is None:  # it is gone
                continue
            try:
                self._handler(exchange)
                exchange.expect_decision(self._handler)
            except Exception:
                exchange.crashed()
        if self.loop.leaving:
            self.announce()

    def _end(self, code: int, reason: str) -> None:
        """End the connection, and say why."""
        self._count_goaway(reason, code)
        self.session.terminate(code)
        self._over(code, reason)

    def _over(self, code: int, reason: str) -> None:
        _log.debug("%r ended: %s %s", self, code_name(code), reason)
        self._is_over = True
        self._end_streams(code)
        self.wake()

    def _count_reset(
        self, stream_id: int, stream: Http2Stream | None, code: int
    ) -> None:
        who = CLIENT if stream_id == self._client_reset else PROXY
        if who is PROXY and stream is not None and stream.ended_by_upstream:
            who = SERVER
        self.loop.counts.resets[who, code_name(code)] += 1

    def _end_streams(self, code: int) -> None:
        streams, self.streams = list(self.streams.values()), {}
        self.loop.counts.ended_streams += len(streams)
        self._blocked.clear()
        self._ending.clear()
        for stream in streams:
            stream.closed(code)
