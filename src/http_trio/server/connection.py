"""A client's connection on the express lane: the requests that come over it.

    HEAD -> BUSY -> HEAD ...            a request without a body, or forwarded with it
    HEAD -> BODY -> BUSY -> HEAD ...    its body is being collected
    BUSY -> FLUSHING -> HEAD            the client takes its answer slowly
    any  -> LINGERING -> CLOSED         refused: drop what still comes, then close
    BUSY -> AWAY -> HEAD                a task has it

One request is in progress at a time; what a client sends ahead (pipelining) waits
in `buffer`, or in the kernel when that is full, so answers leave in order.
"""

from __future__ import annotations

import logging
import math
import re
import socket
from collections.abc import Callable
from typing import Protocol

from http_trio.errors import BadRequest, ProtocolError
from http_trio.http1.body import Passage
from http_trio.http1.forwarded import Forwarding, forwarding_fields
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.http1.response import Answer, refusal
from http_trio.limits import BUFFER
from http_trio.net.event_loop import Lane
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import AnySocket, held
from http_trio.server.exchange import Exchange, Handler

_log = logging.getLogger(__name__)

_HEAD, _BODY, _BUSY, _FLUSHING, _LINGERING, _AWAY, _CLOSED = range(7)
_DEAD = 8 | 16  # EPOLLERR, EPOLLHUP
_LINGER_BYTES = 4 * 1024 * 1024  # of a refused upload, read and dropped at most
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Origin(Protocol):
    """Where connections come from: a listener, or the inside of the process."""

    lane: Lane

    def ended(self, connection: Connection) -> None:
        """Forget a connection that is closed."""


class _Collecting:
    """A body on its way into memory."""

    __slots__ = (
        "exchange",
        "limit",
        "on_too_large",
        "passage",
        "pieces",
        "size",
        "then",
    )

    def __init__(
        self,
        exchange: Exchange,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None],
    ) -> None:
        self.exchange = exchange
        self.limit = limit
        self.then = then
        self.on_too_large = on_too_large
        self.passage = Passage(
            exchange.head.framing, UNTIL_CLOSE, line_limit=exchange.limits.trailers
        )
        self.pieces: list[bytes] = []
        self.size = 0


def exchanges_of(lane: Lane) -> list[Exchange]:
    """Give all that are in progress on a lane, and in the tasks beside it."""
    clients = (one for one in (*lane.sockets.values(), *lane.away))
    found = (one.exchange for one in clients if isinstance(one, Connection))
    return [exchange for exchange in found if exchange is not None]


