"""What a request has of a server while it is served, and who is told what comes.

A whole connection in HTTP/1.1, one stream of many in HTTP/2: whoever forwards uses either
by its `UpstreamChannel`. Bytes are those of HTTP/1.1 on both. Stated apart, so that neither the
one who forwards nor the pool knows which of the two it has.
"""

from __future__ import annotations

from typing import Protocol

from http_trio.limits import Limits, Timeouts
from http_trio.net.stream import ByteStream
from http_trio.upstream.failure import Failure, FailureReason


class Receiver(Protocol):
    """Who is told what comes over a channel: the request that is using it."""

    @property
    def timeouts(self) -> Timeouts | Limits:
        """How long the server may take."""

    @property
    def trailers(self) -> bytes:
        """Those of the request, whose body states its length, as lines."""

    def received(self, data: bytes) -> None:
        """Take what the server sent."""

    def closed(self) -> None:
        """Take that the server closed."""

    def expired(self) -> None:
        """Take that the server was silent for too long."""

    def failed(self, condition: FailureReason, detail: str) -> None:
        """Take that there is no use of the channel any more."""


class Holder(Receiver, Protocol):
    """Who has a connection for good, and carries many requests over it."""

    def connected(self) -> None:
        """Take that the connection is made, and secured."""

    def room_made(self) -> None:
        """Take that all that was sent is with the kernel."""

    def idle(self) -> tuple[bool, float] | None:
        """Say that it was of use, and since when it carries nothing; None if it does."""


class UpstreamChannel(Protocol):
    """What a request has of a server.

    Attributes:
        sent: whether a byte of the request may have reached the server, and been used.
        fresh: whether the server cannot have closed it for having waited too long, so
            that its end is a failure.
    """

    sent: bool
    fresh: bool

    @property
    def trailers(self) -> bytes:
        """Those of a response that states its length; its last byte comes no earlier."""

    @property
    def connecting(self) -> bool:
        """Whether it cannot be used yet."""

    @property
    def stream(self) -> ByteStream:
        """What a task that has it reads from and writes to."""

    def begin(self, receiver: Receiver, request: bytes) -> None:
        """Send a whole request; from here on the receiver is told what happens."""

    def touch(self, stream_idle_s: float) -> None:
        """Note that the server goes on with its response; it may rest so long again."""

    def release(self) -> None:
        """Let it be used again: the response is complete."""

    def close(self) -> None:
        """End it at once; nobody is told."""

    def leave_loop(self) -> None:
        """Be served by a task from now on."""

    def rejoin(self) -> None:
        """Come back from a task, ready for another request."""

    def blame_address(self) -> None:
        """Note that the address is at fault; the next connections begin elsewhere."""

    async def finish_connecting(self) -> Failure | None:
        """Wait, in a task that has it, until it can be used; give why it cannot be.

        It sets no time limit. Cancelled, it is to be closed by the caller.
        """
