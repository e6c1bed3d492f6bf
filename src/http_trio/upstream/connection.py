"""One connection to a server: it moves bytes and knows nothing of HTTP.

    CONNECTING -> SECURING -> BUSY <-> IDLE -> CLOSED

What it reads, and how it ended, it tells its `Receiver`; where it goes when it is not
needed, and how it begins again elsewhere, it asks of its `Pool`. So it knows neither the
one who forwards nor the server whose connection it is. One request at a time has it, or
a `Holder` for good, which sends what it likes. One file, since it is one state machine.
The rule that it obeys: a receiver is told of one end at most.
"""

from __future__ import annotations

import enum
import os
import socket
import ssl
from collections.abc import Collection
from typing import Protocol

import trio

from http_trio.limits import BUFFER
from http_trio.net.connect import Address, send_first
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ, WRITE
from http_trio.net.stream import ByteStream, SocketStream, finish_handshake
from http_trio.net.tls_socket import AnySocket, TlsSocket, held, what_failed
from http_trio.upstream.channel import Holder, Receiver
from http_trio.upstream.failure import Failure, FailureReason


class UpstreamPhase(enum.IntEnum):
    """Where a connection is; it is being made as long as it is below BUSY."""

    CONNECTING = enum.auto()  # the kernel connects
    SECURING = enum.auto()  # the TLS handshake is under way
    BUSY = enum.auto()  # a request has it
    IDLE = enum.auto()  # it waits for a request
    CLOSED = enum.auto()  # it is over


_CONNECTING, _SECURING, _BUSY, _IDLE, _CLOSED = (
    UpstreamPhase  # a name costs less than a member
)


class Pool(Protocol):
    """Where a connection belongs.

    Attributes:
        idle: the connections that wait for a request, oldest first.
        open: how many there are.
        lead: what each begins with, before TLS too; mostly nothing.
    """

    lead: bytes
    idle: dict[UpstreamConnection, None]
    open: int

    @property
    def epoch(self) -> int:
        """Of which a connection is of use; an earlier one is closed after its request."""

    @property
    def name(self) -> str:
        """The name of the server."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Whether, and how, TLS is spoken with it."""

    def open_socket(
        self, now: float, tried: Collection[Address]
    ) -> tuple[AnySocket, Address]:
        """Begin to connect to an address that was not tried; OSError if there is none."""

    def keep_session(self, sock: TlsSocket) -> None:
        """Let the next connection resume the session of this one."""

    def shun(self, address: Address, now: float) -> None:
        """Note that an address did not accept."""


