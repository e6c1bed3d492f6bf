"""Every size and every wait of the engine, named, with its default.

Nothing that a peer controls is without a limit. Sizes are in bytes, waits in
seconds. The defaults are those that users of reverse proxies expect; each says
what is answered when it is passed.
"""

from __future__ import annotations

import math

import attrs

BUFFER = 64 * 1024
"""What one read of the event loop takes at most, and the largest body that it holds."""


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of one `serve`."""

    request_line: int = 8 * 1024
    """Bytes of a request line; beyond it 414."""

    head: int = 32 * 1024
    """Bytes of a whole header section, of a request (431) or of a response (502)."""

    fields: int = 100
    """Header fields of a request; beyond it 431."""

    trailers: int = 8 * 1024
    """Bytes of a trailer section, or of a chunk's size line."""

    interim_responses: int = 100
    """Responses of 1xx before the final one; beyond it 502."""

    streams: int = 100
    """Streams that a client's HTTP/2 connection may have open; others are refused."""

    connections: int = 10_000
    """Open client connections; above it the idlest are closed.

    Where most of those that wait never sent a request, only these are. Where none waits,
    none is accepted until one ends.
    """

    spare_files: int = 96
    """Descriptors of the process that clients leave to servers, files and all else.

    Of less than 288 descriptors in all, that part of them. Where clients have the rest,
    the idlest are closed, as beyond `connections`.
    """

    upstream_connections: int = 1_024
    """Open connections to one upstream; above it a request fails with 503."""

    upstream_idle: int = 512
    """Idle connections kept to one upstream."""

    head_s: float = 10.0
    """From the first byte of a request to the end of its header; then 408.

    However it comes: a byte now and then earns no more time.
    """

    handshake_s: float = 10.0
    """From a client's connection to the end of its TLS handshake; then it is closed."""

    body_s: float = 30.0
    """Between two pieces of a request's body; then 408."""

    body_rate: int = 240
    """Bytes of a request's body in a second, at least; below it 408 after `body_s`.

    What is faster saves time for pauses, up to `body_s`. Only waiting for the client
    counts, and of a chunked body its content. The slowest mobile networks carry 1,000.
    0 for none.
    """

    idle_s: float = 75.0
    """A kept connection without a request; then it is closed."""

    write_s: float = 30.0
    """A client that takes no byte of a response; then it is closed."""

    connect_s: float = 3.0
    """Until an upstream has accepted the connection; then 504."""

    response_s: float = 30.0
    """From the request to the end of the response's header; then 504."""

    stream_idle_s: float = 300.0
    """Between two bytes of a response; then the response is cut, visibly."""

    half_closed_s: float = 30.0
    """Between two bytes of a response to a client that has closed its half; then a cut.

    Only where `serve` was told that clients may do so (`half_close`); elsewhere such a
    client has left. TCP cannot tell the two apart.
    """

    tunnel_idle_s: float = 3600.0
    """A tunnel (WebSocket) with no byte either way; then it is closed."""

    request_s: float = math.inf
    """From the end of a forwarded request's head to its response's last byte; then 504."""

    upstream_idle_s: float = 60.0
    """An idle connection to an upstream; then it is closed."""

    notice_s: float = 1.0
    """In a drain, how long a client has whose request may be on its way already.

    It counts from its last response, or from its coming. Who was idle for longer is
    let go at once.
    """

    recall_s: float = 2.0
    """From the close frames of a WebSocket that is recalled to its cut."""

    linger_s: float = 2.0
    """After a refusal, how long what the client still sends is read and dropped.

    Closing with unread bytes resets the connection, and the reset can overtake
    the refusal (RFC 9112 section 9.6).
    """


@attrs.frozen(kw_only=True)
class Timeouts:
    """The waits of one forwarded request, where they are not those of the `Limits`.

    Each means what the field of its name means there, and has the same default.
    """

    connect_s: float = 3.0
    response_s: float = 30.0
    stream_idle_s: float = 300.0
    tunnel_idle_s: float = 3600.0
    request_s: float = math.inf
