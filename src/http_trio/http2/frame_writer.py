"""The socket of an HTTP/2 connection, as far as frames go out over it.

What the session has to send goes to the kernel a piece at a time, and only when what
went before is taken, so that it can still choose whose turn it is. The rules that it
obeys: the sends of a batch go out together at its end, and the last word of a connection
is read, if its client reads, before it is closed.
"""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod

from http_trio.http2.overhead import HalfSent, Overhead
from http_trio.http2.session import NO_ERROR, Http2Session, code_name
from http_trio.http2.stream import Http2Stream
from http_trio.limits import BUFFER
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import AnySocket

_TURN = 16  # pieces of one flush; then others have their turn
_LINGER_BYTES = 4 * 1024 * 1024  # read and dropped at most, behind our last word


class FrameWriter(ABC):
    """The writing half of a connection. What reads is a subclass.

    Attributes:
        session: the state of its HTTP/2.
        deadline: when it is to be looked at; the loop's clock, in seconds.
    """

    __slots__ = (
        "_blocked",
        "_ending",
        "_half_sent",
        "_is_closed",
        "_is_leaving",
        "_is_over",
        "_is_told",
        "_is_woken",
        "_lingered",
        "_mask",
        "_outbox",
        "_overhead",
        "_stuck_since",
        "deadline",
        "fd",
        "loop",
        "session",
        "sock",
    )

    def __init__(self, loop: EventLoop, sock: AnySocket, session: Http2Session) -> None:
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()
        self.session = session
        self.deadline = math.inf
        self._overhead = Overhead(loop.now)
        self._half_sent = HalfSent(loop.now)
        self._mask = READ
        self._outbox = b""
        self._stuck_since = loop.now
        self._blocked: set[Http2Stream] = set()
        self._ending: set[Http2Stream] = set()
        self._lingered = -1
        self._is_closed = self._is_woken = False
        self._is_told = self._is_leaving = self._is_over = False

    # === what the reading half does ===

    @abstractmethod
    def abort(self) -> None:
        """Close at once; the exchanges in progress end."""

    @property
    @abstractmethod
    def _is_done(self) -> bool:
        """Whether it is to be closed when all is sent."""

    @abstractmethod
    def _settle(self) -> None:
        """Note that all is sent."""

    # === the last words ===

    def announce(self) -> None:
        """Ask for no further streams, and say soon which was the last (section 6.8)."""
        if self._is_closed or self._is_over or self._is_told:
            return
        self._is_told = True
        self.session.announce_shutdown()
        self.session.ping()  # what was sent before the notice came, comes before this
        self.loop.call_later(self.loop.limits.notice_s, self.leave)
        self.wake()

    def leave(self, why: str = "draining") -> None:
        """Take no further streams from now on; close when those that run are over."""
        if not self._is_closed and not self._is_leaving:
            self._is_leaving = True
            self._count_goaway(why, 0)
            self.session.shut_down()
            self.wake()

    # === for the event loop, and whoever has something to send ===

    def wake(self) -> None:
        """Send what the session has to send: at the batch's end, or at once."""
        if self._is_woken or self._is_closed:
            return
        if self.loop.in_batch:
            self._is_woken = True
            self.loop.unsent.append(self)
        else:
            self.flush()

    def flush(self) -> None:
        """Send what the session has to send, as far as the client takes it."""
        if self._is_closed or self._lingered >= 0:
            return
        self._is_woken = (
            True  # what is said in between goes out in its turn, not before
        )
        all_sent = self._send_some()
        self._is_woken = False
        if self._is_closed:
            return
        if all_sent:
            self._all_sent()
            return
        self._tell_room()
        self._watch_for(READ | WRITE)
        self._wait_until(self._stuck_since + self.loop.limits.write_s)

    # === for the streams ===

    def await_room(self, stream: Http2Stream) -> None:
        """Tell the stream when some of what is queued is out."""
        self._blocked.add(stream)

    def reset_behind(self, stream: Http2Stream) -> None:
        """Reset a stream once its response is out: nobody reads the rest of its body."""
        self._ending.add(stream)

    # === private ===

    def _send_some(self) -> bool:
        """Give the kernel what it takes; give whether nothing is left."""
        now = self.loop.now
        for _ in range(_TURN):
            data = self._outbox
            if not data:
                data = self._outbox = self.session.output(BUFFER)
                if not data:
                    return True
                self._stuck_since = now
            try:
                count = self.sock.send(data)
            except BlockingIOError:
                return False
            except OSError:
                self.abort()
                return False
            self._overhead.sent(count)
            self._outbox = data[count:]
            self._stuck_since = now
        return False

    def _all_sent(self) -> None:
        if self._ending and self._reset_done():
            self.flush()
            return
        if self._blocked:
            self._tell_room()
        if (self._is_over or self._is_leaving) and self._is_done:
            self._close_gently()
            return
        if self._mask != READ:
            self._watch_for(READ)
        self._settle()

    def _reset_done(self) -> bool:
        """Reset the streams whose responses are out; give whether there were any."""
        done = [one for one in self._ending if not self.session.queued(one.id)]
        for stream in done:
            self._ending.discard(stream)
            self.session.reset(stream.id, NO_ERROR)  # RFC 9113 section 8.1
        return bool(done)

    def _tell_room(self) -> None:
        waiting, self._blocked = self._blocked, set()
        for stream in waiting:
            if not stream.room_made():
                self._blocked.add(stream)

    def _count_goaway(self, reason: str, code: int) -> None:
        self.loop.counts.goaways[reason, code_name(code)] += 1

    def _close_gently(self) -> None:
        """Close so that a client that still sends can read our last word first."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
            return
        self._lingered = 0
        self._watch_for(READ)
        self.deadline = self.loop.now + self.loop.limits.linger_s

    def _drop_unread(self, count: int) -> None:
        self._lingered += count
        if self._lingered > _LINGER_BYTES:
            self.abort()

    def _wait_until(self, deadline: float) -> None:
        self.deadline = min(self.deadline, deadline)

    def _watch_for(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self.loop.poller.modify(self.fd, mask)
