"""HTTP/2 framing, flow control and HPACK for one connection: the only user of ngh2.

Sans-I/O, for both roles. Bytes go in by `receive`, which tells its `Http2Events` what
they mean; bytes to send come out of `output`. What is told, and what can be said, is in
our own words, so that another library can take the place of this one.

One file, since it is one library's face. The rule that it obeys: nothing that a peer
sends raises. What breaks the connection is told once, by `connection_failed`; a stream
that is gone takes what is said to it as said.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs
import ngh2
from ngh2 import RequestReceived, ResponseReceived, Setting, StreamClosed

from http_trio.limits import BUFFER, Limits

_FIELD = 32  # bytes that each field counts for in HTTP/2, beside its own
_PIECES = 4  # fields of HTTP/2 for one that may be: a browser sends cookies one by one

Fields = Iterable[tuple[bytes, bytes]]

NO_ERROR = int(ngh2.ErrorCode.NO_ERROR)
PROTOCOL_ERROR = int(ngh2.ErrorCode.PROTOCOL_ERROR)
INTERNAL_ERROR = int(ngh2.ErrorCode.INTERNAL_ERROR)
REFUSED_STREAM = int(ngh2.ErrorCode.REFUSED_STREAM)
CANCEL = int(ngh2.ErrorCode.CANCEL)
ENHANCE_YOUR_CALM = int(ngh2.ErrorCode.ENHANCE_YOUR_CALM)

_RECORD = 17 * 1024  # bytes that OpenSSL takes for a record, the library for a frame
_TOLERANCE = 2

_CODES = {int(code): code.name for code in ngh2.ErrorCode}


def code_name(code: int) -> str:
    """Give an error code's name (RFC 9113 section 7).

    >>> code_name(8), code_name(99)
    ('CANCEL', 'code 99')
    """
    return _CODES.get(code, f"code {code}")


class Http2Events(Protocol):
    """Who is told what the peer said."""

    def head_received(
        self, stream_id: int, fields: tuple[tuple[bytes, bytes], ...], *, ended: bool
    ) -> None:
        """Take a request's head, or a final response's."""

    def interim_received(
        self, stream_id: int, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        """Take the head of a 1xx response."""

    def data_received(self, stream_id: int, data: bytes, *, ended: bool) -> None:
        """Take a piece of a body; `consumed` gives its room back."""

    def trailers_received(
        self, stream_id: int, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        """Take the trailers, with which the stream's receiving side ends."""

    def stream_reset(self, stream_id: int) -> None:
        """Take that the peer ends a stream before its time; it is closed by that."""

    def stream_closed(self, stream_id: int, code: int) -> None:
        """Take that a stream is over; NO_ERROR after its regular end."""

    def settings_received(self) -> None:
        """Take that the peer's settings have come, or changed."""

    def goaway_received(self, last_stream_id: int, code: int) -> None:
        """Take that the peer begins no more, and serves none beyond that stream."""

    def ping_answered(self) -> None:
        """Take that the peer answered a ping."""

    def connection_failed(self, code: int, reason: str) -> None:
        """Take that the connection is over; `output` may still have a GOAWAY."""


@attrs.frozen(kw_only=True)
class Http2Settings:
    """What one side allows the other."""

    streams: int
    """Streams that the peer may have open at once."""

    stream_window: int
    """Bytes of a body that the peer may send ahead of who reads them."""

    connection_window: int
    """The same for all streams together."""

    head: int
    """Bytes of a header list, as RFC 9113 section 6.5.2 counts them.

    Twice as many are read, since one that is too long ends the whole connection.
    """

    fields: int
    """Fields of a header list."""

    @classmethod
    def for_clients(cls, limits: Limits) -> Http2Settings:
        """Give what a server's limits allow a client."""
        return cls(
            streams=limits.streams,
            stream_window=BUFFER,
            connection_window=BUFFER * limits.streams,
            head=limits.head + _FIELD * limits.fields,
            fields=_PIECES * limits.fields,
        )


