"""A request on its way to a stream: from HTTP/1.1 to frames.

    waiting -> placed -> open -> over

Who asks writes HTTP/1.1, the head whole and first; here it becomes fields, and behind it
the body loses its framing. The rule that it obeys: what it holds is at most `QUEUE` and
one piece, and a request that cannot begin has not been sent.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import Protocol

from http_trio.http2.messages.body_translator import BodyTranslator
from http_trio.http2.session import Http2Session
from http_trio.http2.upstream.translation import request_fields
from http_trio.upstream.failure import Failure, FailureReason

QUEUE = 128 * 1024
"""Bytes of a request that wait for their server, beyond which no more is taken."""

_NO_WEBSOCKETS = "takes no WebSocket over HTTP/2 (no SETTINGS_ENABLE_CONNECT_PROTOCOL)"


class StreamPhase(enum.IntEnum):
    """Where a stream is."""

    WAITING = enum.auto()
    """Its connection is being made, or what the server allows is not known yet."""

    PLACED = enum.auto()
    """It may begin."""

    OPEN = enum.auto()
    """Its head is out."""

    OVER = enum.auto()
    """Nobody hears of it any more."""


class SenderOwner(Protocol):
    """The connection of a stream, as far as what it sends needs it."""

    session: Http2Session

    @property
    def name(self) -> str:
        """The server's."""

    @property
    def scheme(self) -> bytes:
        """What a request's :scheme says."""

    def wake(self) -> None:
        """Send soon what the session has to send."""


class RequestSender(BodyTranslator, ABC):
    """What one stream sends.

    Attributes:
        sent: whether the request may have reached the server, and been looked at.
        fresh: whether others were under way, so that an end is no closing of what idled.
    """

    __slots__ = (
        *("_failure", "_is_head", "_key", "_phase", "_sink", "_takes_trailers"),
        *("fresh", "sent"),
    )

    def __init__(self, owner: SenderOwner) -> None:
        super().__init__(owner.session, 0)
        self.sent = False
        self.fresh = True
        self._sink = owner
        self._phase: StreamPhase = StreamPhase.WAITING
        self._failure: Failure | None = None
        self._is_head = False
        self._key = b""
        self._takes_trailers = False

    # === what the subclass does ===

    @abstractmethod
    def _opened(self) -> None:
        """Take that it has its number."""

    @abstractmethod
    def _never_begins(self) -> None:
        """Take that it will never begin."""

    @abstractmethod
    def _await_room(self) -> None:
        """Ask to be told when some of what is queued is out."""

    # === as the end of a byte stream ===

    @property
    def room(self) -> int:
        """Bytes that would be taken now; if none, the stream is told of a change."""
        queued = self.behind
        if queued < QUEUE:
            return QUEUE - queued
        self._await_room()
        return 0

    @property
    def behind(self) -> int:
        """Bytes that wait for the server to take them."""
        return self._session.queued(self.id) if self.id else 0

    def take(self, data: bytes | memoryview) -> int:
        """Send as much as there is room for; give how much that is.

        Raises:
            ChannelFailed: it cannot begin.
        """
        if self._awaits_head:
            self._send_head(bytes(data))
            if self._failure is not None:
                raise self._failure.as_error()
        elif not self._sent_all:
            data = data[: self.room]
            self._translate_body(data, last=False)
        self._sink.wake()
        return len(data)

    def stalled(self) -> None:
        """Do nothing: other streams of the server's may well go on."""

    def end_sending(self) -> None:
        """Say that no more will be sent, of a WebSocket."""
        self._end_sending()
        self._sink.wake()

    # === private ===

    def _send_head(self, data: bytes) -> None:
        """Send a head, and what of the body is behind it."""
        end = data.find(b"\r\n\r\n")
        request = request_fields(data[:end], self._sink.scheme)
        self._is_head, self._key = request.is_head, request.websocket_key
        self._takes_trailers = request.takes_trailers
        if self._key and not self._session.takes_websockets:
            self._give_up(FailureReason.UNSUPPORTED, _NO_WEBSOCKETS)
            return
        self.id = self._session.send_request(request.fields, ended=not request.framing)
        if not self.id:
            self.fresh = False
            self._give_up(FailureReason.CLOSED, "it takes no more requests")
            return
        self._phase = StreamPhase.OPEN
        self.sent = True
        self._opened()
        self._begin_body(request.framing)
        if request.framing and len(data) > end + 4:
            self._translate_body(data[end + 4 :], last=False)

    def _give_up(self, condition: FailureReason, detail: str) -> None:
        """Fail before anything was sent."""
        self._phase = StreamPhase.OVER
        self._failure = Failure(condition, self._sink.name, sent=False, detail=detail)
        self._never_begins()
