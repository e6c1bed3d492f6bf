"""One stream of a client's HTTP/2 connection: a request and its response.

It is a `ClientConnection` to its exchange, which writes HTTP/1.1 and does not know the
difference (`response_translator.py`); what a task reads of its body is framed as its
head says (`byte_stream.py`). One file, since the two ways of a stream end together.

The rules that it obeys: its end is its own, and never that of the connection. What it
holds of a body is at most its window, and what of a response `QUEUE` and one piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from http_trio.http1.body_pace import TOO_SLOW
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response import Response, error_response
from http_trio.http2.byte_stream import Http2ByteStream
from http_trio.http2.collected_body import AwaitedBody, CollectedBody
from http_trio.http2.messages.body_translator import HEAD
from http_trio.http2.messages.response_translator import ResponseTranslator
from http_trio.http2.session import CANCEL, INTERNAL_ERROR, NO_ERROR
from http_trio.http2.stream_owner import StreamOwner
from http_trio.limits import BUFFER
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.stream import ByteStream
from http_trio.server.exchange import Exchange, Http2Exchange

QUEUE = 256 * 1024
"""Bytes of a response that wait for their client, beyond which no more is taken."""

SHARED_QUEUE = 1024 * 1024
"""The same of all responses of a connection; then each has `LEAST_QUEUE`."""

LEAST_QUEUE = 32 * 1024
"""What each response may queue, however much waits in others."""

_AWAITED = BUFFER // 2
"""Bytes of a body that are awaited before it is passed on: half a stream's window."""
_CONTINUE = [(b":status", b"100")]


