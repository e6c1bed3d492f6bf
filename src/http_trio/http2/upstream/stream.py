"""One stream of a connection to a server: a request on its way, and its response.

It is an `UpstreamChannel` to whoever forwards, who writes and reads HTTP/1.1 and does not
know the difference (`translation.py`); what a task reads of it is framed as the head
says (`byte_stream.py`). One file, since the two ways of a stream end together.

The rules that it obeys: its end is its own, and never that of the connection. What it
holds of a response is at most its window. A request that its server has not looked at,
and says so, counts as not sent.
"""

from __future__ import annotations

import math

import trio

from http_trio.http1.chunked import LAST_CHUNK, encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.byte_stream import Http2ByteStream
from http_trio.http2.messages.heads import Field, Malformed, trailer_lines
from http_trio.http2.session import (
    CANCEL,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    code_name,
)
from http_trio.http2.upstream.request_sender import RequestSender, StreamPhase
from http_trio.http2.upstream.stream_owner import UpstreamStreamOwner
from http_trio.http2.upstream.translation import interim_head, response_head
from http_trio.limits import Limits
from http_trio.net.stream import ByteStream
from http_trio.upstream.channel import Receiver
from http_trio.upstream.failure import Failure, FailureReason

END_S = 2.0
"""From the last byte of a response to the stream's end; then it is reset.

And from a reset to its being told: the head of a request that the server's new settings
leave no room for is never sent, nor is its reset.
"""

_WAITING, _PLACED, _OPEN, _OVER = StreamPhase


