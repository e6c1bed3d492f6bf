"""The task lane: exchanges that do not fit the express lane, as linear trio code.

A task takes both sockets out of the selector and does with them, in order, what the
protocol says; afterwards they go back. It carries what streams (bodies that are
large, slow or of unknown length), what a client does not read fast enough, and what
changes the protocol.

The rule that it obeys: whatever happens, the transit ends, and both sockets are given
back or closed. Three faults may end the work early, and each names whose it is.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from http_trio.answer import Answer, refusal
from http_trio.errors import BadAnswer, BadRequest, Condition, Failure, ProtocolError
from http_trio.head import AnswerHead, parse_answer_head
from http_trio.limits import BUFFER
from http_trio.passage import Passage, Truncated
from http_trio.tls_socket import TlsSocket, finish_handshake, what_failed
from http_trio.wire import Wire, copy_buffer, has_hung_up

if TYPE_CHECKING:
    from http_trio.connection import Connection
    from http_trio.transit import Transit
    from http_trio.upstream import UpstreamConnection


def start(transit: Transit) -> None:
    """Carry a whole exchange in a task."""
    relay = Relay(transit)
    transit.exchange.lane.spawn(relay.run, relay.carry)


def start_answer(transit: Transit, peer: UpstreamConnection, unsent: bytes) -> None:
    """Carry the rest of an answer, of which `unsent` goes out first, in a task."""
    relay = Relay(transit)
    relay.use(peer)
    relay.unsent = unsent
    transit.exchange.lane.spawn(relay.run, relay.carry_rest)


class _ClientGone(Exception):
    """The client went away, or takes nothing any more."""


class _UpstreamFailed(Exception):
    """The upstream gave no answer, or only a part of one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


_Fault = BadRequest | _ClientGone | _UpstreamFailed
_FAULTS = (BadRequest, _ClientGone, _UpstreamFailed)


