"""A client's connection in the event loop: the requests that come over it.

One request is in progress at a time; what a client sends ahead (pipelining) waits
in `buffer`, or in the kernel when that is full, so responses leave in order. Where a
connection is, and how it gets there, is in `phases.py`. It is made of three classes,
one upon the other, so that no call comes between them: how responses leave
it (`response_writer.py`), how bodies come (`request_body.py`), and here all else. One
file, since heads, errors and the end are one state machine.
"""

from __future__ import annotations

import math
import socket
import struct
from typing import Any, Protocol

from http_trio.errors import BadRequest
from http_trio.http1.body_pace import TOO_SLOW
from http_trio.http1.fields import without_empty_lines
from http_trio.http1.forwarded import ForwardedPolicy, SaidOfClient
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import (
    RequestHead,
    check_unfinished_head,
    parse_request_head,
)
from http_trio.http1.response import Response, error_response
from http_trio.limits import BUFFER
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ, WRITE
from http_trio.net.stream import ByteStream, SocketStream
from http_trio.net.tls_socket import AnySocket, certificate_of_client, held
from http_trio.server.exchange import Exchange, Handler
from http_trio.server.phases import AWAY, BODY, BUSY, CLOSED, FLUSHING, HEAD, LINGERING
from http_trio.server.request_body import RequestBodyReader

_DEAD = 8 | 16  # EPOLLERR, EPOLLHUP
_AT_ONCE = struct.pack("ii", 1, 0)  # of SO_LINGER: what is unsent is dropped
_LINGER_BYTES = 4 * 1024 * 1024  # of a refused upload, read and dropped at most


class Origin(Protocol):
    """Where connections come from: a listener, or the inside of the process."""

    loop: EventLoop

    def ended(self, client: Any) -> None:
        """Forget a connection that is closed."""


