"""What an exchange needs of those around it: its client's connection, and what it carries.

Stated apart, so that an exchange knows nothing of how they work; and what it looks up there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from http_trio.http1.forwarded import ClientIdentity, SaidOfClient
from http_trio.http1.request_facts import RequestFacts
from http_trio.http1.request_head import RequestHead
from http_trio.limits import BUFFER, Limits
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.event_loop import EventLoop
from http_trio.net.stream import ByteStream
from http_trio.net.tls_socket import AnySocket

ExchangeT = TypeVar("ExchangeT")


class Attached(Protocol):
    """What hangs on an exchange, and is to be released with it."""

    def client_gone(self) -> None:
        """Take that the client went away."""

    def crashed(self) -> None:
        """Take that code raised which decides on the exchange; answer it, or cut it."""


class OwnSocket(Protocol):
    """A connection whose socket is its alone, so that others may send over it.

    Attributes:
        sock: the socket.
    """

    sock: AnySocket

    def sent_last(self, data: bytes, count: int) -> None:
        """Note that the last of a response was sent, and how much of it was taken."""


class ConnectionOf(Protocol[ExchangeT]):
    """The client's connection, as far as an exchange needs it.

    Attributes:
        loop: that serves it.
        client_address: the client's address as text, or "unix".
        said: what is said of the client, by it and to upstreams.
        buffer: what was read of it and not used yet.
    """

    loop: EventLoop
    client_address: str
    said: SaidOfClient
    buffer: bytes

    @property
    def own_socket(self) -> OwnSocket | None:
        """What is sent to beside the event loop; None where several share a socket."""

    @property
    def client_certificate(self) -> Certificate | None:
        """The certificate that the client has shown and that was verified."""

    @property
    def behind(self) -> int:
        """Bytes that wait for the client to take them."""

    @property
    def trailers(self) -> bytes:
        """Those that came behind a body which states its length, as lines."""

    def add_trailers(self, lines: bytes) -> None:
        """Send these behind the body, whose length was stated, and whose end is next."""

    def holds_body(self, head: RequestHead) -> bool:
        """Tell whether a body is in the buffer up to its end, and is all there is.

        Not if trailers follow that go on: a body that is collected loses them.
        """

    def skip_body(self, head: RequestHead) -> bool:
        """Pass over a body; give whether the next request is what follows."""

    def collect(
        self,
        exchange: ExchangeT,
        limit: int,
        then: Callable[[ExchangeT, bytes], None],
        on_too_large: Callable[[ExchangeT, int], None],
    ) -> None:
        """Gather the body of the exchange's request."""

    def await_body(
        self, exchange: ExchangeT, then: Callable[[ExchangeT], None]
    ) -> None:
        """Call when the body, or as much of it as is read at a time, is in the buffer."""

    def send_part(self, data: bytes) -> bytes:
        """Send; give what the client does not take now."""

    def write(self, data: bytes) -> int:
        """Send, and keep what the client does not take now; give how much is kept."""

    def send_last(self, data: bytes, *, keep: bool) -> None:
        """Send the last of a response, then go on with the next request, or close."""

    def leave_loop(self) -> ByteStream:
        """Be served by a task from now on; give what it reads from and writes to."""

    def rejoin(self, buffer: bytes) -> None:
        """Come back from a task; the end of the exchange follows at once."""

    def abort(self) -> None:
        """Close at once; an exchange in progress ends."""

    def drop(self, *, by_upstream: bool = False) -> None:
        """Close at once; nobody is told. It may be an upstream that made us do so."""


class ClientFacts(RequestFacts, Generic[ExchangeT]):
    """What an exchange looks up in its connection, or in what its client is said to be.

    Attributes:
        connection: the client's; None when the exchange is over.
        identity: what trusted proxies say of the client; None if nobody does.
        loop: that serves it.
    """

    __slots__ = ()
    connection: ConnectionOf[ExchangeT] | None
    identity: ClientIdentity | None
    loop: EventLoop

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS; False when the exchange is over."""
        if self.identity is not None:
            return self.identity.proto == b"https"
        return self.connection is not None and self.connection.said.secure

    @property
    def trusted(self) -> bool:
        """Whether what it says of those before it is kept."""
        return self.connection is not None and self.connection.said.trusted

    @property
    def client_certificate(self) -> Certificate | None:
        """The client's certificate: verified, and only where it was asked for one."""
        return None if self.connection is None else self.connection.client_certificate

    @property
    def has_short_body(self) -> bool:
        """Whether its body is passed on when all of it is here, and not as it comes."""
        return 0 < self.head.framing <= BUFFER and not self.head.expects_continue

    @property
    def limits(self) -> Limits:
        """The limits that it runs under."""
        return self.loop.limits

    @property
    def now(self) -> float:
        """The clock that `began` is of, in seconds."""
        return self.loop.now

    @property
    def draining(self) -> bool:
        """Whether the server ends: what can be answered now should be."""
        return self.loop.draining