class UpstreamStream(RequestSender):
    """A request and its response, as a channel.

    Attributes:
        owner: the connection.
        deadline: when the server is too slow; the loop's clock, in seconds.
        moves: how often it was given to another connection.
        trailers: of a response that states its length, as lines.
    """

    __slots__ = (
        *("_awaited", "_carried", "_closed", "_held", "_incoming", "_is_reset"),
        *("_limits", "_made", "_pieces", "_receiver", "_request", "_response_ended"),
        *("_unread", "deadline", "moves", "owner", "trailers"),
    )

    def __init__(
        self, owner: UpstreamStreamOwner[UpstreamStream], limits: Limits
    ) -> None:
        super().__init__(owner)
        self.owner = owner
        self.deadline = math.inf
        self.moves = 0
        self._limits = limits
        self._receiver: Receiver | None = None
        self._carried: Http2ByteStream | None = None
        self._request = b""
        self._incoming = UNTIL_CLOSE
        self._response_ended = self._is_reset = False
        self.trailers = self._held = b""
        self._awaited = math.inf
        self._closed: int | None = None
        self._pieces: list[bytes] = []
        self._unread = 0
        self._made: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<UpstreamStream {self.id} phase={self._phase.name}>"

    # === for the connection ===

    @property
    def receiver(self) -> Receiver | None:
        """Who is told of it in the event loop; None while a task has it."""
        return self._receiver

    @property
    def is_urgent(self) -> bool:
        """Whether it waits with a whole request."""
        return self._phase is _WAITING and bool(self._request)

    def move_to(self, owner: UpstreamStreamOwner[UpstreamStream]) -> None:
        """Wait at another connection."""
        self.owner = self._sink = owner
        self._session = owner.session
        self.moves += 1
        self._phase = _WAITING

    def place(self) -> None:
        """Begin, or let a task begin."""
        if self._phase is _WAITING:
            self._phase = _PLACED
            if self._request:
                self._begin_now()
            self._tell_made()

    def head_received(self, fields: tuple[Field, ...], *, ended: bool) -> None:
        """Take the final response's head."""
        if self._failure is not None:
            return  # it came with what was refused
        try:
            head, framing = response_head(
                fields, is_head=self._is_head, websocket_key=self._key
            )
            if len(head) > self._limits.head:
                raise Malformed("a header section beyond the limit")
        except Malformed as exc:
            self._refuse(str(exc))
            return
        self._incoming = framing
        if self._takes_trailers and framing > 0:
            self._awaited = framing
        self._response_ended = ended
        if self._carried is not None:
            self._carried.feed_head(head, framing)
            if ended:
                self._carried.feed(b"", ended=True, trailers=b"")
            return
        if ended and framing == CHUNKED:
            head += LAST_CHUNK
        self._tell(head)

    def interim_received(self, fields: tuple[Field, ...]) -> None:
        """Take the head of a 1xx response."""
        if self._failure is not None:
            return  # as above
        try:
            head = interim_head(fields)
        except Malformed as exc:
            self._refuse(str(exc))
            return
        if self._carried is not None:
            self._carried.feed_head(head, UNTIL_CLOSE)
        else:
            self._tell(head)

    def data_received(
        self, data: bytes, *, ended: bool, trailers: tuple[Field, ...] = ()
    ) -> None:
        """Take a piece of the response's body, or its trailers."""
        if self._failure is not None:  # else it would be read as the head
            self._session.consumed(self.id, len(data))
            return
        self._response_ended = ended
        try:
            last = trailer_lines(trailers)
            if len(last) > self._limits.trailers:
                raise Malformed("trailers beyond the limit")
        except Malformed as exc:
            self._refuse(str(exc))
            return
        self._awaited -= len(data)
        if self._awaited <= 0:  # the last of it may have trailers, so it waits for them
            data, self._held = self._held + data, b""
            if not ended:
                self._held = data
                return
            self.trailers = last
        if self._carried is not None:
            self._carried.feed(data, ended=ended, trailers=last)
        elif self._receiver is None:
            self._session.consumed(self.id, len(data))  # nobody wants it
        else:
            self._unread += len(data)
            if self._incoming == CHUNKED:
                data = encode_chunk(data) if data else b""
                if ended:
                    data += b"0\r\n%b\r\n" % last
            self._tell(data)

    def closed(self, code: int) -> None:
        """Take that the stream is over, in whatever way."""
        self._closed = code
        if self._carried is not None:
            if not self._response_ended or code != NO_ERROR:
                self._carried.fail(self._fail_by(code).as_error())
        else:
            self.owner.deliver_soon(self)

    def deliver(self) -> None:
        """Tell the receiver what came, and then how it ended."""
        pieces, self._pieces = self._pieces, []
        unread, self._unread = self._unread, 0
        if unread:
            self._session.consumed(self.id, unread)
        if pieces and self._receiver is not None:
            self._receiver.received(b"".join(pieces))
        if self._closed is None:
            return
        receiver, self._receiver = self._receiver, None
        if receiver is not None:  # it was not content with what came
            failure = self._fail_by(self._closed)
            receiver.failed(failure.condition, failure.detail)
        elif self._carried is not None and not self._response_ended:
            self._carried.fail(self._fail_by(self._closed).as_error())

    def failed(self, condition: FailureReason, detail: str) -> None:
        """Take that there is no use of it any more, whatever it waits for."""
        if self._phase is _OVER or self._closed is not None:
            return
        if self._phase <= _PLACED and condition is FailureReason.CLOSED:
            self.fresh = False  # nothing of it was sent: it may go out again
        self._phase = _OVER
        receiver, self._receiver = self._receiver, None
        self._failure = Failure(condition, self.owner.name, self.sent, detail)
        self._tell_made()
        if self._carried is not None:
            self._carried.fail(self._failure.as_error())
        elif receiver is not None:
            receiver.failed(condition, detail)

    def expire(self) -> None:
        """Handle that the server was too slow."""
        self.deadline = math.inf
        if self._is_reset:
            self.owner.forget(self)
        elif self._receiver is not None:
            self._receiver.expired()
        elif self._closed is None and self._carried is None:
            self._reset(CANCEL)

    def room_made(self) -> bool:
        """Look whether there is room again; give whether that was told."""
        if not self.room:
            return False
        if self._carried is not None:
            self._carried.may_send()
        return True

    # === as a `UpstreamChannel` ===

    @property
    def connecting(self) -> bool:
        """Whether it waits for its connection, or for what the server allows."""
        return self._phase is _WAITING

    @property
    def stream(self) -> ByteStream:
        """What a task that has it reads from and writes to."""
        assert self._carried is not None, "a task takes it out of the loop first"
        return self._carried

    def begin(self, receiver: Receiver, request: bytes) -> None:
        """Send a whole request; from here on the receiver is told what happens."""
        self._receiver = receiver
        self._request = request
        if receiver.trailers:
            self.add_trailers(receiver.trailers)
        if self._phase is _PLACED:
            self._begin_now()
        elif self._phase is _WAITING:
            self.owner.begins(self)

    def touch(self, stream_idle_s: float) -> None:
        """Note that the server goes on with its response; it may rest so long again."""
        self._wait_for(stream_idle_s)

    def release(self) -> None:
        """Let go of it: the response is complete."""
        self._leave()
        if self._closed is not None:
            return
        if not self._sent_all or self._session.queued(self.id):
            self._reset(CANCEL)  # nobody reads the rest of the request
        else:
            self._wait_for(END_S)

    def close(self) -> None:
        """End it at once; nobody is told."""
        self._leave()
        self.deadline = math.inf
        if self._phase <= _PLACED:
            self._phase = _OVER
            self.owner.forget(self)
        elif self._phase is _OPEN and self._closed is None:
            self._reset(CANCEL)

    def leave_loop(self) -> None:
        """Be served by a task from now on."""
        self.deadline = math.inf
        self._receiver = None
        self._carried = Http2ByteStream(self, self._incoming)
        if self._phase is _WAITING:
            self._made = trio.Event()

    def rejoin(self) -> None:
        """Come back from a task, which needs it no more."""
        self.release()

    def blame_address(self) -> None:
        """Note that the address is at fault; the next connections begin elsewhere."""
        self.owner.blame_address()

    async def finish_connecting(self) -> Failure | None:
        """Wait until it can be used; give why it cannot be, or None."""
        if self._made is not None:
            await self._made.wait()
        return self._failure

    def consumed(self, size: int) -> None:
        """Let the server send more: so much of what it sent was read."""
        if size:
            self._session.consumed(self.id, size)
            self.owner.wake()

    # === private ===

    def _opened(self) -> None:
        self.owner.opened(self)

    def _never_begins(self) -> None:
        self.owner.forget(self)

    def _await_room(self) -> None:
        self.owner.await_room(self)

    def _begin_now(self) -> None:
        receiver, request = self._receiver, self._request
        assert receiver is not None, "a request is somebody's"
        self._request = b""
        self._wait_for(receiver.timeouts.response_s)
        self._send_head(request)
        if self._failure is not None:
            self._receiver = None
            receiver.failed(self._failure.condition, self._failure.detail)
        else:
            self.owner.wake()

    def _leave(self) -> None:
        """Have nobody who wants the response, from now on."""
        carried, self._carried, self._receiver = self._carried, None, None
        held, self._held = self._held, b""
        unread = 0 if carried is None else carried.drop_unread()
        self.consumed(unread + len(held))

    def _fail_by(self, code: int) -> Failure:
        """Give what a stream's end means, and note whether the request was sent."""
        if self._failure is not None:
            return self._failure
        if code == REFUSED_STREAM:  # RFC 9113 section 8.7: it was not looked at
            self.sent = self.fresh = False
            detail = "not looked at: the stream was refused"
        elif code == NO_ERROR:
            detail = "ended inside its response"
        else:
            self.fresh = True
            detail = f"reset: {code_name(code)}"
        return Failure(FailureReason.CLOSED, self.owner.name, self.sent, detail)

    def _refuse(self, why: str) -> None:
        """Reset it: its response cannot be passed on."""
        failure = Failure(FailureReason.BAD_RESPONSE, self.owner.name, True, why)
        self._failure = failure
        self._closed = PROTOCOL_ERROR
        self._reset(PROTOCOL_ERROR)
        if self._carried is not None:
            self._carried.fail(failure.as_error())
        else:
            self.owner.deliver_soon(self)

    def _reset(self, code: int) -> None:
        self._is_reset = True
        self._session.reset(self.id, code)
        self._wait_for(END_S)
        self.owner.wake()

    def _tell(self, data: bytes) -> None:
        self._pieces.append(data)
        self.owner.deliver_soon(self)

    def _tell_made(self) -> None:
        if self._made is not None:
            self._made.set()

    def _wait_for(self, seconds: float) -> None:
        self.deadline = self.owner.now + seconds
        self.owner.look_at(self.deadline)
