"""One server that is spoken to in HTTP/2: its connections, with many streams each.

A request takes a stream of the oldest connection that has room, so that the others can
age out; a new connection is made where none has. The rule that it obeys: a stream that
its connection cannot carry is given to another one once, and fails after that.
"""

from __future__ import annotations

import ssl
from collections.abc import Container, Sequence

from http_trio.http2.upstream.connection import MultiplexedConnection
from http_trio.http2.upstream.single import SingleStream
from http_trio.http2.upstream.stream import UpstreamStream
from http_trio.http2.upstream.stream_table import STREAMS, StreamTable
from http_trio.limits import Limits
from http_trio.net.connect import Address
from http_trio.net.event_loop import EventLoop
from http_trio.net.stream import ByteStream
from http_trio.net.tls_socket import AnySocket, TlsSocket
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream

_MOVES = 1
_NO_STREAM = "it lets no stream begin"


class Http2Upstream(Upstream):
    """One server that is spoken to in HTTP/2.

    Over TLS its context must ask for HTTP/2: `client_context(http2=True)`. Without TLS
    the server must know that HTTP/2 comes (RFC 9113 section 3.3).

    Attributes:
        connections: those that may have room, oldest first.
        presumed_streams: how many streams the server is thought to allow on one that has
            not said so yet.
        unused: how many connections in a row let no stream begin.
        shut_until: until when no connection is made; the loop's clock, in seconds.
    """

    __slots__ = ("connections", "presumed_streams", "shut_until", "unused")

    def __init__(
        self,
        name: str,
        addresses: Sequence[Address],
        host: bytes,
        *,
        prefix: bytes = b"",
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        super().__init__(
            name, addresses, host, prefix=prefix, tls=tls, server_name=server_name
        )
        self.connections: dict[MultiplexedConnection, None] = {}
        self.presumed_streams = STREAMS
        self.unused = 0
        self.shut_until = 0.0

    def take_idle(self, *, peek: bool, lead: bytes = b"") -> UpstreamChannel | None:
        """Take a stream of a connection that is there, or is being made."""
        del lead  # many clients share a connection, so none is named
        del peek  # its end is told, and what was not looked at goes out again
        for connection in self.connections:
            stream = UpstreamStream(connection, connection.loop.limits)
            if connection.admit(stream):
                return stream
        return None

    def connect(self, loop: EventLoop, lead: bytes = b"") -> UpstreamChannel | Failure:
        """Begin a new connection, if none has room; whoever begins on it is told."""
        del lead
        taken = self.take_idle(peek=False)
        if taken is not None:
            return taken
        connection = self._open_connection(loop)
        if isinstance(connection, Failure):
            return connection
        stream = UpstreamStream(connection, loop.limits)
        connection.admit(stream)
        return stream

    def find_place(self, stream: UpstreamStream, loop: EventLoop) -> None:
        """Give a stream, of which nothing was sent, to another connection."""
        if stream.moves >= _MOVES:
            stream.failed(FailureReason.FULL, _NO_STREAM)
            return
        for connection in self.connections:
            stream.move_to(connection)
            if connection.admit(stream):
                connection.begins(stream)
                return
        begun = self._open_connection(loop)
        if isinstance(begun, Failure):
            stream.failed(begun.condition, begun.detail)
            return
        stream.move_to(begun)
        begun.admit(stream)
        begun.begins(stream)

    def ended(self, connection: StreamTable) -> None:
        """Take that a connection begins no more streams."""
        self.connections = {
            one: None for one in self.connections if one is not connection
        }

    def refusal(self, sock: AnySocket) -> str:
        """Say why HTTP/2 cannot be spoken over a connection; "" if it can."""
        if isinstance(sock, TlsSocket) and sock.alpn != "h2":
            return "it does not agree on HTTP/2 (ALPN h2)"
        return ""

    def speak(self, stream: ByteStream, limits: Limits) -> ByteStream:
        """Give a stream of HTTP/1.1 for one request, over a connection of its own."""
        scheme = b"http" if self.tls is None else b"https"
        return SingleStream(stream, limits, name=self.name, scheme=scheme)

    def close_idle(self) -> None:
        """Close connections as soon as they carry nothing: this server is used no more."""
        for connection in list(self.connections):
            connection.leave()

    def _keep_only(self, addresses: Container[tuple[str, int] | None]) -> None:
        for connection in list(self.connections):
            if connection.transport.remote_address not in addresses:
                connection.leave()

    def _open_connection(self, loop: EventLoop) -> MultiplexedConnection | Failure:
        if loop.now < self.shut_until:
            return self._failure(FailureReason.FULL, _NO_STREAM)
        transport = self._begin_connection(loop)
        if isinstance(transport, Failure):
            return transport
        connection = MultiplexedConnection(self, transport, loop)
        self.connections[connection] = None
        return connection
