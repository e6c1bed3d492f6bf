"""Requests of one arm, over the engine's upstream side: connections, responses, ends.

Each request has a `Call` that the engine tells what comes; calls are used again. A response
that came before, byte for byte, is recognised whole, and any other is parsed as the proxy
would. The rule that it obeys: every call that was begun ends once, in the tally and toward
who asked, and its latency counts from when it was due, however long it waited here for a
connection. What is said beside the figures leaves out the warm-up as they do. One file,
since a call and its sender are one state.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import attrs

from canary_trio.bench.tally import TIMEOUT, LoadTally
from http_trio import (
    EventLoop,
    Failure,
    FailureReason,
    Limits,
    ProtocolError,
    Upstream,
    UpstreamChannel,
)
from http_trio.http1.body import BodyTranscoder
from http_trio.http1.framing import UNTIL_CLOSE
from http_trio.http1.heads.head_cache import HeadCache
from http_trio.http1.response_head import (
    ResponseHead,
    check_unfinished_response,
    parse_response_head,
)

_REPEATABLE = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"})
_ERRORS = {FailureReason.UNREACHABLE: "refused", FailureReason.CLOSED: "reset"}


@attrs.frozen
class SenderSettings:
    """What is asked, and how.

    Attributes:
        request: the whole request, as bytes of HTTP/1.1.
        method: of it.
        connections: how many requests may be under way at once.
        timeout_s: how long one may take, counted from when it was due.
    """

    request: bytes
    method: bytes
    connections: int
    timeout_s: float


class ArmSender:
    """Sends the requests of one arm, and counts what becomes of them.

    Attributes:
        waiting: when those were due that wait for a connection.
        held_up: how many had to, of those that are measured.
        resent: requests that went out a second time, since a kept connection had ended, of
            those that are measured.
        detail: what was said of the last failure, for people.
        ended: who is told of each end: whether it had a response.
        is_over: whether it sends no more.
    """

    def __init__(
        self,
        loop: EventLoop,
        upstream: Upstream,
        settings: SenderSettings,
        tally: LoadTally,
    ) -> None:
        self.loop = loop
        self.upstream = upstream
        self.settings = settings
        self.tally = tally
        self.waiting: deque[float] = deque()
        self.held_up = self.resent = 0
        self.is_over = False
        self.detail = ""
        self.ended: Callable[[bool], None] | None = None
        self.whole_responses = HeadCache[int]()
        self._under_way: dict[_Call, None] = {}
        self._spare: list[_Call] = []

    def __repr__(self) -> str:
        counts = f"under_way={len(self._under_way)} waiting={len(self.waiting)}"
        return f"<ArmSender {self.upstream.name} {counts}>"

    @property
    def open(self) -> int:
        """How many requests have not ended."""
        return len(self._under_way) + len(self.waiting)

    @property
    def unfinished(self) -> int:
        """How many of those that are measured have not ended."""
        under_way = [call.due for call in self._under_way]
        return sum(map(self.is_measured, [*under_way, *self.waiting]))

    def is_measured(self, due: float) -> bool:
        """Tell whether a request is no part of the warm-up."""
        return due >= self.tally.begun

    def ask(self, due: float) -> None:
        """Send a request that is due, or let it wait for a connection."""
        if len(self._under_way) >= self.settings.connections:
            self.held_up += self.is_measured(due)
            self.waiting.append(due)
        else:
            self._begin(due)

    def end_late(self, now: float) -> None:
        """End those that take longer than they may; they come in the order of time."""
        late = now - self.settings.timeout_s
        while self.waiting and self.waiting[0] <= late:
            self.tally.failed(self.waiting[0], TIMEOUT, now - self.waiting.popleft())
            self._tell(responded=False)
        for call in [one for one in self._under_way if one.due <= late]:
            call.give_up(TIMEOUT, now - call.due)

    def close(self) -> None:
        """Close all connections; what is still under way is counted nowhere."""
        self.is_over = True
        for call in self._under_way:
            call.channel.close()
        self._under_way.clear()
        self.waiting.clear()
        self.upstream.close_idle()

    # === for its calls ===

    def end(self, call: _Call, *, responded: bool) -> None:
        """Take that a call has ended."""
        del self._under_way[call]
        self._spare.append(call)
        while self.waiting and len(self._under_way) < self.settings.connections:
            self._begin(self.waiting.popleft())
        self._tell(responded=responded)

    def _begin(self, due: float) -> None:
        channel = self.upstream.take_idle(peek=False)
        if channel is None:
            begun = self.upstream.connect(self.loop)
            if isinstance(begun, Failure):
                self.detail = begun.detail
                self.tally.failed(due, word_of(begun.condition))
                self._tell(responded=False)
                return
            channel = begun
        call = self._spare.pop() if self._spare else _Call(self)
        self._under_way[call] = None
        call.begin(channel, due)

    def _tell(self, *, responded: bool) -> None:
        if self.ended is not None:
            self.ended(responded)


class _Call:
    """One request on its way: the engine's `Receiver`."""

    trailers = b""
    __slots__ = (
        "_body",
        "_sender",
        "_head",
        "_is_second",
        "_latest",
        "_size",
        "_started",
        "channel",
        "due",
        "timeouts",
    )

    channel: UpstreamChannel

    def __init__(self, sender: ArmSender) -> None:
        self._sender = sender
        self.timeouts: Limits = sender.loop.limits
        self.due = 0.0
        self._latest = self._started = (
            b""  # the second of a head that is not here whole
        )
        self._head: ResponseHead | None = None
        self._body: BodyTranscoder | None = None
        self._size = 0
        self._is_second = False

    def begin(self, channel: UpstreamChannel, due: float) -> None:
        """Send the request."""
        self.channel, self.due = channel, due
        self._started, self._body, self._size = b"", None, 0
        self._is_second = False
        channel.begin(self, self._sender.settings.request)

    # === as the engine's receiver ===

    def received(self, data: bytes) -> None:
        """Take what the server sent."""
        if not self._size:
            status = self._sender.whole_responses.get(data)
            if status is not None:
                self._end(status, len(data), reusable=True)
                return
        self._size += len(data)
        try:
            if self._body is None:
                self._latest = data
                self._take_head(data)
            else:
                self._take_body(self._body, data)
        except ProtocolError as exc:
            self.failed(FailureReason.BAD_RESPONSE, str(exc))

    def closed(self) -> None:
        """Take that the server closed, which may be the body's end."""
        if self._body is not None:
            try:
                self._body.end()
            except ProtocolError as exc:
                self.failed(FailureReason.CLOSED, str(exc))
            else:
                self._responded(reusable=False)
        else:
            self.failed(FailureReason.CLOSED, "closed without a response")

    def expired(self) -> None:
        """Take that the engine waited for too long."""
        self.give_up(TIMEOUT, time.monotonic() - self.due)

    def failed(self, condition: FailureReason, detail: str) -> None:
        """Take that there is no response; a kept connection's end is no server's fault."""
        sender = self._sender
        was_kept = condition is FailureReason.CLOSED and not self.channel.fresh
        may_repeat = sender.settings.method in _REPEATABLE
        is_first = not self._size and not self._is_second and not sender.is_over
        if was_kept and may_repeat and is_first:
            self.channel.close()
            again = sender.upstream.connect(sender.loop)
            if not isinstance(again, Failure):
                sender.resent += sender.is_measured(self.due)
                self._is_second, self.channel = True, again
                again.begin(self, sender.settings.request)
                return
        sender.detail = detail or condition.value
        self.give_up(word_of(condition))

    def give_up(self, reason: str, waited_s: float | None = None) -> None:
        """End it without a response."""
        self.channel.close()
        self._sender.tally.failed(self.due, reason, waited_s)
        self._sender.end(self, responded=False)

    # === private ===

    def _take_head(self, data: bytes) -> None:
        sender, whole = self._sender, self._started + data
        while True:
            at = whole.find(b"\r\n\r\n") + 4
            if at == 3:
                check_unfinished_response(whole, self.timeouts.head)
                self._started = whole
                return
            raw, rest = whole[:at], whole[at:]
            heads = sender.loop.response_heads
            head = heads.get(raw)
            if head is None:
                head = parse_response_head(raw, sender.settings.method)
                heads.offer(raw, head)
            if head.status >= 200:
                break
            whole = rest
        self._head, self._started = head, b""
        self._body = BodyTranscoder(head.framing, UNTIL_CLOSE)
        self._take_body(self._body, rest)
        # from here on it may be another request's already

    def _take_body(self, body: BodyTranscoder, data: bytes) -> None:
        if data:
            body.feed(data)
        if body.done:
            self._responded(reusable=not body.rest)

    def _responded(self, *, reusable: bool) -> None:
        head = self._head
        assert head is not None, "a body has a head before it"
        reusable = reusable and head.keep_alive and head.framing != UNTIL_CLOSE
        if reusable and len(self._latest) == self._size:  # it came in one piece
            self._sender.whole_responses.offer(self._latest, head.status)
        self._end(head.status, self._size, reusable=reusable)

    def _end(self, status: int, size: int, *, reusable: bool) -> None:
        sender = self._sender
        sender.tally.responded(self.due, time.monotonic() - self.due, status, size)
        if reusable:
            self.channel.release()
        else:
            self.channel.close()
        sender.end(self, responded=True)


def word_of(reason: FailureReason) -> str:
    """Give what people call it."""
    return _ERRORS.get(reason, reason.value)
