"""The slow path: exchanges that do not fit the event loop, as linear trio code.

A task takes both sockets out of the selector and does with them, in order, what the
protocol says; afterwards they go back. It carries what streams (bodies that are
large, slow or of unknown length), what a client does not read fast enough, and what
changes the protocol. `upload` and `download` are the two ways of an exchange, and
`tunnel` is what a change of protocol leaves. One file, since the end must settle what
each step before it may have left.

The rule that it obeys: whatever happens, the upstream request ends, and both sockets
are given back or closed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from http_trio.errors import BadRequest
from http_trio.http1.response import Response, error_response
from http_trio.http1.response_head import ResponseHead
from http_trio.net.stream import ByteStream
from http_trio.proxy.client_frames import ClientFrames
from http_trio.proxy.download import Download
from http_trio.proxy.errors import (
    FAULTS,
    ClientGone,
    Fault,
    HandlerFailed,
    UpstreamFailed,
)
from http_trio.proxy.tunnel import Tunnel
from http_trio.proxy.upload import Upload, may_half_close
from http_trio.proxy.upstream_request import UpstreamRequest
from http_trio.proxy.websocket_frames import WebSocketFrameTracker
from http_trio.server.exchange import ClientConnection, Http2Exchange
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.failure import Failure, FailureReason

_log = logging.getLogger(__name__)


def start(request: UpstreamRequest) -> None:
    """Carry a whole exchange in a task."""
    task = ForwardTask(request)
    request.exchange.loop.spawn(task.run, task.carry)


def start_response(
    request: UpstreamRequest,
    connection: UpstreamChannel,
    unsent: bytes,
    received: bytes,
) -> None:
    """Carry the rest of a response in a task.

    Args:
        request: which it is of.
        connection: of its server.
        unsent: what goes out first.
        received: what came of its body, and was not looked at.
    """
    task = ForwardTask(request)
    task.use(connection, received)
    task.unsent = unsent
    request.exchange.loop.spawn(task.run, task.carry_rest)


class ForwardTask:
    """One exchange in the slow path."""

    def __init__(self, request: UpstreamRequest) -> None:
        client = request.exchange.connection
        assert client is not None, "only a live exchange is carried"
        self.unsent = b""
        self._request = request
        self._exchange = request.exchange
        self._limits = request.exchange.limits
        self._client: ClientConnection = client
        self._down = client.leave_loop()
        self._connection: UpstreamChannel | None = None
        self._up: ByteStream = self._down  # until `use` says which it is
        self._uploaded = self._is_repeated = False
        self._switched: tuple[ResponseHead, bytes] | None = None
        self._working = trio.CancelScope()
        self._ended_by: Fault | None = None
        self._tunnel: Tunnel | None = None
        request.carrier = self

    def use(self, connection: UpstreamChannel, received: bytes = b"") -> None:
        """Talk to this connection of the upstream; it is out of the event loop already."""
        self._connection = connection
        self._up = connection.stream
        if received:
            self._up.buffer = received + self._up.buffer

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, then give back or close both connections."""
        try:
            with self._working:
                await work()
            if self._working.cancelled_caught and self._ended_by is not None:
                raise self._ended_by
        except BadRequest as exc:
            self._give_up(partial(error_response, exc.status, str(exc)), None)
        except UpstreamFailed as exc:
            failure = exc.failure
            self._give_up(partial(self._request.error_response, failure), failure)
        except ClientGone:
            self._abandon()
        except HandlerFailed:  # which is logged
            self._give_up(partial(error_response, 500, ""), None)
        except Exception:
            _log.exception("forwarding %s failed", self._exchange.method)
            self._give_up(partial(error_response, 502, ""), None)
        except BaseException:
            self._abandon()
            raise
        else:
            self._give_back()

    def fail(self, failure: Failure) -> None:
        """End the request with a failure; called from outside the task."""
        self._ended_by = self._ended_by or UpstreamFailed(failure)
        self._working.cancel()

    def crash(self) -> None:
        """End the request: code that decides on it raised; called from outside."""
        self._ended_by = self._ended_by or HandlerFailed()
        self._working.cancel()

    def recall(self) -> None:
        """End the response that has begun, early; a WebSocket with close frames."""
        if self._tunnel is not None:
            self._tunnel.recall()
        else:
            self._ended_by = self._ended_by or ClientGone()
            self._working.cancel()

    # === what the task does ===

    async def carry(self) -> None:
        """Send the request and its body, and bring the response back."""
        await self._open()
        while (after_s := await self._try_once()) is not None:
            self._close_connection()
            await trio.sleep(after_s)
            await self._open()
        if self._switched is not None:
            await self._run_tunnel(*self._switched)

    async def carry_rest(self) -> None:
        """Bring the rest of a response back; the request is out."""
        download = Download(self._request, self._up, self._down)
        upload = self._new_upload(download)
        upload.is_out()
        self._uploaded = True
        unsent, self.unsent = self.unsent, b""
        await download.send(unsent)
        await _beside(upload.run, download.pass_body)

    def _new_upload(self, download: Download) -> Upload:
        passes_trailer = self._request.hooks.passes_trailer
        return Upload(self._exchange, self._down, self._up, download, passes_trailer)

    async def _open(self) -> None:
        """Get a connection, elsewhere if need be: nothing of the request is out."""
        request, loop = self._request, self._exchange.loop
        while True:
            lead, upstream = request.lead, request.upstream
            got = upstream.take_idle(peek=True, lead=lead) or upstream.connect(
                loop, lead
            )
            if isinstance(got, Failure):
                failure: Failure | None = got
            else:
                connecting = got.connecting
                got.leave_loop()
                self._connection = got
                failure = await self._connected(got) if connecting else None
                self.use(got)
            if failure is None:
                return
            self._close_connection()
            await trio.sleep(self._pause_after(failure))

    async def _connected(self, connection: UpstreamChannel) -> Failure | None:
        with trio.move_on_after(self._request.timeouts.connect_s):
            return await connection.finish_connecting()
        connection.blame_address()
        name = self._request.upstream.name
        return Failure(FailureReason.CONNECT_TIMEOUT, name, sent=False)

    def _pause_after(self, failure: Failure) -> float:
        after_s = self._request.after_failure(failure)
        if after_s is None:
            raise UpstreamFailed(failure)
        return after_s

    async def _try_once(self) -> float | None:
        """Do it with the present upstream; give the pause before another try, if any.

        A failed one may be repeated while nothing of the response has gone out, no byte
        of the body was taken from the client, and the method is idempotent. What the
        upstream has not looked at may be, if what was taken is still here.
        """
        request = self._request
        download = Download(request, self._up, self._down)
        upload = self._new_upload(download)
        after_s: float | None = None

        async def response() -> None:
            nonlocal after_s
            head, rest = await download.await_head()
            if head.status == 101:
                self._switched = head, rest
                return
            after_s = request.after_response(head)
            if after_s is None:
                await download.begin(head, rest, last=not upload.done)
                await download.pass_body()

        try:
            await self._send_head()
            await _beside(upload.run, response)
        except UpstreamFailed as exc:
            if request.status or not self._may_repeat(exc.failure, upload):
                raise
            if self._was_not_looked_at(exc.failure):
                return 0.0
            return self._pause_after(exc.failure)
        finally:
            self._uploaded = upload.done
        return after_s

    def _may_repeat(self, failure: Failure, upload: Upload) -> bool:
        if failure.sent:
            return self._exchange.head.repeatable and not upload.begun
        return upload.give_back()

    def _was_not_looked_at(self, failure: Failure) -> bool:
        """Tell, once, whether it was told that the request came to nothing.

        It goes out again over another connection then, as one that finds its kept
        connection closed.
        """
        first, self._is_repeated = not self._is_repeated, True
        return first and not failure.sent and failure.condition is FailureReason.CLOSED

    async def _send_head(self) -> None:
        request, connection = self._request, self._connection
        assert connection is not None, "it is opened first"
        connection.sent = True
        try:
            await self._up.send(request.request_bytes(None), self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise UpstreamFailed.by(exc, request.upstream.name) from exc

    async def _run_tunnel(self, head: ResponseHead, rest: bytes) -> None:
        self._tunnel = Tunnel(
            self._down,
            self._up,
            idle_s=self._request.timeouts.tunnel_idle_s,
            recall_s=self._limits.recall_s,
            ahead=rest,
            from_client=self._client_frames(head),
            half_close=may_half_close(self._exchange),
        )
        data = self._request.switch(head) + rest
        try:
            await self._down.send(data, self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise ClientGone from exc
        await self._tunnel.run()

    def _client_frames(self, head: ResponseHead) -> WebSocketFrameTracker:
        """Give who looks at what the client sends.

        A tunnel over HTTP/1.1 is a connection, whose bytes are its ends' (RFC 9110
        section 7.8). Over HTTP/2 it is a message, on a connection that others share.
        """
        if not isinstance(self._exchange, Http2Exchange):
            return WebSocketFrameTracker()
        extended = b"\r\nsec-websocket-extensions:" in head.kept.lower()
        return ClientFrames(extended=extended)

    # === the end ===

    def _give_back(self) -> None:
        request, exchange, connection = self._request, self._exchange, self._connection
        head, transcoder = request.head, request.transcoder
        reusable = (
            head is not None
            and transcoder is not None
            and head.keep_alive
            and self._uploaded
            and not transcoder.rest
            and not self._up.buffer
        )
        if connection is not None and reusable:
            connection.rejoin()
        else:
            self._close_connection()
        keep = request.keeps_client and self._uploaded
        request.end(None)
        if self._tunnel is not None:
            exchange.cut(by_upstream=self._tunnel.cut_by_server)
        else:
            self._client.rejoin(self._down.buffer)
            exchange.send_last(b"", keep=keep)

    def _give_up(self, refuse: Callable[[], Response], failure: Failure | None) -> None:
        self._close_connection()
        request, exchange = self._request, self._exchange
        if request.status:
            request.end(failure)
            exchange.cut(by_upstream=failure is not None)
            return
        response = refuse()
        request.note_error_response(response)
        request.end(failure)
        for_head = exchange.head.method == b"HEAD"
        response = exchange.suited(response)
        self._client.rejoin(b"")
        exchange.send_last(
            response.render(for_head=for_head, connection=b"close"), keep=False
        )

    def _abandon(self) -> None:
        self._close_connection()
        self._request.end(None)
        self._exchange.cut()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


async def _beside(
    follow: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]
) -> None:
    """Do the work while the client is followed; the first fault of either ends both."""
    first: list[Fault] = []

    async def follow_client(scope: trio.CancelScope) -> None:
        try:
            await follow()
        except FAULTS as exc:
            first.append(exc)
            scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_client, nursery.cancel_scope)
        try:
            await work()
        except FAULTS as exc:
            first.append(exc)
        nursery.cancel_scope.cancel()
    if first:
        raise first[0]
