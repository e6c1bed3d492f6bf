"""What a stream needs of the connection that it belongs to.

Stated apart, so that a stream knows nothing of how frames come and go.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from http_trio.http1.forwarded import SaidOfClient
from http_trio.http2.session import Http2Session
from http_trio.net.certificates.x509 import Certificate
from http_trio.net.event_loop import EventLoop

StreamT_contra = TypeVar("StreamT_contra", contravariant=True)


class StreamOwner(Protocol[StreamT_contra]):
    """The connection of a stream, as far as the stream needs it."""

    loop: EventLoop
    session: Http2Session
    client_address: str
    said: SaidOfClient
    deadline: float

    @property
    def client_certificate(self) -> Certificate | None:
        """The certificate that the client has shown and that was verified."""

    def wake(self) -> None:
        """Send soon what the session has to send."""

    def await_room(self, stream: StreamT_contra) -> None:
        """Tell the stream when some of what is queued is out."""

    def reset_behind(self, stream: StreamT_contra) -> None:
        """Reset a stream once its response is out: nobody reads the rest of its body."""
