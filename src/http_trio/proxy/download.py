"""From the upstream to the client, in the slow path: a response's head, then its body.

Two waits are set from outside while it reads: the response is due some time after the
request is out, and once the client has closed its half, the response may dawdle less.
"""

from __future__ import annotations

import math
import os

import trio

from http_trio.errors import BadResponse, ProtocolError
from http_trio.http1.body import BodyTranscoder, Truncated
from http_trio.http1.response_head import ResponseHead
from http_trio.net.stream import ByteStream, copy
from http_trio.proxy.errors import ClientGone, UpstreamFailed
from http_trio.proxy.upstream_request import UpstreamRequest
from http_trio.upstream.failure import FailureReason
from http_trio.upstream.response_reader import read_head

_THREADS = trio.CapacityLimiter(max(1, (os.cpu_count() or 1)))
"""Threads that encode at a time: more would wait for a processor."""


async def _in_thread(transcoder: BodyTranscoder, data: bytes) -> bytes:
    """Take in what takes long, while others are served."""
    return await trio.to_thread.run_sync(transcoder.feed, data, limiter=_THREADS)


class Download:
    """One response on its way from the upstream to the client."""

    def __init__(
        self, request: UpstreamRequest, up: ByteStream, down: ByteStream
    ) -> None:
        self._request = request
        self._up, self._down = up, down
        self._limits = request.exchange.limits
        self._timeouts = request.timeouts
        self._idle_s = self._timeouts.stream_idle_s
        self._awaiting = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._was_reset = False

    @property
    def has_begun(self) -> bool:
        """Whether something of the response has gone out."""
        return self._request.has_begun

    @property
    def idle_s(self) -> float:
        """How long it may rest."""
        return self._idle_s

    def request_is_out(self) -> None:
        """Note that the whole request is out: the response's head is due now."""
        self._awaiting.deadline = trio.current_time() + self._timeouts.response_s

    def upstream_reset(self) -> None:
        """The system told of a reset while sending, and will not tell it again.

        What reads as an end from now on is none.
        """
        self._was_reset = True

    def client_half_closed(self) -> None:
        """Wait less for what goes on: whether anybody still reads is not known."""
        self._idle_s = self._limits.half_closed_s
        until = trio.current_time() + self._idle_s
        self._reading.deadline = min(self._reading.deadline, until)

    async def await_head(self) -> tuple[ResponseHead, bytes]:
        """Give the final head, or that of a switch, and what came behind it.

        Raises:
            UpstreamFailed: there is none, or not in time, or it is none of HTTP.
            ClientGone: it did not take an interim response.
        """
        with self._awaiting:
            try:
                return await self._read_head()
            except BadResponse as exc:
                raise self._failed(FailureReason.BAD_RESPONSE, str(exc)) from exc
        raise self._failed(FailureReason.RESPONSE_TIMEOUT)

    async def begin(self, head: ResponseHead, rest: bytes, *, last: bool) -> None:
        """Send the response's beginning."""
        if self._request.hooks.encoder is not None:  # the rest goes as all of it does
            self._up.buffer, rest = rest + self._up.buffer, b""
        try:
            out = self._request.begin_response(head, rest, last=last)
        except ProtocolError as exc:
            raise self._failed(FailureReason.BAD_RESPONSE, str(exc)) from exc
        await self.send(out)

    async def pass_body(self) -> None:
        """Bring the rest of the body; the response has begun."""
        transcoder = self._request.transcoder
        assert transcoder is not None, "the response has begun"
        if transcoder.left:
            await copy(
                *(self._take, self._pass_on, transcoder.left),
                sink=self._down,
                wait_room=self._wait_room,
            )
            transcoder.left, transcoder.done = 0, True
        while not transcoder.done:
            room = await self._wait_room()
            data = await self._receive(self._idle_s, room)
            try:
                if len(data) > transcoder.most_at_once:
                    out = await _in_thread(transcoder, data)
                else:
                    out = transcoder.feed(data) if data else transcoder.end()
            except Truncated as exc:
                raise self._failed(FailureReason.CLOSED, str(exc)) from exc
            except ProtocolError as exc:
                raise self._failed(FailureReason.BAD_RESPONSE, str(exc)) from exc
            if out:
                await self.send(out)

    async def send(self, data: bytes | memoryview) -> None:
        """Send to the client.

        Raises:
            ClientGone: it takes nothing.
        """
        if self._up.trailers:
            self._request.pass_trailers(self._up.trailers)
        try:
            await self._down.send(data, self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise ClientGone from exc

    async def _wait_room(self) -> int:
        try:
            return await self._down.wait_room(self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise ClientGone from exc

    async def _pass_on(self, data: memoryview) -> None:
        await self.send(data)
        transcoder = self._request.transcoder
        assert transcoder is not None, "the response has begun"
        transcoder.passed += len(data)

    async def _read_head(self) -> tuple[ResponseHead, bytes]:
        asked = self._request.exchange.head
        interims = 0
        while True:
            head, rest = await self._next_head(asked.method)
            if head.status == 101 and (asked.upgrade is None or head.upgrade is None):
                raise BadResponse("101 to a request without Upgrade")
            if head.status == 101 or head.status >= 200:
                return head, rest
            interims += 1
            if interims > self._limits.interim_responses:
                raise BadResponse(f"more than {interims - 1} interim responses")
            if not asked.http10:
                await self.send(b"HTTP/1.1%b%b\r\n\r\n" % (head.line, head.kept))
            self._up.buffer = rest

    async def _next_head(self, method: bytes) -> tuple[ResponseHead, bytes]:
        with trio.CancelScope() as self._reading:
            try:
                return await read_head(self._up, method, limit=self._limits.head)
            except Truncated as exc:
                why = "reset" if self._was_reset else str(exc)
                raise self._failed(FailureReason.CLOSED, why) from exc
            except OSError as exc:
                raise self._lost(exc) from exc
        raise self._failed(FailureReason.STALLED)

    async def _receive(self, idle_s: float, most: int) -> bytes:
        with trio.move_on_after(idle_s) as self._reading:
            try:
                data = await self._up.receive(math.inf, most)
            except OSError as exc:
                raise self._lost(exc) from exc
            if not data and self._was_reset:
                raise self._failed(FailureReason.CLOSED, "reset")
            return data
        raise self._failed(FailureReason.STALLED)

    async def _take(self, view: memoryview) -> int:
        count = 0
        with trio.move_on_after(self._idle_s) as self._reading:
            try:
                count = await self._up.receive_into(view, math.inf)
            except OSError as exc:
                raise self._lost(exc) from exc
        if self._reading.cancelled_caught:
            raise self._failed(FailureReason.STALLED)
        if not count:
            raise self._failed(FailureReason.CLOSED, "closed inside its response")
        return count

    def _lost(self, exc: OSError) -> UpstreamFailed:
        return UpstreamFailed.by(exc, self._request.upstream.name)

    def _failed(self, condition: FailureReason, detail: str = "") -> UpstreamFailed:
        return UpstreamFailed.because(condition, self._request.upstream.name, detail)