class Connection:
    """One client's connection.

    Attributes:
        peer: the client's address as text, or "unix".
    """

    __slots__ = (
        "_body_taken",
        "_collecting",
        "_ended",
        "_exchange",
        "_forwarded",
        "_forwarded_host",
        "_handler",
        "_keep",
        "_known",
        "_lingered",
        "_listener",
        "_mask",
        "_outbox",
        "_phase",
        "_processing",
        "_rules",
        "_scanned",
        "_trusted",
        "buffer",
        "deadline",
        "fd",
        "lane",
        "peer",
        "sock",
    )

    def __init__(
        self,
        listener: Origin,
        sock: AnySocket,
        peer: str,
        handler: Handler,
        rules: Forwarding,
    ) -> None:
        lane = listener.lane
        self.lane: Lane = lane
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.buffer = b""
        self.deadline = lane.now + lane.limits.head_s
        self._handler = handler
        self._known = lane.known_requests.get
        self._listener = listener
        self._phase = _HEAD
        self._exchange: Exchange | None = None
        self._collecting: _Collecting | None = None
        self._body_taken = False
        self._outbox = b""
        self._mask = READ
        self._keep = True
        self._ended = False
        self._processing = False
        self._scanned = 0
        self._lingered = 0
        self._rules = rules
        self._trusted = rules.trusts(peer)
        self._forwarded_host: bytes | None = b"\0"  # no host yet
        self._forwarded = b""
        lane.watch(self.fd, self, READ)

    def __repr__(self) -> str:
        return f"<Connection from {self.peer} phase={self._phase}>"

    @property
    def exchange(self) -> Exchange | None:
        """That is in progress."""
        return self._exchange

    # === for the lane ===

    def ready(self, mask: int) -> None:
        """Handle readiness."""
        if self._phase == _HEAD:
            self._read_request()
        elif self._phase == _FLUSHING:
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

    def flush(self) -> None:
        """Send the last of an answer, as far as the client takes it."""
        if self._phase != _FLUSHING:
            return
        data = self._outbox
        if data:
            try:
                count = self.sock.send(data)
            except BlockingIOError:
                count = 0
            except OSError:
                self.drop()
                return
            if count < len(data):
                self._await_room(count)
                return
            self._outbox = b""
        self._next()

    def expire(self) -> None:
        """Handle that the client was too slow, or idle for too long."""
        if self._phase == _HEAD and self.buffer:
            self.refuse(408, "the header did not come in time")
        elif self._phase == _BODY:
            self.refuse(408, "the body did not come in time")
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once; an exchange in progress ends."""
        exchange, self._exchange = self._exchange, None
        self.drop()
        if exchange is not None:
            exchange.client_gone()

    def drain(self) -> None:
        """Take no further request: close if idle, answer if parked."""
        if self._phase == _HEAD and not self.buffer:
            self.drop()
        else:
            self.answer_parked()

    def answer_parked(self) -> None:
        """Let an exchange that waits be answered now."""
        if self._exchange is not None and self._exchange.is_parked:
            self._exchange.due()

    def drop(self) -> None:
        """Close at once; nobody is told."""
        if self._phase == _CLOSED:
            return
        self._phase = _CLOSED
        self._exchange = None
        self._collecting = None
        self.lane.unwatch(self.fd)
        self.lane.away.discard(self)
        self.sock.close()
        self._listener.ended(self)

    # === for the exchange ===

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS."""
        return self._rules.proto == b"https"

    def forwarding_fields(self, head: RequestHead) -> bytes:
        """Give what is said of this client to an upstream."""
        if head.forwarded and self._trusted:
            return forwarding_fields(self._rules, self.peer, head, trusted=True)
        if head.host != self._forwarded_host:  # clients rarely change it
            self._forwarded_host = head.host
            self._forwarded = forwarding_fields(
                self._rules, self.peer, head, trusted=False
            )
        return self._forwarded

    def holds_body(self, head: RequestHead) -> bool:
        """Tell whether a body, however framed, is in the buffer up to its end."""
        if head.framing >= 0:
            return len(self.buffer) >= head.framing
        passage = Passage(CHUNKED, UNTIL_CLOSE, line_limit=self.lane.limits.trailers)
        try:
            passage.feed(self.buffer)
        except ProtocolError:
            return True  # collecting it meets the fault again, and refuses it
        return passage.done

    def skip_body(self, head: RequestHead) -> bool:
        """Pass over the body of a request that is answered without it, if it is here.

        Gives whether what follows in the buffer is the next request.
        """
        if head.framing == 0 or self._body_taken:
            return True
        if self._collecting is None and 0 < head.framing <= len(self.buffer):
            self.buffer = self.buffer[head.framing :]
            return True
        return False

    def collect(
        self,
        exchange: Exchange,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None],
    ) -> None:
        """Gather the body of the exchange's request."""
        head = exchange.head
        if head.framing == 0:
            then(exchange, b"")
            return
        if not self._mask & READ and not self._ended:  # it was parked, and read ahead
            self._watch_for(READ)
        if 0 < head.framing <= min(limit, len(self.buffer)):  # most often it is here
            body, self.buffer = self.buffer[: head.framing], self.buffer[head.framing :]
            self._body_taken = True
            then(exchange, body)
            return
        collecting = _Collecting(exchange, limit, then, on_too_large)
        self._collecting = collecting
        if head.framing > limit:
            on_too_large(exchange, head.framing)
            return
        if head.expects_continue and not self.buffer:
            self.send_part(_CONTINUE)
        self._phase = _BODY
        buffer, self.buffer = self.buffer, b""
        self._take_body(buffer)

    def send_part(self, data: bytes) -> bytes:
        """Send; give what the client does not take now."""
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            self.abort()
            return b""

    @property
    def behind(self) -> int:
        """Bytes that wait for the client to take them."""
        return len(self._outbox)

    def write(self, data: bytes) -> int:
        """Send, and keep what the client does not take now; give how much is kept."""
        if not self._outbox:
            data = self.send_part(data)
            if not data or self._phase == _CLOSED:
                return 0
            self._watch_for(READ | WRITE)
            self.deadline = self.lane.now + self.lane.limits.write_s
        self._outbox += data
        return len(self._outbox)

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the last of an answer, then go on with the next request, or close."""
        self._exchange = None
        self._keep = keep
        self._outbox = self._outbox + data if self._outbox else data
        self._phase = _FLUSHING
        lane = self.lane
        if lane.in_batch:
            lane.unsent.append(self)
        else:
            self.flush()

    def sent_last(self, data: bytes, count: int) -> None:
        """Note that the last of an answer was sent, and go on as `send_last` does.

        Args:
            data: what was sent.
            count: bytes of it that the client took; below 0 if it is gone.
        """
        self._exchange = None
        self._keep = True
        if count == len(data):
            self._next()
        elif count < 0:
            self.drop()
        else:
            self._phase = _FLUSHING
            self._outbox = data
            self._await_room(count)

    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error and close: where this request ends is not known."""
        exchange, self._exchange = self._exchange, None
        self._collecting = None
        if exchange is not None:
            exchange.client_gone()
        self.buffer = b""
        self.turn_away(refusal(status, reason))

    def turn_away(self, answer: Answer) -> None:
        """Answer, whatever was asked, and close."""
        self.lane.refused[answer.status] += 1
        self.send_last(answer.render(connection=b"close"), keep=False)

    # === for the task lane ===

    def leave_lane(self) -> bytes:
        """Be served by a task from now on; give what was read already."""
        self._phase = _AWAY
        self.deadline = math.inf
        self.lane.unwatch(self.fd)
        self.lane.away.add(self)
        buffer, self.buffer = self.buffer, b""
        return buffer

    def rejoin(self, buffer: bytes) -> None:
        """Come back from a task; the end of the exchange follows at once."""
        self.buffer = buffer + held(self.sock)
        self._phase = _BUSY
        self._mask = READ
        self.lane.away.discard(self)
        self.lane.watch(self.fd, self, READ)

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
                head = self._known(data)
                if head is not None:
                    self._begin(head)
                    return
                if self._take_lone(data):
                    return
            self.deadline = self.lane.now + self.lane.limits.head_s
            self.buffer = data
        else:
            self.buffer += data
        self._process()

    def _take_lone(self, data: bytes) -> bool:
        """Take what is one request's head and nothing else; give whether it was."""
        limits = self.lane.limits
        if (
            data.find(b"\r\n\r\n") + 4 != len(data)
            or len(data) > limits.head
            or data[:2] == b"\r\n"
        ):
            return False
        head = self._parse(data)
        if head is not None:
            self._begin(head)
        return True

    def _parse(self, raw: bytes) -> RequestHead | None:
        """Give a head that is not known; None if it is refused."""
        try:
            head = parse_request_head(raw, self.lane.limits)
        except BadRequest as exc:
            self.refuse(exc.status, str(exc))
            return None
        self.lane.known_requests.offer(raw, head)
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
        elif phase == _BODY:
            self._take_body(data)
        elif phase == _LINGERING:
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
        """The client will send no more; it may still read (RFC 9112 section 9.6)."""
        self._ended = True
        if self._phase == _BUSY and self._exchange is not None:
            if self._exchange.is_parked:
                self.abort()
            else:
                self._watch_for(0)
        else:
            self.abort()

    def _process(self) -> None:
        """Take the requests that are in the buffer, until one must wait."""
        if self._processing:
            return
        self._processing = True
        try:
            while self._phase == _HEAD and self._take_request():
                pass
        finally:
            self._processing = False
        if self._phase == _HEAD and self._ended:
            self.drop()

    def _take_request(self) -> bool:
        """Take one request from the buffer; give whether another may be there."""
        buffer = self.buffer
        if buffer[:2] == b"\r\n":  # RFC 9112 section 2.2: empty lines before a request
            buffer = self.buffer = _without_empty_lines(buffer)
            self._scanned = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3)) + 4
        if end < 4 or end > self.lane.limits.head:
            self._await_more(buffer)
            return False
        raw = buffer[:end]
        head = self._known(raw) or self._parse(raw)
        if head is None:
            return False
        self._scanned = 0
        self.buffer = buffer[end:]
        self._begin(head)
        return bool(self.buffer)

    def _begin(self, head: RequestHead) -> None:
        """Let the handler decide on a request."""
        self._phase = _BUSY
        self.deadline = math.inf
        self._body_taken = False
        exchange = self._exchange = Exchange(self, head)
        try:
            self._handler(exchange)
        except Exception:
            _log.exception("the handler failed on %s %r", exchange.method, head.target)
            if not exchange.gone and exchange.attached is None:
                exchange.respond(refusal(500, ""))
            else:
                self.abort()

    def _await_more(self, buffer: bytes) -> None:
        limits = self.lane.limits
        line_end = buffer.find(b"\r\n")
        if (line_end if line_end >= 0 else len(buffer)) > limits.request_line:
            self.refuse(414, f"a request line beyond {limits.request_line} bytes")
        elif len(buffer) > limits.head:
            self.refuse(431, f"a header section beyond {limits.head} bytes")
        elif buffer.count(b"\n") != buffer.count(b"\r\n"):
            self.refuse(400, "a line that ends in a bare LF")
        else:
            self._scanned = len(buffer)

    def _take_body(self, data: bytes) -> None:
        collecting = self._collecting
        assert collecting is not None, "in the phase BODY something is collected"
        self.deadline = self.lane.now + self.lane.limits.body_s
        passage = collecting.passage
        if data:
            try:
                piece = passage.feed(data)
            except ProtocolError as exc:
                self.refuse(400, str(exc))
                return
            collecting.size += len(piece)
            if collecting.size > collecting.limit:
                self._phase = _BUSY
                collecting.on_too_large(collecting.exchange, collecting.size)
                return
            collecting.pieces.append(piece)
        if passage.done:
            self._phase = _BUSY
            self.deadline = math.inf
            self.buffer = passage.rest
            self._collecting = None
            body = b"".join(collecting.pieces)
            self._body_taken = True
            collecting.then(collecting.exchange, body)

    def _await_room(self, count: int) -> None:
        """Wait until the client takes more; it has taken count bytes."""
        if count or self._mask != WRITE:
            self._outbox = self._outbox[count:]
            self.deadline = self.lane.now + self.lane.limits.write_s
            self._watch_for(WRITE)

    def _flush_part(self) -> None:
        """Send more of an answer that is still being written."""
        try:
            count = self.sock.send(self._outbox)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._outbox = self._outbox[count:]
        self.deadline = self.lane.now + self.lane.limits.write_s
        if not self._outbox:
            self.deadline = math.inf
            self._watch_for(READ if len(self.buffer) <= BUFFER else 0)

    def _next(self) -> None:
        """The answer is out: go on with the next request, or close."""
        if not self._keep:
            self._close_gently()
            return
        if self._mask != READ and not self._ended:
            self._watch_for(READ)
        self._phase = _HEAD
        lane = self.lane
        if lane.draining and not self.buffer:
            self.drop()
            return
        limits = lane.limits
        self.deadline = lane.now + (limits.head_s if self.buffer else limits.idle_s)
        if self.buffer or self._ended:
            self._process()

    def _close_gently(self) -> None:
        """Close so that a client that still sends can read its answer first."""
        if self._ended:
            self.drop()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()
            return
        self._watch_for(READ)
        self._phase = _LINGERING
        self.deadline = self.lane.now + self.lane.limits.linger_s

    def _watch_for(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self.lane.poller.modify(self.fd, mask)


def _without_empty_lines(buffer: bytes) -> bytes:
    """All at once: one by one, a flood of them takes quadratic time."""
    found = _EMPTY_LINES.match(buffer)
    return buffer if found is None else buffer[found.end() :]
