"""A request's body, gathered into memory.

The connection feeds what it reads; whoever asked for the body gets it whole, or is told
its size if that is beyond the limit. A body that nobody asks for is passed over where
that costs nothing. The rule that it obeys: no more than the limit, and one read, is
ever held. One file, since what is taken and what is only awaited come the same way.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

from http_trio.errors import ProtocolError
from http_trio.http1.body import BodyTranscoder
from http_trio.http1.body_pace import BodyPace
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http1.request_head import RequestHead
from http_trio.limits import BUFFER
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.net.tls_socket import AnySocket
from http_trio.server.exchange import Exchange
from http_trio.server.phases import BODY, BUSY
from http_trio.server.response_writer import ResponseWriter

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestBodyReader(ResponseWriter):
    """The half of a client's connection that takes bodies. A subclass reads heads."""

    __slots__ = ("_body_taken", "_collecting")

    def __init__(self, loop: EventLoop, sock: AnySocket) -> None:
        super().__init__(loop, sock)
        self._collecting: _BodyCollector | None = None
        self._body_taken = False

    @abstractmethod
    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error and close: where this request ends is not known."""

    def holds_body(self, head: RequestHead) -> bool:
        """Tell whether a body is in the buffer up to its end, and is all there is.

        Not if trailers follow that go on: a body that is collected loses them.
        """
        return _is_whole(self.buffer, head, line_limit=self.loop.limits.trailers)

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
        self._read_on()
        if 0 < head.framing <= min(limit, len(self.buffer)):  # most often it is here
            body, self.buffer = self.buffer[: head.framing], self.buffer[head.framing :]
            self._body_taken = True
            then(exchange, body)
            return
        collecting = _BodyCollector(exchange, limit, then, on_too_large)
        if head.framing > limit:
            self._collecting = collecting
            collecting.refuse()
            return
        self._begin_collecting(collecting)

    def await_body(self, exchange: Exchange, then: Callable[[Exchange], None]) -> None:
        """Call when the body, or as much of it as is read at a time, is in the buffer."""
        self._read_on()
        if 0 <= exchange.head.framing <= len(self.buffer):
            exchange.unpark()
            then(exchange)
            return
        self._begin_collecting(_BodyAwaiter(exchange, then))

    def _read_on(self) -> None:
        if not self._mask & READ and not self._ended:  # it was parked, and read ahead
            self._watch_for(READ)

    def _begin_collecting(self, collecting: _BodyCollector) -> None:
        self._collecting = collecting
        if collecting.expects_continue and not self.buffer:
            self.send_part(_CONTINUE)
        self._phase = BODY
        buffer, self.buffer = self.buffer, b""
        self._take_body(buffer)

    def _take_body(self, data: bytes) -> None:
        collecting = self._collecting
        assert collecting is not None, "in the phase BODY something is collected"
        if data:
            try:
                is_within = collecting.feed(data, self.loop.now)
            except ProtocolError as exc:
                self.refuse(400, str(exc))
                return
            if not is_within:
                self._phase = BUSY
                collecting.refuse()
                return
        self.deadline = collecting.deadline
        if collecting.done:
            self._phase = BUSY
            self.deadline = math.inf
            self.buffer = collecting.rest
            self._collecting = None
            self._body_taken = collecting.takes
            collecting.finish()


class _BodyCollector:
    """A body on its way into memory.

    Attributes:
        takes: whether it is taken out of what was read.
    """

    takes = True

    __slots__ = (
        "_exchange",
        "_limit",
        "_on_too_large",
        "_pace",
        "_pieces",
        "_size",
        "_then",
        "_transcoder",
        "_waits_from",
    )

    def __init__(
        self,
        exchange: Exchange,
        limit: int,
        then: Callable[[Exchange, bytes], None],
        on_too_large: Callable[[Exchange, int], None],
    ) -> None:
        self._exchange = exchange
        self._limit = limit
        self._then = then
        self._on_too_large = on_too_large
        self._transcoder = BodyTranscoder(
            exchange.head.framing, UNTIL_CLOSE, line_limit=exchange.limits.trailers
        )
        self._pieces: list[bytes] = []
        self._size = 0
        self._pace = BodyPace(exchange.limits)
        self._waits_from = exchange.loop.now

    @property
    def deadline(self) -> float:
        """The time at which the client is too slow."""
        return self._waits_from + self._pace.left_s

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 before it sends the body."""
        return self._exchange.head.expects_continue

    @property
    def done(self) -> bool:
        """Whether the body is complete."""
        return self._transcoder.done

    @property
    def rest(self) -> bytes:
        """The bytes that came behind the body."""
        return self._transcoder.rest

    def feed(self, data: bytes, now: float) -> bool:
        """Take some of it, at a time; give whether it is within the limit.

        Raises:
            ProtocolError: its framing is broken.
        """
        piece = self._transcoder.feed(data)
        self._size += len(piece)
        self._note(len(piece), now)
        if self._size > self._limit:
            return False
        self._pieces.append(piece)
        return True

    def finish(self) -> None:
        """Give the body to the one who asked for it."""
        exchange = self._exchange
        exchange.decide(self._then, exchange, b"".join(self._pieces))

    def _note(self, count: int, now: float) -> None:
        """Note that so many bytes of content came."""
        self._pace.took(count, now - self._waits_from)
        self._waits_from = now

    def refuse(self) -> None:
        """Tell the one who asked that the body is too large."""
        exchange = self._exchange
        size = max(self._size, exchange.head.framing)
        exchange.decide(self._on_too_large, exchange, size)


class _BodyAwaiter(_BodyCollector):
    """The beginning of a body, which is kept as it was read."""

    __slots__ = ()
    takes = False

    def __init__(self, exchange: Exchange, then: Callable[[Exchange], None]) -> None:
        super().__init__(exchange, BUFFER, lambda ex, _: then(ex), lambda *_: None)

    @property
    def done(self) -> bool:
        """Whether the body is complete, or enough of it is here."""
        return self._transcoder.done or self._size >= BUFFER

    @property
    def rest(self) -> bytes:
        """All that came."""
        return b"".join(self._pieces)

    def feed(self, data: bytes, now: float) -> bool:
        """Take some of it, at a time; give True.

        Raises:
            ProtocolError: its framing is broken.
        """
        self._note(len(self._transcoder.feed(data)), now)
        self._pieces.append(data)
        self._size += len(data)
        return True

    def finish(self) -> None:
        """Tell the one who waits for it."""
        exchange = self._exchange
        exchange.unpark()
        exchange.decide(self._then, exchange, b"")


def _is_whole(buffer: bytes, head: RequestHead, *, line_limit: int) -> bool:
    """Tell whether a body is in a buffer up to its end, without trailers that go on."""
    if head.framing >= 0:
        return len(buffer) >= head.framing
    transcoder = BodyTranscoder(CHUNKED, UNTIL_CLOSE, line_limit=line_limit)
    try:
        transcoder.feed(buffer)
    except ProtocolError:
        return True  # collecting it meets the fault again, and refuses it
    return transcoder.done and not transcoder.has_trailers