class UpstreamConnection:
    """One connection to a server.

    Attributes:
        upstream: the pool that it belongs to.
        fresh: whether no request has been answered over it yet.
        sent: whether a byte of the present request may have reached the server.
    """

    trailers = b""  # where HTTP/1.1 states a length, nothing follows it
    __slots__ = (
        *("_epoch", "_holder", "_loop", "_outbox", "_phase", "_receiver", "_tried"),
        "deadline",
        "fd",
        "fresh",
        "sent",
        "sock",
        "upstream",
    )

    def __init__(
        self, upstream: Pool, loop: EventLoop, sock: AnySocket, address: Address
    ) -> None:
        self.upstream = upstream
        self.sock = sock
        self.fd = sock.fileno()
        self.deadline = loop.now + loop.limits.connect_s
        self.fresh = True
        self.sent = False
        self._epoch = upstream.epoch
        self._loop = loop
        self._phase: UpstreamPhase = _CONNECTING
        self._receiver: Receiver | None = None
        self._holder: Holder | None = None
        self._outbox = b""
        self._tried = [address]
        upstream.open += 1
        loop.watch(self.fd, self, WRITE)

    def __repr__(self) -> str:
        return f"<UpstreamConnection to {self.upstream.name} phase={self._phase.name}>"

    @property
    def connecting(self) -> bool:
        """Whether the connection is not made, or not secured, yet."""
        return self._phase <= _SECURING

    def blame_address(self) -> None:
        """Note that the address is at fault; the next connections begin elsewhere."""
        self.upstream.shun(self._tried[-1], self._loop.now)

    def reconnect(self) -> bool:
        """Begin again at another address of the server; False if all were tried.

        The socket is another one then.
        """
        self.blame_address()
        try:
            sock, address = self.upstream.open_socket(self._loop.now, self._tried)
        except OSError:
            return False
        watched = self._loop.sockets.get(self.fd) is self
        if watched:
            self._loop.unwatch(self.fd)
        self.sock.close()
        self.sock, self.fd = sock, sock.fileno()
        self._tried.append(address)
        self._phase = _CONNECTING
        if watched:
            self._loop.watch(self.fd, self, WRITE)
        return True

    async def finish_connecting(self) -> Failure | None:
        """Wait until it is made, out of the event loop; give why it cannot be, or None.

        The other addresses of the server are tried before it gives up. It sets no time
        limit. Cancelled, the connection is to be closed by the caller.
        """
        name = self.upstream.name
        await trio.lowlevel.wait_writable(self.sock)
        while code := self._find_error():
            if not self.reconnect():
                why = os.strerror(code)
                return Failure(FailureReason.UNREACHABLE, name, sent=False, detail=why)
            await trio.lowlevel.wait_writable(self.sock)
        if not isinstance(self.sock, TlsSocket):
            return None
        try:
            await finish_handshake(self.sock)
        except OSError as exc:
            why = what_failed(exc)
            return Failure(FailureReason.UNTRUSTED, name, sent=False, detail=why)
        return None

    @property
    def stream(self) -> ByteStream:
        """What a task that has the connection reads from and writes to."""
        return SocketStream(self.sock)

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """The address at the other end; None if it is none, or gone."""
        try:
            at = self.sock.getpeername()
        except OSError:
            return None
        return (at[0], at[1]) if isinstance(at, tuple) else None

    def alive(self) -> bool:
        """Tell whether an idle connection can still be used."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # it was closed, or the server speaks without being asked

    def begin(self, receiver: Receiver, request: bytes) -> None:
        """Send a request; from here on the receiver is told what happens."""
        self._receiver = receiver
        if self._phase <= _SECURING:
            self._outbox = request
            self.deadline = self._loop.now + receiver.timeouts.connect_s
            return
        self._phase = _BUSY
        self.sent = False
        loop = self._loop
        self.deadline = loop.now + receiver.timeouts.response_s
        self._outbox = request
        if loop.in_batch:
            loop.unsent.append(self)
        else:
            self.flush()

    def hold(self, holder: Holder) -> None:
        """Have it for good, once it is made; nothing is sent yet."""
        self._holder = self._receiver = holder
        self.deadline = self._loop.now + holder.timeouts.connect_s

    def write(self, data: bytes) -> bool:
        """Send more, as its holder; give whether there is room for further.

        Where there is none, the holder is told when there is.
        """
        self.sent = True
        self._send(data)
        return not self._outbox

    def await_room(self) -> None:
        """Tell the holder when there is room, in another turn of the loop."""
        self._loop.poller.modify(self.fd, READ | WRITE)

    def flush(self) -> None:
        """Send what there is of the request, as far as the server takes it."""
        data = self._outbox
        if data and self._phase is _BUSY:
            self._outbox = b""
            self.sent = True
            self._send(data)

    def touch(self, stream_idle_s: float) -> None:
        """Note that the server goes on with its response; it may rest so long again."""
        self.deadline = self._loop.now + stream_idle_s

    def release(self) -> None:
        """Go idle, to be used again; or close, where that cannot be."""
        loop, upstream = self._loop, self.upstream
        idle, limits = upstream.idle, loop.limits
        self._receiver = None
        if (
            self._outbox
            or self._epoch != upstream.epoch
            or len(idle) >= limits.upstream_idle
            or loop.draining
        ):
            self.close()
            return
        self._phase = _IDLE
        if self.fresh:
            self.fresh = False
            if isinstance(self.sock, TlsSocket):
                upstream.keep_session(self.sock)
        self.deadline = loop.now + limits.upstream_idle_s
        idle[self] = None

    def close(self) -> None:
        """Close at once; nobody is told."""
        if self._phase is _CLOSED:
            return
        self.leave_loop()
        self._phase = _CLOSED
        self.sock.close()
        self.upstream.open -= 1

    def leave_loop(self) -> None:
        """Be served by a task from now on."""
        self._receiver = None
        self._loop.unwatch(self.fd)
        self.upstream.idle.pop(self, None)

    def rejoin(self) -> None:
        """Come back from a task, ready for another request."""
        self._loop.watch(self.fd, self, READ)
        if held(self.sock):
            self.close()  # it speaks without being asked
        else:
            self.release()

    def ready(self, mask: int) -> None:
        """Handle readiness."""
        if self._phase is _BUSY:
            if mask & WRITE:
                self._send_rest(self._outbox)
            if mask & ~WRITE and self._receiver is not None:
                self._receive(self._receiver)
        elif self._phase <= _SECURING:
            self._connected()
        elif self.upstream.tls is None or not self.alive():
            self.close()  # nothing may come on an idle connection but its end

    def expire(self) -> None:
        """Handle that the server was too slow, or not asked for too long."""
        if self._receiver is None:
            self.close()
        elif self._phase <= _SECURING:
            self.blame_address()
            self._receiver.failed(FailureReason.CONNECT_TIMEOUT, "")
        else:
            self._receiver.expired()

    def idle(self) -> tuple[bool, float] | None:
        """Say that it was of use, and since when it waits for a request."""
        if self._holder is not None:
            return self._holder.idle()
        if self._phase is not _IDLE:
            return None
        return True, self.deadline - self._loop.limits.upstream_idle_s

    def abort(self) -> None:
        """Close at once; a request in progress fails."""
        receiver = self._receiver
        self.close()
        if receiver is not None:
            receiver.failed(FailureReason.CLOSED, "we are closing")

    def _find_error(self) -> int:
        """Give why it is not made, 0 if it is; what comes first is sent then."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code and self._phase is _CONNECTING and self.upstream.lead:
            return send_first(self.sock, self.upstream.lead)
        return code

    def _connected(self) -> None:
        receiver = self._receiver
        assert receiver is not None, "a connection is begun for somebody"
        if code := self._find_error():
            if not self.reconnect():
                receiver.failed(FailureReason.UNREACHABLE, os.strerror(code))
            return
        if isinstance(self.sock, TlsSocket):
            try:
                wanted = self.sock.handshake()
            except OSError as exc:
                self.blame_address()
                receiver.failed(FailureReason.UNTRUSTED, what_failed(exc))
                return
            if wanted:
                self._phase = _SECURING
                self._loop.poller.modify(self.fd, wanted)
                return
        self._loop.poller.modify(self.fd, READ)
        self._phase = _BUSY
        if self._holder is not None:
            self._holder.connected()
            return
        request, self._outbox = self._outbox, b""
        self.begin(receiver, request)

    def _send_rest(self, data: bytes) -> None:
        if data:
            self._send(data)
        if self._holder is not None and not self._outbox:
            self._loop.poller.modify(self.fd, READ)
            self._holder.room_made()

    def _send(self, data: bytes) -> None:
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            count = len(data)  # it may have answered before it closed: the read tells
        if count == len(data) and not self._outbox:
            return
        self._outbox = data[count:]
        self._loop.poller.modify(self.fd, READ | WRITE if self._outbox else READ)

    def _receive(self, receiver: Receiver) -> None:
        try:
            data = self.sock.recv(BUFFER)
        except BlockingIOError:
            return
        except OSError as exc:
            receiver.failed(FailureReason.CLOSED, exc.strerror or str(exc))
            return
        if not data:
            receiver.closed()
        elif self.sent:
            receiver.received(data)
        else:  # what came is no response to what is still here
            receiver.failed(FailureReason.CLOSED, "spoke without being asked")
