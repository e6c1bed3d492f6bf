"""From the client to the upstream, in the slow path: a body, then what comes ahead.

It runs beside the response, since a client may send while its response comes, and
may go away at any time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn, TypeVar

import trio

from http_trio.errors import BadRequest, ProtocolError
from http_trio.http1.body import BodyTranscoder, kept_trailers
from http_trio.http1.body_pace import TOO_SLOW, BodyPace
from http_trio.limits import BUFFER
from http_trio.net.stream import ByteStream, copy
from http_trio.proxy.download import Download
from http_trio.proxy.errors import ClientGone
from http_trio.server.exchange import Exchange

_Got = TypeVar("_Got", bytes, int)


class _RequestBody(BodyTranscoder):
    """The same, whose trailers are looked at.

    Attributes:
        passes_trailer: tells whether one of them goes on.
    """

    __slots__ = ("passes_trailer",)
    passes_trailer: Callable[[bytes], bool]

    def _kept_trailers(self) -> list[bytes]:
        return list(filter(self.passes_trailer, super()._kept_trailers()))


class Upload:
    """One request's body on its way.

    Attributes:
        begun: whether a byte of it was taken, which can then not be sent again.
        done: whether it is complete.
    """

    def __init__(
        self,
        exchange: Exchange,
        down: ByteStream,
        up: ByteStream,
        download: Download,
        passes_trailer: Callable[[bytes], bool],
    ) -> None:
        framing = exchange.head.framing
        limits = exchange.limits
        self.begun = False
        self._transcoder = _RequestBody(
            framing, framing, trailers=True, line_limit=limits.trailers
        )
        self._transcoder.passes_trailer = passes_trailer
        self._limits = limits
        self._pace = BodyPace(limits)
        self._down, self._up = down, up
        self._download = download
        self._is_patient = exchange.is_grpc
        self._may_half_close = may_half_close(exchange)
        self._limit = exchange.body_limit
        self._taken: list[bytes] | None = []
        self._taken_size = 0

    @property
    def done(self) -> bool:
        """Whether the whole body is out."""
        return self._transcoder.done

    def give_back(self) -> bool:
        """Let the next try find what was taken; give whether all of it is here."""
        taken, self._taken = self._taken, None
        if taken is None:
            return False
        body = b"".join(taken)
        if self.done and self._transcoder.rest:  # which is in the buffer again
            body = body[: -len(self._transcoder.rest)]
        self._down.buffer = body + self._down.buffer
        return True

    def is_out(self) -> None:
        """Note that the body went out before."""
        self._transcoder.done = True

    async def run(self) -> None:
        """Send the body, then watch the client, until cancelled.

        Raises:
            BadRequest: the body breaks the rules, or does not come.
            ClientGone: the client went away.
        """
        await self._send_body()
        self._download.request_is_out()
        await self._watch_client()

    async def _send_body(self) -> None:
        body = self._transcoder
        if body.left:
            await copy(
                *(self._take, self._send, body.left),
                sink=self._up,
                wait_room=self._wait_room,
            )
            body.left, body.done = 0, True
        while not body.done:
            began, passed = trio.current_time(), body.passed
            data = await self._receive()
            waited_s = trio.current_time() - began
            try:
                out = body.feed(data)
            except ProtocolError as exc:
                raise BadRequest(400, str(exc)) from exc
            self._pace.took(body.passed - passed, waited_s)
            if self._limit is not None:
                self._limit.check(body.passed)
            if out:
                await self._send(out)
        self._down.buffer = body.rest + self._down.buffer

    async def _watch_client(self) -> None:
        """Keep what it sends ahead; when it ends, it has left.

        But where it may close its half it may still read, and TCP does not tell it
        from one that is gone until something is sent. So it has a while.
        """
        while len(self._down.buffer) <= BUFFER:
            try:
                data = await self._down.receive_ahead()
            except OSError as exc:
                raise ClientGone from exc
            if not data:
                if not self._may_half_close or self._down.has_hung_up:
                    raise ClientGone
                self._download.client_half_closed()
                return
            self._down.buffer += data

    async def _receive(self) -> bytes:
        data = await self._waited_for(self._down.receive)
        self._keep(data)
        return data

    async def _take(self, view: memoryview) -> int:
        began = trio.current_time()
        count = await self._waited_for(partial(self._down.receive_into, view))
        self._keep(view[:count])
        self._pace.took(count, trio.current_time() - began)
        return count

    async def _waited_for(self, receive: Callable[[float], Awaitable[_Got]]) -> _Got:
        """Receive something, within the time that the client has for it.

        Who sends a call of gRPC, or has a response already, may send as it comes: that
        is bounded as a response is.
        """
        while True:
            patient = self._is_patient or self._download.has_begun
            try:
                got = await receive(
                    self._download.idle_s if patient else self._pace.left_s
                )
            except trio.TooSlowError as exc:
                if patient or not self._download.has_begun:
                    raise BadRequest(408, TOO_SLOW) from exc
            except OSError as exc:
                raise ClientGone from exc
            else:
                if not got:
                    raise ClientGone
                self.begun = True
                return got

    def _keep(self, data: bytes | memoryview) -> None:
        """Keep what was taken while it is little: it may have to go out again."""
        self._taken_size += len(data)
        if self._taken_size > BUFFER or self._download.has_begun:
            self._taken = None
        elif self._taken is not None:
            self._taken.append(bytes(data))

    async def _send(self, data: bytes | memoryview) -> None:
        if self._down.trailers:
            passes = self._transcoder.passes_trailer
            self._up.add_trailers(kept_trailers(self._down.trailers, passes))
        try:
            await self._up.send(data, self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            await self._takes_no_more(exc)

    async def _wait_room(self) -> int:
        try:
            return await self._up.wait_room(self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            await self._takes_no_more(exc)

    async def _takes_no_more(self, exc: Exception) -> NoReturn:
        """Wait until cancelled: its response, or its end, will say why."""
        if isinstance(exc, ConnectionResetError):
            self._download.upstream_reset()
        self._download.request_is_out()
        await trio.sleep_forever()


def may_half_close(exchange: Exchange) -> bool:
    """Tell whether a client may end its half and still read.

    One that shares its connection with others (HTTP/2) says when it leaves.
    """
    connection = exchange.connection
    return (
        exchange.loop.half_close or connection is None or connection.own_socket is None
    )
