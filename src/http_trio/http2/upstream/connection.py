"""A connection to a server on which many requests are under way at once.

It holds an `UpstreamConnection`, which moves its bytes, and gives what is read to the
session; which streams there are is in `stream_table.py`. One file, since all streams
share one socket and one end.

The rules that it obeys: what is lost with the connection is lost for its streams only.
It is not asked for signs of life more often than any server bears.
"""

from __future__ import annotations

import math

from http_trio.http2.upstream.stream import UpstreamStream
from http_trio.http2.upstream.stream_table import StreamPool, StreamTable
from http_trio.limits import BUFFER, Limits, Timeouts
from http_trio.net.event_loop import EventLoop
from http_trio.net.tls_socket import TlsSocket
from http_trio.upstream.connection import UpstreamConnection
from http_trio.upstream.failure import FailureReason

PING_AFTER_S = 20.0
"""A connection on which nothing has come for so long is asked for a sign of life."""

PING_ANSWER_S = 10.0
"""How long that may take; then the connection is over."""

PINGS = 2
"""Signs of life that are asked for in a row, while no response comes.

gRPC's servers take a third, within five minutes, for an attack, and end the connection.
"""

_TURN = 16  # pieces of one flush; then others have their turn


class MultiplexedConnection(StreamTable):
    """One connection; the `Holder` of its transport.

    Attributes:
        transport: what moves its bytes.
    """

    trailers = b""  # it is no request; each stream has its own
    __slots__ = (
        "_has_room",
        "_heard",
        "_idle_since",
        "_is_connected",
        "_is_flushing",
        "_is_over",
        "_is_woken",
        "_pinged_at",
        "_settings_until",
        "transport",
    )

    def __init__(
        self, pool: StreamPool, transport: UpstreamConnection, loop: EventLoop
    ) -> None:
        super().__init__(pool, loop)
        self.transport = transport
        self._is_connected = self._is_over = False
        self._is_woken = self._is_flushing = False
        self._has_room = True
        self._heard = self._idle_since = loop.now
        self._settings_until = math.inf
        self._pinged_at = 0.0
        transport.hold(self)
        transport.deadline = math.inf  # until somebody waits for it

    def __repr__(self) -> str:
        counts = f"streams={len(self.placed)} waiting={len(self._waiting)}"
        return f"<MultiplexedConnection to {self._pool.name} {counts}>"

    # === for the pool ===

    def leave(self) -> None:
        """Begin no more streams; end when those that run are over."""
        if not self._is_leaving:
            self._is_leaving = True
            self._pool.ended(self)
            self._settle()

    # === for the streams ===

    @property
    def name(self) -> str:
        """The server's."""
        return self._pool.name

    @property
    def scheme(self) -> bytes:
        """What a request's :scheme says."""
        return b"https" if isinstance(self.transport.sock, TlsSocket) else b"http"

    @property
    def now(self) -> float:
        """The loop's clock, in seconds."""
        return self.loop.now

    def begins(self, stream: UpstreamStream) -> None:
        """Let a stream with a whole request go first, or note how long it may wait."""
        receiver = stream.receiver
        if self._is_connected:
            self._place_first()
        elif receiver is not None:
            until = self.loop.now + receiver.timeouts.connect_s
            before = self.transport.deadline
            self.transport.deadline = (
                until if before == math.inf else max(before, until)
            )

    def opened(self, stream: UpstreamStream) -> None:
        """Take that a stream has its number."""
        self._by_id[stream.id] = stream
        self.look_at(self.loop.now + PING_AFTER_S)

    def forget(self, stream: UpstreamStream) -> None:
        """Take that a stream will never begin."""
        self.placed.pop(stream, None)
        self._waiting.pop(stream, None)
        self._blocked.discard(stream)
        self._settle()

    def await_room(self, stream: UpstreamStream) -> None:
        """Tell the stream when some of what is queued is out."""
        self._blocked.add(stream)

    def deliver_soon(self, stream: UpstreamStream) -> None:
        """Let the stream tell its receiver, when all that came is looked at."""
        self._touched[stream] = None

    def look_at(self, deadline: float) -> None:
        """Look for streams that are late at that time."""
        if self._is_connected:
            self.transport.deadline = min(self.transport.deadline, deadline)

    def blame_address(self) -> None:
        """Note that the address is at fault."""
        self.transport.blame_address()

    def wake(self) -> None:
        """Send what the session has to send: at the batch's end, or at once."""
        if self._is_woken or self._is_over:
            return
        self._is_woken = True
        if self.loop.in_batch:
            self.loop.unsent.append(self)
        else:
            self.flush()

    # === for the event loop ===

    def flush(self) -> None:
        """Send what the session has to send, as far as the server takes it."""
        if self._is_flushing:
            return
        self._is_flushing = True
        try:
            while self._is_woken and not self._is_over:
                self._is_woken = False
                if self._is_connected and self._has_room:
                    self._send()
                    self._look_around()
        finally:
            self._is_flushing = False

    def abort(self) -> None:
        """Close at once; all requests in progress fail."""
        self.transport.abort()

    # === for the transport ===

    @property
    def timeouts(self) -> Timeouts | Limits:
        """How long connecting may take; who waits says it better, in `begins`."""
        return self.loop.limits

    def connected(self) -> None:
        """Begin to speak."""
        refusal = self._pool.refusal(self.transport.sock)
        if refusal:
            self.transport.blame_address()
            self._fail(FailureReason.UNTRUSTED, refusal)
            return
        self._is_connected = True
        self._heard = self.loop.now
        self._settings_until = self.loop.now + self.loop.limits.connect_s
        self.transport.deadline = self._settings_until
        self._place_first()
        self.wake()

    def received(self, data: bytes) -> None:
        """Take what the server sent."""
        self._heard = self.loop.now
        self.session.receive(data)
        self.wake()
        self._look_around()

    def closed(self) -> None:
        """Take that the server closed."""
        self._fail(FailureReason.CLOSED, "closed without a response")

    def failed(self, condition: FailureReason, detail: str) -> None:
        """Take that there is no use of the transport any more."""
        self._fail(condition, detail)

    def expired(self) -> None:
        """Look who is late, and whether the server is there at all."""
        now = self.loop.now
        is_early = now < self.transport.deadline  # descriptors have run short
        self.transport.deadline = math.inf
        if self._pinged_at and now >= self._pinged_at + PING_ANSWER_S:
            self._fail(FailureReason.CLOSED, "no answer to a PING")
            return
        if not self._has_settings and now >= self._settings_until:
            self._settings_until = math.inf
            self._give_up_waiting()
        for stream in [one for one in self.placed if one.deadline <= now]:
            stream.expire()
        if not self.placed and not self._waiting:
            idle_until = self._idle_since + self.loop.limits.upstream_idle_s
            if is_early or now >= idle_until:
                self._say_goodbye()
                return
        if self._pings < PINGS and now >= self._heard + PING_AFTER_S:
            self._ping(now)
        self._plan_next_look()

    def room_made(self) -> None:
        """Go on sending."""
        self._has_room = True
        self.wake()

    def idle(self) -> tuple[bool, float] | None:
        """Say that it was of use, and since when it carries nothing."""
        if self.placed or self._waiting:
            return None
        return True, self._idle_since

    # === for the session ===

    def ping_answered(self) -> None:
        """Note the sign of life."""
        self._pinged_at = 0.0
        self._plan_next_look()

    def _began(self) -> None:
        """Take that the server's settings have come."""
        self._settings_until = math.inf
        sock = self.transport.sock
        if isinstance(sock, TlsSocket):
            self.transport.upstream.keep_session(sock)

    def _carries(self) -> None:
        """Take that it is not idle."""
        self.transport.upstream.idle.pop(self.transport, None)

    # === private ===

    def _give_up_waiting(self) -> None:
        waiting, self._waiting = list(self._waiting), {}
        for stream in waiting:
            stream.failed(FailureReason.CONNECT_TIMEOUT, "it sends no HTTP/2 settings")
        self.leave()

    def _send(self) -> None:
        for _ in range(_TURN):
            data = self.session.output(BUFFER)
            if not data:
                break
            if not self.transport.write(data):
                self._has_room = False
                break
        else:
            self._has_room = False
            self.transport.await_room()
        if self._blocked:
            waiting, self._blocked = self._blocked, set()
            for stream in waiting:
                if not stream.room_made():
                    self._blocked.add(stream)

    def _look_around(self) -> None:
        """Tell what came, then see whether this was the end."""
        while self._touched:
            stream, _ = self._touched.popitem()
            stream.deliver()
        if self._end is not None and not self._is_over:
            if self._has_room:
                last_word = self.session.output(BUFFER)
                if last_word:
                    self.transport.write(last_word)
            self._fail(*self._end)
        self._settle()

    def _settle(self) -> None:
        """See whether it is idle now, or needed no more."""
        upstream = self.transport.upstream
        if self._is_over:
            return
        if self.placed or self._waiting:
            return
        if self._is_leaving or self.loop.draining or not self._is_connected:
            self._say_goodbye()
        elif self.transport not in upstream.idle:
            upstream.idle[self.transport] = None
            self._idle_since = self.loop.now
            self._plan_next_look()

    def _say_goodbye(self) -> None:
        """Close it: nothing is under way."""
        if self._is_connected and self._has_room:
            self.session.shut_down()
            data = self.session.output(BUFFER)
            if data:
                self.transport.write(data)
        self._fail(FailureReason.CLOSED, "we are closing")

    def _fail(self, condition: FailureReason, detail: str) -> None:
        if self._is_over:
            return
        self._is_over = self._is_leaving = True
        self._pool.ended(self)
        self.transport.close()
        lost = [*self.placed, *self._waiting]
        self.placed, self._waiting = {}, {}
        self._by_id.clear()
        self._blocked.clear()
        for stream in lost:
            stream.failed(condition, detail)

    def _ping(self, now: float) -> None:
        self._pings += 1
        self._pinged_at = now
        self.session.ping()
        self.wake()

    def _plan_next_look(self) -> None:
        """Set when it is looked at next; at streams, no sooner than they are late."""
        waits = [stream.deadline for stream in self.placed]
        waits.append(self._settings_until)
        if self._pinged_at:
            waits.append(self._pinged_at + PING_ANSWER_S)
        elif self._pings < PINGS:
            waits.append(self._heard + PING_AFTER_S)
        if not self.placed and not self._waiting:
            waits.append(self._idle_since + self.loop.limits.upstream_idle_s)
        self.look_at(min(waits))