class Http2Session:
    """The state of one connection's HTTP/2."""

    __slots__ = ("_connection", "_events", "_failed", "_gave_up", "_last_word")

    def __init__(
        self, events: Http2Events, settings: Http2Settings, *, is_client: bool
    ) -> None:
        """Begin; the first of `output` are our settings."""
        self._events: Http2Events | None = events
        self._failed = self._gave_up = False
        self._last_word = b""
        # What the handshake's last record has left, 16 KiB of pages that were written to,
        # would be given to the frame buffer, which is as large, and mostly stays empty.
        # So it is held meanwhile: 33 in place of 41 KiB for each idle connection.
        written = bytearray(_RECORD)
        self._connection = ngh2.Connection(
            ngh2.Role.CLIENT if is_client else ngh2.Role.SERVER,
            _configuration(settings),
        )
        del written
        ours = {
            Setting.MAX_CONCURRENT_STREAMS: settings.streams,
            Setting.INITIAL_WINDOW_SIZE: settings.stream_window,
            Setting.MAX_HEADER_LIST_SIZE: settings.head,
            Setting.NO_RFC7540_PRIORITIES: 1,
        }
        if is_client:
            ours[Setting.ENABLE_PUSH] = 0
        else:
            ours[Setting.ENABLE_CONNECT_PROTOCOL] = 1
        self._connection.initiate_connection(ours)
        self._connection.set_local_window_size(settings.connection_window)

    def __repr__(self) -> str:
        return f"<Http2Session failed={self._failed}>"

    # === bytes ===

    def receive(self, data: bytes) -> None:
        """Take what the peer sent, and tell what it means."""
        if self._failed:
            return
        try:
            self._connection.receive_data(data)
        except ngh2.DenialOfServiceError as exc:
            self._break(ENHANCE_YOUR_CALM, str(exc))
            return
        except ngh2.NGH2Error as exc:
            self._break(PROTOCOL_ERROR, str(exc))
            return
        self._tell_events()

    def output(self, limit: int) -> bytes:
        """Give what is to be sent now, at most about so many bytes."""
        if self._gave_up:
            data, self._last_word = self._last_word, b""
            return data
        if not self._connection.want_write:
            return b""
        try:
            data = self._connection.data_to_send(limit)
        except ngh2.NGH2Error as exc:
            self._break(INTERNAL_ERROR, str(exc))
            return b""
        self._tell_events()
        return data

    def forget(self) -> None:
        """Tell nobody anything any more: who listened is gone, and is not held."""
        self._failed = True
        self._events = None

    @property
    def has_output(self) -> bool:
        """Whether there is something to send that the peer lets us send."""
        if self._gave_up:
            return bool(self._last_word)
        return self._connection.want_write

    # === heads and bodies ===

    def send_request(self, fields: Fields, *, ended: bool) -> int:
        """Begin a stream with a request's head; give its number, 0 if none can begin."""
        try:
            return self._connection.send_request(fields, end_stream=ended)
        except ngh2.NGH2Error:
            return 0

    def send_response(self, stream_id: int, fields: Fields, *, ended: bool) -> None:
        """Send a final response's head."""
        try:
            self._connection.send_response(stream_id, fields, end_stream=ended)
        except ngh2.NGH2Error:
            return  # the stream is gone, and it was told, or will be

    def send_whole(self, stream_id: int, fields: Fields, body: bytes) -> None:
        """Send a final response's head and its body, which is all of it."""
        connection = self._connection
        try:
            connection.send_response(stream_id, fields)
            connection.send_data(stream_id, body, end_stream=True)
        except ngh2.NGH2Error:
            return  # as above

    def send_interim(self, stream_id: int, fields: Fields) -> None:
        """Send the head of a 1xx response."""
        try:
            self._connection.send_informational_response(stream_id, fields)
        except ngh2.NGH2Error:
            return  # as above

    def send_data(
        self, stream_id: int, data: bytes | memoryview, *, ended: bool
    ) -> None:
        """Queue a piece of a body, to be sent as the peer makes room."""
        try:
            self._connection.send_data(stream_id, data, end_stream=ended)
        except ngh2.NGH2Error:
            return  # as above

    def send_trailers(self, stream_id: int, fields: Fields) -> None:
        """End a stream with trailers, behind what is queued."""
        try:
            self._connection.send_trailers(stream_id, fields)
        except ngh2.NGH2Error:
            return  # as above

    def queued(self, stream_id: int | None = None) -> int:
        """Tell how much of a body, or of all, waits for the peer to take it."""
        return self._connection.queued_body_size(stream_id)

    def consumed(self, stream_id: int, size: int) -> None:
        """Let the peer send so much more: what it sent was read, or will never be.

        Of a stream that is closed too: what it holds of the connection's window would
        be missing there for good.
        """
        try:
            self._connection.acknowledge_received_data(size, stream_id)
        except (ngh2.NGH2Error, ValueError):
            return  # the connection is over

    # === ends ===

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once, both ways."""
        try:
            self._connection.reset_stream(stream_id, code)
        except ngh2.NGH2Error:
            return  # as above

    def ping(self) -> None:
        """Ask for a sign of life."""
        try:
            self._connection.ping()
        except ngh2.NGH2Error:
            return  # as above

    def announce_shutdown(self) -> None:
        """Ask a client to begin no more streams; those under way are still taken."""
        try:
            self._connection.send_shutdown_notice()
        except ngh2.NGH2Error:
            return  # as above

    def shut_down(self, code: int = NO_ERROR) -> None:
        """Take no more streams; those that were taken go on."""
        try:
            self._connection.send_goaway(code)
        except ngh2.NGH2Error:
            return  # as above

    def terminate(self, code: int) -> None:
        """End the connection: `output` has the GOAWAY, and nothing behind it.

        What the peer sends from now on is passed over, and nothing more is told.
        """
        self._failed = True
        try:
            self._connection.terminate_connection(code)
        except ngh2.NGH2Error:
            return  # as above

    @property
    def peer_streams(self) -> int:
        """How many streams the peer lets us have open at once."""
        settings = self._connection.remote_settings
        return settings.get(int(Setting.MAX_CONCURRENT_STREAMS), 100)

    @property
    def takes_websockets(self) -> bool:
        """Whether the peer takes an extended CONNECT (RFC 8441)."""
        settings = self._connection.remote_settings
        return settings.get(int(Setting.ENABLE_CONNECT_PROTOCOL), 0) == 1

    # === private ===

    def _tell_events(self) -> None:
        event: Any  # a closed union to the library, but its base class says nothing
        for event in self._connection.events():
            events, kind = self._events, type(event)
            if events is None:
                return  # it ended its own connection over the one before
            if kind is StreamClosed:
                events.stream_closed(event.stream_id, event.error_code)
            elif kind is RequestReceived or kind is ResponseReceived:
                events.head_received(
                    event.stream_id, event.headers, ended=event.end_stream
                )
            elif kind is ngh2.ConnectionClosed:
                self._fail(event.error_code, event.debug_data.decode("latin-1"))
            elif (tell := _TELL.get(kind)) is not None:
                tell(events, event)

    def _break(self, code: int, reason: str) -> None:
        """Say the last word ourselves: the library has given up."""
        self._gave_up = True
        if not self._failed:
            self._last_word = _goaway(code)
            self._fail(code, reason)

    def _fail(self, code: int, reason: str) -> None:
        if not self._failed and self._events is not None:
            self._failed = True
            self._events.connection_failed(code, reason)


def _goaway(code: int) -> bytes:
    """Give a GOAWAY frame (RFC 9113 section 6.8): which streams were served is unsure."""
    return b"\0\0\x08\x07\0\0\0\0\0" + struct.pack("!II", 2**31 - 1, code)


@functools.lru_cache(maxsize=16)
def _configuration(settings: Http2Settings) -> ngh2.Configuration:
    """Give what connections share: 0.7 KiB that each would have else."""
    return ngh2.Configuration(
        auto_window_update=False,
        max_inbound_header_list_size=_TOLERANCE * settings.head,
        max_inbound_header_count=settings.fields,
    )


_TELL: dict[type, Callable[[Http2Events, Any], None]] = {
    ngh2.InformationalResponseReceived: lambda events, event: events.interim_received(
        event.stream_id, event.headers
    ),
    ngh2.DataReceived: lambda events, event: events.data_received(
        event.stream_id, event.data, ended=event.end_stream
    ),
    ngh2.TrailersReceived: lambda events, event: events.trailers_received(
        event.stream_id, event.headers
    ),
    ngh2.StreamReset: lambda events, event: events.stream_reset(event.stream_id),
    ngh2.SettingsReceived: lambda events, _: events.settings_received(),
    ngh2.GoAwayReceived: lambda events, event: events.goaway_received(
        event.last_stream_id, event.error_code
    ),
    ngh2.PingAcknowledged: lambda events, _: events.ping_answered(),
}
