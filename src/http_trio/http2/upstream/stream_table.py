"""The streams of a connection to a server: which there are, and whether more may be.

It is told what the session reads, and gives each stream what is its. One file, since
what the server says of its streams is all about one table. The rules that it obeys: no
more streams are begun than the server allows. Until it has said how many, that is one;
the others wait. What the server has not looked at may go elsewhere.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Protocol

from http_trio.http2.messages.heads import Field
from http_trio.http2.session import (
    NO_ERROR,
    REFUSED_STREAM,
    Http2Session,
    Http2Settings,
    code_name,
)
from http_trio.http2.upstream.stream import UpstreamStream
from http_trio.limits import BUFFER, Limits
from http_trio.net.event_loop import EventLoop
from http_trio.net.tls_socket import AnySocket
from http_trio.upstream.failure import FailureReason

_log = logging.getLogger(__name__)

STREAMS = 100
"""Streams of one connection at most, whatever its server allows."""

REFUSED_S = 1.0
"""How long a connection begins no stream after its server refused one.

And how long no connection is made to a server whose newest ones let no stream begin.
"""

_UNUSED = (
    2  # connections in a row whose streams were all refused: so are the next ones'
)

_FIELDS = 1_024  # of a response's head; beyond it the connection fails
_HEADS = 4  # times the limit of a head, likewise: within it only the stream fails


class StreamPool(Protocol):
    """Where a connection belongs.

    Attributes:
        name: of the server.
        presumed_streams: how many streams the server is thought to allow.
        unused: how many connections in a row let no stream begin.
        shut_until: until when no connection is made; the loop's clock, in seconds.
    """

    name: str
    presumed_streams: int
    unused: int
    shut_until: float

    def refusal(self, sock: AnySocket) -> str:
        """Say why the protocol cannot be spoken over a connection; "" if it can."""

    def find_place(self, stream: UpstreamStream, loop: EventLoop) -> None:
        """Give a stream, of which nothing was sent, to another connection."""

    def ended(self, connection: StreamTable) -> None:
        """Take that a connection begins no more streams."""


class StreamTable(ABC):
    """The `Http2Events` of one session. Who moves its bytes is a subclass.

    Attributes:
        loop: that serves it.
        session: the state of its HTTP/2.
        placed: the streams that may begin, or have.
    """

    __slots__ = (
        "_blocked",
        "_by_id",
        "_end",
        "_full_until",
        "_has_settings",
        "_is_judged",
        "_is_leaving",
        "_pings",
        "_pool",
        "_touched",
        "_waiting",
        "loop",
        "placed",
        "session",
    )

    def __init__(self, pool: StreamPool, loop: EventLoop) -> None:
        self.loop = loop
        self.session = Http2Session(self, _settings(loop.limits), is_client=True)
        self.placed: dict[UpstreamStream, None] = {}
        self._pool = pool
        self._waiting: dict[UpstreamStream, None] = {}
        self._by_id: dict[int, UpstreamStream] = {}
        self._touched: dict[UpstreamStream, None] = {}
        self._blocked: set[UpstreamStream] = set()
        self._has_settings = self._is_leaving = self._is_judged = False
        self._full_until = 0.0
        self._pings = 0
        self._end: tuple[FailureReason, str] | None = None

    # === what the subclass does ===

    @abstractmethod
    def leave(self) -> None:
        """Begin no more streams; end when those that run are over."""

    @abstractmethod
    def ping_answered(self) -> None:
        """Note the sign of life."""

    @abstractmethod
    def _began(self) -> None:
        """Take that the server's settings have come."""

    @abstractmethod
    def _carries(self) -> None:
        """Take that it is not idle."""

    # === for the pool ===

    def admit(self, stream: UpstreamStream) -> bool:
        """Give a stream a place here, now or as soon as can be; False if there is none."""
        if self._is_leaving or self.loop.now < self._full_until:
            return False
        if not self._has_settings:
            if len(self.placed) + len(self._waiting) >= self._pool.presumed_streams:
                return False
            self._waiting[stream] = None
            return True
        if len(self.placed) >= self._limit:
            return False
        stream.fresh = bool(self.placed)
        self._place(stream)
        return True

    # === for the session ===

    def head_received(
        self, stream_id: int, fields: tuple[Field, ...], *, ended: bool
    ) -> None:
        """Give a response's head to its stream."""
        self._pings = 0
        self._is_judged, self._pool.unused = True, 0  # it lets streams begin
        stream = self._by_id.get(stream_id)
        if stream is not None:
            stream.head_received(fields, ended=ended)

    def interim_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Give the head of a 1xx response to its stream."""
        stream = self._by_id.get(stream_id)
        if stream is not None:
            stream.interim_received(fields)

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        """Give a piece of a body to its stream."""
        self._pings = 0
        stream = self._by_id.get(stream_id)
        if stream is None:
            self.session.consumed(stream_id, len(data))
        else:
            stream.data_received(data, ended=ended)

    def trailers_received(self, stream_id: int, fields: tuple[Field, ...]) -> None:
        """Give the trailers of a body to its stream."""
        stream = self._by_id.get(stream_id)
        if stream is not None:
            stream.data_received(b"", ended=True, trailers=fields)

    def stream_reset(self, stream_id: int) -> None:  # noqa: B027  # nothing is to be done
        """Do nothing: its end follows."""

    def stream_closed(self, stream_id: int, code: int) -> None:
        """End a stream."""
        stream = self._by_id.pop(stream_id, None)
        if stream is None:
            return
        self.placed.pop(stream, None)
        self._blocked.discard(stream)
        if code == REFUSED_STREAM and not self._is_leaving:
            self._full_until = self.loop.now + REFUSED_S
            self._note_unused(_UNUSED)
        stream.closed(code)

    def settings_received(self) -> None:
        """Begin what has waited, as far as is allowed; the rest goes elsewhere."""
        self._pool.presumed_streams = max(1, self._limit)
        if self._has_settings:
            return
        self._has_settings = True
        self._began()
        waiting, self._waiting = list(self._waiting), {}
        free = max(0, self._limit - len(self.placed))
        for stream in waiting[:free]:
            self._place(stream)
        if not self._limit:
            self._note_unused(1)
            self.leave()
        for stream in waiting[free:]:
            self._pool.find_place(stream, self.loop)

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """Begin no more streams; the session ends those that are not looked at."""
        _log.debug("%r: GOAWAY after %d: %s", self, last_stream_id, code_name(code))
        self._is_leaving = True
        self._pool.ended(self)
        waiting, self._waiting = list(self._waiting), {}
        for stream in waiting:
            self._pool.find_place(stream, self.loop)

    def connection_failed(self, code: int, reason: str) -> None:
        """Take that the session is over; what came before is told first."""
        if code == NO_ERROR:
            self._end = FailureReason.CLOSED, "closed without a response"
            return
        what = "broke the rules of HTTP/2" if self._has_settings else "is no HTTP/2"
        self._end = FailureReason.BAD_RESPONSE, f"what came {what}: {reason}"

    # === private ===

    @property
    def _limit(self) -> int:
        """Streams that may be under way at once."""
        return min(STREAMS, self.session.peer_streams)

    def _note_unused(self, most: int) -> None:
        """Note that no stream may begin; make no connections, after so many of them."""
        if not self._is_judged:
            self._is_judged = True  # it is counted once
            self._pool.unused += 1
            if self._pool.unused >= most:
                self._pool.shut_until = self.loop.now + REFUSED_S

    def _place(self, stream: UpstreamStream) -> None:
        self._carries()
        self.placed[stream] = None
        stream.place()

    def _place_first(self) -> None:
        """Begin one whole request before it is known how many the server allows."""
        if self.placed or self._has_settings:
            return
        for stream in self._waiting:
            if stream.is_urgent:
                del self._waiting[stream]
                self._place(stream)
                return


def _settings(limits: Limits) -> Http2Settings:
    return Http2Settings(
        streams=0,
        stream_window=BUFFER,
        connection_window=BUFFER * STREAMS,
        head=limits.head * _HEADS,
        fields=_FIELDS,
    )
