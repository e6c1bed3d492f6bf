"""A client's socket, as far as responses go out over it.

What is sent first goes to the kernel; what that does not take waits in `_outbox` until
the socket is writable. Once the last of a response is out, the connection goes on with
the next request, or is closed so that the client can read its response first. The rule
that it obeys: what was accepted for sending is sent in order, or the connection ends.
"""

from __future__ import annotations

import math
import socket
from abc import ABC, abstractmethod

from http_trio.limits import BUFFER
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import AnySocket
from http_trio.server.exchange import Exchange
from http_trio.server.phases import CLOSED, FLUSHING, HEAD, LINGERING, ClientPhase


class ResponseWriter(ABC):
    """The writing half of a client's connection. What reads is a subclass.

    Attributes:
        buffer: what was read and not used yet.
        deadline: when the client is too slow; the loop's clock, in seconds.
    """

    trailers = b""  # where HTTP/1.1 states a length, nothing follows it
    __slots__ = (
        "_ended",
        "_exchange",
        "_keep",
        "_mask",
        "_outbox",
        "_phase",
        "buffer",
        "deadline",
        "fd",
        "loop",
        "sock",
    )

    def __init__(self, loop: EventLoop, sock: AnySocket) -> None:
        self.loop = loop
        self.sock = sock
        self.fd = sock.fileno()
        self.buffer = b""
        self.deadline = loop.now + loop.limits.head_s
        self._phase: ClientPhase = HEAD
        self._exchange: Exchange | None = None
        self._outbox: bytes | memoryview = b""
        self._mask = READ
        self._keep = True
        self._ended = False

    # === what the reading half does ===

    @abstractmethod
    def abort(self) -> None:
        """Close at once; an exchange in progress ends."""

    @abstractmethod
    def drop(self, *, by_upstream: bool = False) -> None:
        """Close at once; nobody is told."""

    @abstractmethod
    def _process(self) -> None:
        """Take the requests that are in the buffer, until one must wait."""

    # === for the exchange ===

    def add_trailers(self, lines: bytes) -> None:
        """Drop them: HTTP/1.1 has them behind chunks only (RFC 9112 section 7.1.2)."""
        del lines

    @property
    def own_socket(self) -> ResponseWriter:
        """Itself: what is sent to beside the event loop."""
        return self

    @property
    def behind(self) -> int:
        """Bytes that wait for the client to take them."""
        return len(self._outbox)

    def send_part(self, data: bytes) -> bytes:
        """Send; give what the client does not take now."""
        if self._ended:
            self.deadline = self.loop.now + self.loop.limits.half_closed_s
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            self.abort()
            return b""

    def write(self, data: bytes) -> int:
        """Send, and keep what the client does not take now; give how much is kept."""
        if not self._outbox:
            data = self.send_part(data)
            if not data or self._phase is CLOSED:
                return 0
            self._watch_for(READ | WRITE)
            self.deadline = self.loop.now + self.loop.limits.write_s
        self._outbox = b"".join((self._outbox, data))
        return len(self._outbox)

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the last of a response, then go on with the next request, or close."""
        self._exchange = None
        self._keep = keep
        self._outbox = b"".join((self._outbox, data)) if self._outbox else data
        self._phase = FLUSHING
        loop = self.loop
        if loop.in_batch:
            loop.unsent.append(self)
        else:
            self.flush()

    def sent_last(self, data: bytes, count: int) -> None:
        """Note that the last of a response was sent, and go on as `send_last` does.

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
            self._phase = FLUSHING
            self._outbox = data
            self._await_room(count)

    # === for the event loop ===

    def flush(self) -> None:
        """Send the last of a response, as far as the client takes it."""
        if self._phase is not FLUSHING:
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

    # === private ===

    def _flush_part(self) -> None:
        """Send more of a response that is still being written."""
        try:
            count = self.sock.send(self._outbox)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._outbox = memoryview(self._outbox)[count:]
        self.deadline = self.loop.now + self.loop.limits.write_s
        if not self._outbox:
            if self._ended:
                self.deadline = self.loop.now + self.loop.limits.half_closed_s
                self._watch_for(0)
                return
            self.deadline = math.inf
            self._watch_for(READ if len(self.buffer) <= BUFFER else 0)

    def _await_room(self, count: int) -> None:
        """Wait until the client takes more; it has taken count bytes."""
        if count or self._mask != WRITE:
            self._outbox = memoryview(self._outbox)[
                count:
            ]  # many share it: see fan_out
            self.deadline = self.loop.now + self.loop.limits.write_s
            self._watch_for(WRITE)

    def _next(self) -> None:
        """The response is out: go on with the next request, or close."""
        if not self._keep:
            self._close_gently()
            return
        if self._mask != READ and not self._ended:
            self._watch_for(READ)
        self._phase = HEAD
        loop = self.loop
        limits = loop.limits
        self.deadline = loop.now + (limits.head_s if self.buffer else limits.idle_s)
        if loop.draining and not self.buffer:  # it was told that it may ask again
            self.deadline = loop.now + limits.notice_s
        if self.buffer or self._ended:
            self._process()

    def _close_gently(self) -> None:
        """Close so that a client that still sends can read its response first."""
        if self._ended:
            self.drop()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop()
            return
        self._watch_for(READ)
        self._phase = LINGERING
        self.deadline = self.loop.now + self.loop.limits.linger_s

    def _watch_for(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self.loop.poller.modify(self.fd, mask)