class Relay:
    """One exchange in the task lane."""

    def __init__(self, transit: Transit) -> None:
        client = transit.exchange.connection
        assert client is not None, "only a live exchange is carried"
        self.unsent = b""
        self._transit = transit
        self._exchange = transit.exchange
        self._limits = transit.exchange.limits
        self._client: Connection = client
        self._down = Wire(client.sock, client.leave_lane())
        self._peer: UpstreamConnection | None = None
        self._up = self._down  # until `use` says which it is
        framing = self._exchange.head.framing
        self._upload = Passage(framing, framing, line_limit=self._limits.trailers)
        self._fault: _Fault | None = None
        self._awaiting = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._waits = transit.waits
        self._idle_s = self._waits.stream_idle_s
        self._switched: tuple[AnswerHead, bytes] | None = None
        self._again_s: float | None = None
        self._working = trio.CancelScope()
        transit.carrier = self

    def use(self, peer: UpstreamConnection) -> None:
        """Talk to this connection of the upstream; it is out of the lane already."""
        self._peer = peer
        self._up = Wire(peer.sock)

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work and settle what becomes of both sides."""
        try:
            with self._working:
                await work()
            if self._working.cancelled_caught and self._fault is not None:
                raise self._fault
        except BadRequest as exc:
            self._give_up(partial(refusal, exc.status, str(exc)), None)
        except _UpstreamFailed as exc:
            failure = exc.failure
            self._give_up(partial(self._transit.refuse, failure), failure)
        except _ClientGone:
            self._abandon()
        except BaseException:
            self._abandon()
            raise
        else:
            self._give_back()

    def fail(self, failure: Failure) -> None:
        """End the work, from outside."""
        self._fault = self._fault or _UpstreamFailed(failure)
        self._working.cancel()

    # === the work ===

    async def carry(self) -> None:
        """Send the request and its body, and bring the answer back."""
        await self._ask()
        while self._again_s is not None:
            self._close_peer()
            await trio.sleep(self._again_s)
            self._again_s = None
            await self._ask()
        if self._switched is not None:
            await self._tunnel(*self._switched)

    async def _ask(self) -> None:
        peer = await self._open()
        peer.sent = True
        try:
            await self._up.send(self._transit.request_bytes(None), self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise self._failed(Condition.CLOSED, str(exc)) from exc
        self._awaiting = trio.CancelScope()
        await self._beside_client(self._answer)

    async def carry_rest(self) -> None:
        """Bring the rest of an answer back; the request is out."""
        self._upload.done = True
        await self._send_down(self.unsent)
        await self._beside_client(self._relay_answer)

    async def _open(self) -> UpstreamConnection:
        """Get a connection, elsewhere if need be: nothing of the request is out."""
        transit, lane = self._transit, self._exchange.lane
        while True:
            got = transit.upstream.take_idle(peek=True) or transit.upstream.connect(
                lane
            )
            if isinstance(got, Failure):
                failure: Failure | None = got
            else:
                connecting = got.connecting
                got.leave_lane()
                self.use(got)
                failure = await self._connected(got) if connecting else None
            if failure is None:
                assert self._peer is not None, "it is in use"
                return self._peer
            self._close_peer()
            after_s = transit.after_failure(failure)
            if after_s is None:
                raise _UpstreamFailed(failure)
            await trio.sleep(after_s)

    async def _connected(self, peer: UpstreamConnection) -> Failure | None:
        name = peer.upstream.name
        with trio.move_on_after(self._waits.connect_s):
            await trio.lowlevel.wait_writable(peer.sock)
            code = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code and isinstance(peer.sock, TlsSocket):
                return await _secured(name, peer.sock)
            if not code:
                return None
            peer.upstream.try_next_address()
            return Failure(
                Condition.UNREACHABLE, name, sent=False, detail=os.strerror(code)
            )
        peer.upstream.try_next_address()
        return Failure(Condition.CONNECT_TIMEOUT, name, sent=False)

    async def _beside_client(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the answer's work while the client sends, or may go away."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_client, nursery.cancel_scope)
            try:
                await work()
            except _FAULTS as exc:
                self._fault = self._fault or exc
            nursery.cancel_scope.cancel()
        if self._fault is not None:
            raise self._fault

    # === from the client ===

    async def _follow_client(self, scope: trio.CancelScope) -> None:
        try:
            await self._send_upload()
            self._awaiting.deadline = trio.current_time() + self._waits.answer_s
            await self._watch_client()
        except _FAULTS as exc:
            self._fault = self._fault or exc
            scope.cancel()

    async def _send_upload(self) -> None:
        upload = self._upload
        if upload.left:
            await self._move(self._take_down, self._send_up, upload.left)
            upload.left, upload.done = 0, True
        while not upload.done:
            data = await self._receive_down()
            try:
                out = upload.feed(data)
            except ProtocolError as exc:
                raise BadRequest(400, str(exc)) from exc
            if out:
                await self._send_up(out)
        self._down.buffer = upload.rest + self._down.buffer

    async def _watch_client(self) -> None:
        """Keep what it sends ahead; when it ends, let the answer dawdle less.

        A client that has closed its half may still read, and TCP does not tell it
        from one that is gone until something is sent. So it has a while.
        """
        while len(self._down.buffer) <= BUFFER:
            await trio.lowlevel.wait_readable(self._down.sock)
            try:
                data = self._down.sock.recv(BUFFER)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise _ClientGone from exc
            if not data and has_hung_up(self._down.sock):
                raise _ClientGone
            if not data:
                self._idle_s = self._limits.half_closed_s
                until = trio.current_time() + self._idle_s
                self._reading.deadline = min(self._reading.deadline, until)
                return
            self._down.buffer += data

    async def _receive_down(self) -> bytes:
        try:
            data = await self._down.receive(self._limits.body_s)
        except trio.TooSlowError as exc:
            raise BadRequest(408, "the body did not come in time") from exc
        except OSError as exc:
            raise _ClientGone from exc
        if not data:
            raise _ClientGone
        return data

    async def _take_down(self, view: memoryview) -> int:
        try:
            count = await self._down.receive_into(view, self._limits.body_s)
        except trio.TooSlowError as exc:
            raise BadRequest(408, "the body did not come in time") from exc
        except OSError as exc:
            raise _ClientGone from exc
        if not count:
            raise _ClientGone
        return count

    async def _send_up(self, data: bytes | memoryview) -> None:
        try:
            await self._up.send(data, self._limits.write_s)
        except (OSError, trio.TooSlowError):
            # It takes no more. Its answer, or its end, will say why.
            self._awaiting.deadline = trio.current_time() + self._waits.answer_s
            await trio.sleep_forever()

    # === from the upstream ===

    async def _answer(self) -> None:
        head, rest = await self._await_head()
        if head.status == 101:
            self._switched = head, rest
            return
        self._again_s = self._transit.after_answer(head)
        if self._again_s is not None:
            return
        try:
            out = self._transit.begin_answer(head, rest, last=not self._upload.done)
        except ProtocolError as exc:
            raise self._failed(Condition.BAD_ANSWER, str(exc)) from exc
        await self._send_down(out)
        await self._relay_answer()

    async def _await_head(self) -> tuple[AnswerHead, bytes]:
        with self._awaiting:
            try:
                return await self._read_head()
            except BadAnswer as exc:
                raise self._failed(Condition.BAD_ANSWER, str(exc)) from exc
        raise self._failed(Condition.ANSWER_TIMEOUT)

    async def _read_head(self) -> tuple[AnswerHead, bytes]:
        request = self._exchange.head
        data = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > self._limits.head:
                    raise BadAnswer("a header section beyond the limit")
                more = await self._receive_up(math.inf)
                if not more:
                    raise self._failed(Condition.CLOSED, "closed without an answer")
                data += more
                continue
            head = parse_answer_head(data[:end], request.method)
            data = data[end:]
            if head.status == 101:
                if request.upgrade is None or head.upgrade is None:
                    raise BadAnswer("101 to a request without Upgrade")
                return head, data
            if head.status >= 200:
                return head, data
            if not request.http10:
                await self._send_down(b"HTTP/1.1%b%b\r\n\r\n" % (head.line, head.kept))

    async def _relay_answer(self) -> None:
        passage = self._transit.passage
        assert passage is not None, "the answer has begun"
        if passage.left:
            await self._move(self._take_up, self._pass_down, passage.left)
            passage.left, passage.done = 0, True
        while not passage.done:
            data = await self._receive_up(self._idle_s)
            try:
                out = passage.feed(data) if data else passage.end()
            except Truncated as exc:
                raise self._failed(Condition.CLOSED, str(exc)) from exc
            except ProtocolError as exc:
                raise self._failed(Condition.BAD_ANSWER, str(exc)) from exc
            if out:
                await self._send_down(out)

    async def _receive_up(self, idle_s: float) -> bytes:
        with trio.move_on_after(idle_s) as self._reading:
            try:
                return await self._up.receive(math.inf)
            except OSError as exc:
                raise self._failed(Condition.CLOSED, str(exc)) from exc
        raise self._failed(Condition.STALLED)

    async def _take_up(self, view: memoryview) -> int:
        count = 0
        with trio.move_on_after(self._idle_s) as self._reading:
            try:
                count = await self._up.receive_into(view, math.inf)
            except OSError as exc:
                raise self._failed(Condition.CLOSED, str(exc)) from exc
        if self._reading.cancelled_caught:
            raise self._failed(Condition.STALLED)
        if not count:
            raise self._failed(Condition.CLOSED, "closed inside its answer")
        return count

    async def _send_down(self, data: bytes | memoryview) -> None:
        try:
            await self._down.send(data, self._limits.write_s)
        except (OSError, trio.TooSlowError) as exc:
            raise _ClientGone from exc

    async def _pass_down(self, data: memoryview) -> None:
        await self._send_down(data)
        passage = self._transit.passage
        assert passage is not None, "the answer has begun"
        passage.passed += len(data)

    async def _move(
        self,
        take: Callable[[memoryview], Awaitable[int]],
        give: Callable[[memoryview], Awaitable[None]],
        count: int,
    ) -> None:
        with copy_buffer() as view:
            while count:
                got = await take(view[:count])
                await give(view[:got])
                count -= got

    # === a tunnel ===

    async def _tunnel(self, head: AnswerHead, rest: bytes) -> None:
        """Move bytes both ways until both sides have ended (RFC 9110 section 7.8)."""
        await self._send_down(self._transit.switch(head) + rest)
        idle_s = self._waits.tunnel_idle_s
        with trio.move_on_after(idle_s) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, self._down, self._up, scope)
                nursery.start_soon(self._pump, self._up, self._down, scope)

    async def _pump(self, source: Wire, sink: Wire, scope: trio.CancelScope) -> None:
        idle_s = self._waits.tunnel_idle_s
        try:
            with copy_buffer() as view:
                while count := await source.receive_into(view, math.inf):
                    scope.deadline = trio.current_time() + idle_s
                    await sink.send(view[:count], idle_s)
            sink.sock.shutdown(socket.SHUT_WR)
        except (OSError, trio.TooSlowError):
            scope.cancel()  # one side is gone: so is the tunnel

    # === the end ===

    def _give_back(self) -> None:
        transit, exchange, peer = self._transit, self._exchange, self._peer
        head, passage = transit.head, transit.passage
        uploaded = self._upload.done
        reusable = (
            head is not None
            and passage is not None
            and head.keep_alive
            and uploaded
            and not passage.rest
            and not self._up.buffer
        )
        if peer is not None and reusable:
            peer.rejoin()
        else:
            self._close_peer()
        keep = transit.keeps_client and uploaded
        transit.end(None)
        if self._switched is not None:
            exchange.cut()
        else:
            self._client.rejoin(self._down.buffer)
            exchange.send_last(b"", keep=keep)

    def _give_up(self, refuse: Callable[[], Answer], failure: Failure | None) -> None:
        self._close_peer()
        transit, exchange = self._transit, self._exchange
        if transit.status:
            transit.end(failure)
            exchange.cut()
            return
        answer = refuse()
        transit.note_refusal(answer)
        transit.end(failure)
        for_head = exchange.head.method == b"HEAD"
        self._client.rejoin(b"")
        exchange.send_last(
            answer.render(for_head=for_head, connection=b"close"), keep=False
        )

    def _abandon(self) -> None:
        self._close_peer()
        self._transit.end(None)
        self._exchange.cut()

    def _close_peer(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()

    def _failed(self, condition: Condition, detail: str = "") -> _UpstreamFailed:
        name = self._transit.upstream.name
        return _UpstreamFailed(Failure(condition, name, sent=True, detail=detail))


async def _secured(name: str, sock: TlsSocket) -> Failure | None:
    try:
        await finish_handshake(sock)
    except OSError as exc:
        return Failure(Condition.UNTRUSTED, name, sent=False, detail=what_failed(exc))
    return None