class Connection(RequestBodyReader):
    """One client's connection.

    Attributes:
        protocol: what it speaks: this or HTTP/1.0.
        client_address: the client's address as text, or "unix".
        said: what is said of it to upstreams.
    """

    __slots__ = (
        "_fresh",
        "_handler",
        "_known",
        "_lingered",
        "_listener",
        "_processing",
        "_scanned",
        "_shared",
        "client_address",
        "said",
    )

    protocol = "HTTP/1.1"
    _exchange_kind = Exchange
    _version = b"1.1"  # by which requests have come, if not by 1.0

    def __init__(
        self,
        listener: Origin,
        sock: AnySocket,
        client_address: str,
        handler: Handler,
        rules: ForwardedPolicy,
    ) -> None:
        loop = listener.loop
        super().__init__(loop, sock)
        self.client_address = client_address
        self._handler = handler
        self._fresh = True  # no request has come yet
        self._known = loop.request_heads.get
        self._listener = listener
        self._processing = False
        self._scanned = 0
        self._shared: SharedFields | None = None  # of the request before
        self._lingered = 0
        self.said = SaidOfClient(rules, client_address, self._version, sock)
        loop.watch(self.fd, self, READ)

    def __repr__(self) -> str:
        return f"<Connection from {self.client_address} phase={self._phase.name}>"

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchange that is in progress, if one is."""
        return [] if self._exchange is None else [self._exchange]

    # === for the event loop ===

    def ready(self, mask: int) -> None:
        """Handle readiness."""
        if self._phase is HEAD:
            self._read_request()
        elif self._phase is FLUSHING:
            if mask & _DEAD:
                self.abort()
            else:
                self.flush()
        elif self._outbox and mask & (WRITE | _DEAD):
            self._flush_part()
        elif self._ended:
            if mask & _DEAD:  # it said its last before; now it is gone
                self.abort()
        else:
            self._read()

    def take(self, data: bytes) -> None:
        """Take what was read before it was known that this is HTTP/1.1."""
        if self._phase is HEAD:
            self.buffer = data
            self._process()

    def expire(self) -> None:
        """Handle that the client was too slow, or idle for too long."""
        if self._phase is HEAD and self.buffer:
            self.refuse(408, "the header did not come in time")
        elif self._phase is BODY:
            self.refuse(408, TOO_SLOW)
        else:
            self.abort()

    def idle(self) -> tuple[bool, float] | None:
        """Say whether requests came, and since when the next one is waited for."""
        limits = self.loop.limits
        if self._phase is not HEAD or self.buffer:
            return None
        wait_s = limits.head_s if self._fresh else limits.idle_s
        return not self._fresh, self.deadline - wait_s

    def abort(self) -> None:
        """Close at once; an exchange in progress ends."""
        exchange = self._exchange
        self.drop()
        if exchange is not None:
            exchange.client_gone()

    def drain(self) -> None:
        """Take no further request: close if idle for so long, answer if parked."""
        if self._phase is HEAD and not self.buffer:
            limits, now = self.loop.limits, self.loop.now
            since = self.deadline - (limits.head_s if self._fresh else limits.idle_s)
            self.deadline = since + limits.notice_s
            if self.deadline <= now:
                self.drop()
        else:
            self.answer_parked()

    def answer_parked(self) -> None:
        """Let an exchange that waits be answered now."""
        if self._exchange is not None and self._exchange.is_parked:
            self._exchange.due()

    def drop(self, *, by_upstream: bool = False) -> None:
        """Close at once; nobody is told."""
        del by_upstream  # HTTP/1.1 has no words for it
        if self._phase is CLOSED:
            return
        self._phase = CLOSED
        exchange, self._exchange = self._exchange, None
        self._collecting = None
        if exchange is not None and exchange.head.http10:
            _close_by_reset(self.sock)
        self.loop.unwatch(self.fd)
        self.loop.away.discard(self)
        self.sock.close()
        if self.said.on_gone is not None:
            self.said.gone()
        self._listener.ended(self)

    # === for the exchange ===

    @property
    def client_certificate(self) -> Certificate | None:
        """The certificate that the client has shown and that was verified."""
        return certificate_of_client(self.sock)

    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error and close: where this request ends is not known."""
        exchange, self._exchange = self._exchange, None
        self._collecting = None
        if exchange is not None:
            exchange.client_gone()
        self.buffer = b""
        self.turn_away(error_response(status, reason))

    def turn_away(self, response: Response) -> None:
        """Answer, whatever was asked, and close."""
        self.loop.refused[response.status] += 1
        self.send_last(response.render(connection=b"close"), keep=False)

    # === for the slow path ===

    def leave_loop(self) -> ByteStream:
        """Be served by a task from now on; give what it reads from and writes to."""
        self._phase = AWAY
        self.deadline = math.inf
        self.loop.unwatch(self.fd)
        self.loop.away.add(self)
        buffer, self.buffer = self.buffer, b""
        return SocketStream(self.sock, buffer)

    def rejoin(self, buffer: bytes) -> None:
        """Come back from a task; the end of the exchange follows at once."""
        self.buffer = buffer + held(self.sock)
        self._phase = BUSY
        self._mask = READ
        self.loop.away.discard(self)
        self.loop.watch(self.fd, self, READ)

    # === private ===

    def _read_request(self) -> None:
        """Read when a request may begin: most often it comes whole, and alone."""
        try:
            data = self.sock.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if not data:
            self._client_ended()
            return
        if not self.buffer:
            if data[-4:] == b"\r\n\r\n":
                head = self._known(data) or self._shared_head(data)
                if head is not None:
                    self._begin(head)
                    return
                if self._take_lone(data):
                    return
            if data.strip(b"\r\n"):  # an empty line begins no request: no more time
                self.deadline = self.loop.now + self.loop.limits.head_s
            self.buffer = data
        else:
            self.buffer += data
        self._process()

    def _take_lone(self, data: bytes) -> bool:
        """Take what is one request's head and nothing else; give whether it was."""
        limits = self.loop.limits
        if (
            data.rfind(b"\r\n\r\n", 0, -1) >= 0  # half the time of find
            or len(data) > limits.head
            or data[:2] == b"\r\n"
        ):
            return False
        head = self._parse(data)
        if head is not None:
            self._begin(head)
        return True

    def _shared_head(self, raw: bytes) -> RequestHead | None:
        """Give a head whose fields are known; None if they are not, or it is not one."""
        loop = self.loop
        head = loop.request_fields.head(raw, self._shared)
        if head is not None:
            self._shared = head.shared
            loop.request_heads.offer(raw, head)
        return head

    def _parse(self, raw: bytes) -> RequestHead | None:
        """Give a head of which nothing is known; None if it is refused."""
        loop = self.loop
        try:
            head = parse_request_head(raw, loop.limits)
        except BadRequest as exc:
            self.refuse(exc.status, str(exc))
            return None
        head = loop.request_fields.offer(raw, head) or head
        loop.request_heads.offer(raw, head)
        return head

    def _read(self) -> None:
        try:
            data = self.sock.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        phase = self._phase
        if not data:
            self._client_ended()
        elif phase is BODY:
            self._take_body(data)
        elif phase is LINGERING:
            self._drop_unread(len(data))
        else:
            self._read_ahead(data)

    def _read_ahead(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) > BUFFER:
            self._watch_for(0)  # the rest waits in the kernel

    def _drop_unread(self, count: int) -> None:
        self._lingered += count
        if self._lingered > _LINGER_BYTES:
            self.drop()

    def _client_ended(self) -> None:
        """The client will send no more: it left, unless it may still read."""
        loop = self.loop  # TCP does not tell the two apart (RFC 9112 section 9.6)
        self._ended = True
        if self._phase is BUSY and self._exchange is not None and loop.half_close:
            self._watch_for(WRITE if self._outbox else 0)
            self.deadline = loop.now + loop.limits.half_closed_s
        else:
            self.abort()

    def _process(self) -> None:
        """Take the requests that are in the buffer, until one must wait."""
        if self._processing:
            return
        self._processing = True
        try:
            while self._phase is HEAD and self._take_request():
                pass
        finally:
            self._processing = False
        if self._phase is HEAD and self._ended:
            self.drop()

    def _take_request(self) -> bool:
        """Take one request from the buffer; give whether another may be there."""
        buffer = self.buffer
        if buffer[:2] == b"\r\n":  # RFC 9112 section 2.2: empty lines before a request
            buffer = self.buffer = without_empty_lines(buffer)
            self._scanned = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        if end < 4 or end > self.loop.limits.head:
            self._await_more(buffer)
            return False
        raw = buffer[:end]
        head = self._known(raw) or self._shared_head(raw) or self._parse(raw)
        if head is None:
            return False
        self._scanned = 0
        self.buffer = buffer[end:]
        self._begin(head)
        return bool(self.buffer)

    def _await_more(self, buffer: bytes) -> None:
        try:
            check_unfinished_head(buffer, self.loop.limits, self._scanned)
        except BadRequest as exc:
            self.refuse(exc.status, str(exc))
        else:
            self._scanned = len(buffer)

    def _begin(self, head: RequestHead) -> None:
        """Let the handler decide on a request."""
        self._phase = BUSY
        self._fresh = False
        self.deadline = math.inf
        self._body_taken = False
        exchange = self._exchange = self._exchange_kind(self, head)
        try:
            self._handler(exchange)
            if exchange.connection is not None and exchange.attached is None:
                exchange.expect_decision(self._handler)
        except Exception:
            exchange.crashed()


def _close_by_reset(sock: AnySocket) -> None:
    """Let a client of HTTP/1.0 see that its response is cut, though the end is all it has.

    Over TLS it sees that by the close_notify that does not come.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