class Http2Stream(ResponseTranslator):
    """A request and its response, as its exchange's connection.

    Attributes:
        exchange: what it carries; None once that is over.
        has_stalled: whether it ends since its client takes nothing of it.
        is_head: whether no body follows its response's head, since HEAD was asked.
        deadline: when the client is too slow; the loop's clock, in seconds.
        ended: whether the request is complete.
        ended_by_upstream: whether it is reset since an upstream failed.
        buffer: nothing: what came of the body is kept as it is, without framing.
        own_socket: none: the connection's is shared.
    """

    own_socket = None
    buffer = b""
    __slots__ = (
        "_body",
        "_carried",
        "_collector",
        "_owner",
        "_queued",
        "_trailers",
        "client_address",
        "deadline",
        "ended",
        "ended_by_upstream",
        "exchange",
        "has_stalled",
        "is_head",
        "loop",
        "said",
    )

    def __init__(
        self, owner: StreamOwner[Http2Stream], stream_id: int, key: bytes = b""
    ) -> None:
        """Begin.

        Args:
            owner: the connection.
            stream_id: the stream's number.
            key: of a WebSocket's opening handshake; empty if it is none.
        """
        # With what its bases have: their own, called, would double the time.
        self.id = stream_id
        self._session = owner.session
        self._sending = HEAD
        self._last_lines: Sequence[bytes] = ()
        self._key = key
        self._switched = False
        self.loop = owner.loop
        self.client_address = owner.client_address
        self.said = owner.said
        self.exchange: Exchange | None = None
        self.deadline = math.inf
        self.ended = False
        self.has_stalled = False
        self.ended_by_upstream = False
        self._owner = owner
        self.is_head = False
        self._body: list[bytes] = []
        self._collector: CollectedBody | None = None
        self._carried: Http2ByteStream | None = None
        self._queued = 0
        self._trailers = b""

    def __repr__(self) -> str:
        return f"<Http2Stream {self.id} ended={self.ended} exchange={self.exchange}>"

    def begin(self, head: RequestHead, *, ended: bool) -> Exchange:
        """Begin the exchange; `ended` tells whether the request is complete."""
        self.ended = ended
        self.is_head = head.method == b"HEAD"
        exchange = self.exchange = Http2Exchange(self, head)
        return exchange

    # === what the client sends ===

    def received(self, data: bytes, *, ended: bool, trailers: bytes = b"") -> None:
        """Take a piece of the body, or its trailers as lines."""
        self.ended = ended
        self._trailers = trailers
        if self._carried is not None:
            self._carried.feed(data, ended=ended, trailers=trailers)
        elif self._collector is not None:
            if self._collector.takes:
                self._session.consumed(self.id, len(data))
            self._collect(self._collector, data)
        elif self.exchange is None:
            self._session.consumed(self.id, len(data))  # it is answered
        elif data:
            self._body.append(data)  # its room is not given back, so that is bounded

    def closed(self, code: int) -> bool:
        """Take that the stream is over, and with it the exchange, if it is not yet.

        Gives whether the exchange came to nothing by that.
        """
        carried, exchange = self._carried, self.exchange
        if exchange is None and carried is None and self._sent_all:
            return False  # it has left, as most have
        if carried is not None and self._sent_all and code == NO_ERROR:
            return False  # all of it is out; the task ends the exchange in a moment
        self._sending_ended()
        self.ended = True
        if exchange is None and carried is None:
            return False  # it has left
        if carried is not None:
            self.exchange = None
            carried.break_off(code)  # the task ends the exchange
            return True
        self._leave()
        if exchange is not None:
            exchange.client_gone()
        return exchange is not None

    def expire(self) -> None:
        """Handle that the client sends, or takes, nothing for too long."""
        self.deadline = math.inf
        if self._collector is not None:
            self.refuse(408, TOO_SLOW)
        elif (queued := self._session.queued(self.id)) < self._queued:
            self._watch_progress(queued)
        elif self._queued:
            self.stalled()
            self.reset(CANCEL)

    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error of the engine's; an exchange in progress ends."""
        exchange, self.exchange = self.exchange, None
        response = error_response(status, reason)
        if exchange is not None:
            exchange.client_gone()
            response = exchange.suited(response)
        self.loop.refused[status] += 1
        self.answer(response)

    def answer(self, response: Response) -> None:
        """Answer, whatever was asked."""
        self.send_last(response.render(for_head=self.is_head), keep=True)

    def reset(self, code: int) -> None:
        """End the stream at once, both ways; an exchange in progress ends."""
        self._break_off(code)
        self._owner.wake()
        self.closed(code)

    def room_made(self) -> bool:
        """Look whether there is room again, and tell it; give whether there is."""
        if not self.room:
            return False
        if self._carried is not None:
            self._carried.may_send()
        return True

    # === for the exchange: what came ===

    @property
    def client_certificate(self) -> Certificate | None:
        """The certificate that the client has shown and that was verified."""
        return self._owner.client_certificate

    def holds_body(self, head: RequestHead) -> bool:
        """Tell whether the body is here up to its end, without trailers that go on."""
        return self.ended and not (self._trailers and head.framing < 0)

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""
        exchange = self.exchange
        return b"" if exchange is None or exchange.head.framing < 0 else self._trailers

    def skip_body(self, head: RequestHead) -> bool:
        """Pass over the body: what follows it is on other streams."""
        del head
        return True

    def collect(
        self,
        exchange: Exchange,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None],
    ) -> None:
        """Gather the body of the exchange's request."""
        framing = exchange.head.framing
        if framing > limit:
            on_too_large(exchange, framing)
            return
        self._begin_collecting(
            CollectedBody(exchange, limit, then, on_too_large, self.loop.now)
        )

    def await_body(self, exchange: Exchange, then: Callable[[Exchange], None]) -> None:
        """Call when the body, or as much of it as is read at a time, is here."""
        self._begin_collecting(AwaitedBody(exchange, _AWAITED, then, self.loop.now))

    # === for the exchange: what goes ===

    @property
    def behind(self) -> int:
        """Bytes that wait for the client to take them."""
        return self._session.queued(self.id)

    @property
    def room(self) -> int:
        """Bytes that would be taken now; if none, the stream is told of a change."""
        queued = self._session.queued(self.id)
        limit = QUEUE if self._session.queued() < SHARED_QUEUE else LEAST_QUEUE
        if queued < limit:
            return limit - queued
        self._owner.await_room(self)
        return 0

    def send_part(self, data: bytes) -> bytes:
        """Send; give what the client does not take now."""
        return data[self.take(data) :]

    def take(self, data: bytes | memoryview) -> int:
        """Send as much as there is room for; give how much that is."""
        if not self._awaits_head:  # a head must be whole
            data = data[: self.room]
        self._translate(data, last=False, for_head=self.is_head)
        self._owner.wake()
        return len(data)

    def write(self, data: bytes) -> int:
        """Send, and keep what the client does not take now; give how much is kept."""
        self._translate(data, last=False, for_head=self.is_head)
        self._owner.wake()
        return self._watch_progress(self._session.queued(self.id))

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the last of a response; the stream is over when that is out."""
        del keep  # the connection lives on, whatever this exchange did
        self._leave()
        queued = 0
        if self._sending == HEAD and not self.is_head:
            queued = self._send_whole(data)
        if not queued:
            self._translate(data, last=True, for_head=self.is_head)
            queued = self._session.queued(self.id)
        self._watch_progress(queued)
        self._finish()

    def stalled(self) -> None:
        """Note that the client has taken nothing for too long; the stream ends for it."""
        self.has_stalled = True

    def end_sending(self) -> None:
        """Say that no more will be sent, of a WebSocket."""
        self._end_sending()
        self._owner.wake()

    # === for the exchange: who has it, and how it ends ===

    def leave_loop(self) -> ByteStream:
        """Be carried by a task from now on; give what it reads from and writes to."""
        exchange = self.exchange
        assert exchange is not None, "only a live exchange is carried"
        framing = UNTIL_CLOSE if self._key else exchange.head.framing
        carried = self._carried = Http2ByteStream(self, framing, awaits_end=True)
        body, self._body = b"".join(self._body), []
        if body or self.ended:
            carried.feed(body, ended=self.ended, trailers=self._trailers)
        self.deadline = math.inf
        return carried

    def rejoin(self, buffer: bytes) -> None:
        """Come back from a task; the end of the exchange follows at once."""
        del buffer  # what is behind a request is on other streams

    def consumed(self, size: int) -> None:
        """Let the client send more: so much of the body was read."""
        if size:
            self._session.consumed(self.id, size)
            self._owner.wake()

    def abort(self) -> None:
        """End the stream at once; an exchange in progress ends."""
        self.reset(CANCEL)

    def drop(self, *, by_upstream: bool = False) -> None:
        """End the stream at once; nobody is told. What it sent is seen to be cut.

        But a WebSocket ends as its connection would: by a reset only where the server's
        was one (RFC 8441 section 5), since its frames say the rest.
        """
        self._leave()
        if self._switched and not by_upstream:
            self._end_sending()
        if self._sent_all:
            self._finish()
        else:
            self.ended_by_upstream = by_upstream
            self._break_off(CANCEL if self._switched else INTERNAL_ERROR)
            self._owner.wake()

    # === private ===

    def _begin_collecting(self, collector: CollectedBody) -> None:
        expects = collector.exchange.head.expects_continue
        if expects and not self.ended and not self._body:
            self._session.send_interim(self.id, _CONTINUE)
            self._owner.wake()
        self._collector = collector
        body, self._body = b"".join(self._body), []
        if collector.takes:
            self.consumed(len(body))
        self._collect(collector, body)

    def _collect(self, collector: CollectedBody, data: bytes) -> None:
        now = self.loop.now
        collector.take(data, now)
        if not collector.takes:
            self._body.append(data)
        if collector.is_over(ended=self.ended):
            self._collector = None
            self.deadline = math.inf
            collector.tell()
        else:
            self._wait_until(now + collector.pace.left_s)

    def _leave(self) -> None:
        """Have no exchange, and nobody who wants the body, from now on."""
        carried = self._carried
        self.exchange = self._collector = self._carried = None
        self.deadline = math.inf
        if carried is not None:
            self.consumed(carried.drop_unread())
        if self._body:
            self.consumed(sum(map(len, self._body)))
            self._body = []

    def _finish(self) -> None:
        if not self.ended:
            self._owner.reset_behind(self)
        self._owner.wake()

    def _watch_progress(self, queued: int) -> int:
        """Give the client time to take what is queued; give how much that is."""
        self._queued = queued
        if queued:
            self._wait_until(self.loop.now + self.loop.limits.write_s)
        return queued

    def _wait_until(self, deadline: float) -> None:
        self.deadline = deadline
        owner = self._owner
        if deadline < owner.deadline:  # noqa: PLR1730  # a call costs more
            owner.deadline = deadline
