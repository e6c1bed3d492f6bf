"""What a stream to a server needs of the connection that it belongs to.

Stated apart, so that a stream knows nothing of how frames come and go, and a task may
have a connection of its own (`single.py`).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from http_trio.http2.upstream.request_sender import SenderOwner

StreamT_contra = TypeVar("StreamT_contra", contravariant=True)


class UpstreamStreamOwner(SenderOwner, Protocol[StreamT_contra]):
    """The connection of a stream, as far as the stream needs it."""

    @property
    def now(self) -> float:
        """The clock of deadlines, in seconds."""

    def begins(self, stream: StreamT_contra) -> None:
        """Take that a stream which waits has a request, and how long it may wait."""

    def opened(self, stream: StreamT_contra) -> None:
        """Take that a stream has its number."""

    def forget(self, stream: StreamT_contra) -> None:
        """Take that a stream will never begin."""

    def await_room(self, stream: StreamT_contra) -> None:
        """Tell the stream when some of what is queued is out."""

    def deliver_soon(self, stream: StreamT_contra) -> None:
        """Let the stream tell its receiver, when all that came is looked at."""

    def look_at(self, deadline: float) -> None:
        """Look for streams that are late at that time."""

    def blame_address(self) -> None:
        """Note that the address is at fault."""
