"""A second opinion: an upstream and a client on h11, a strict parser of other authors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import h11
import trio

from http_trio import Upstream


@attrs.define
class Judged:
    """A request as h11 understood it."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name.lower()]


@attrs.define
class JudgingUpstream:
    """An upstream that answers what it is told to, and keeps what it was asked.

    Attributes:
        response: the raw bytes of a response whose end its framing tells.
        faults: what h11 did not accept. A test asserts that there is none.
    """

    response: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    port: int = 0
    asked: list[Judged] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    connections: int = 0

    @property
    def upstream(self) -> Upstream:
        address = (trio.socket.AF_INET, ("127.0.0.1", self.port))
        return Upstream(f"judge:{self.port}", [address], b"judge")

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        judge = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while await self._take(judge, stream):
                    await stream.send_all(self.response)
                    # h11 judges what we read; it need not know what we answer.
                    judge.send(h11.Response(status_code=204, headers=[]))
                    judge.send(h11.EndOfMessage())
                    judge.start_next_cycle()
            except h11.RemoteProtocolError as exc:
                self.faults.append(str(exc))
            except (trio.BrokenResourceError, h11.LocalProtocolError):
                pass

    async def _take(self, judge: h11.Connection, stream: trio.SocketStream) -> bool:
        asked: Judged | None = None
        while True:
            event = judge.next_event()
            if event is h11.NEED_DATA:
                judge.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                asked = Judged(event.method, event.target, list(event.headers))
            elif isinstance(event, h11.Data):
                assert asked is not None, "data follow a request"
                asked.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert asked is not None, "an end follows a request"
                self.asked.append(asked)
                return True
            else:
                return False


@asynccontextmanager
async def judging_upstream(response: bytes = b"") -> AsyncIterator[JudgingUpstream]:
    """Run an upstream on a free port."""
    judge = JudgingUpstream(response) if response else JudgingUpstream()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, judge._serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        judge.port = listeners[0].socket.getsockname()[1]
        yield judge
        nursery.cancel_scope.cancel()


def judge_response(raw: bytes, method: bytes = b"GET") -> tuple[h11.Response, bytes]:
    """Read a whole response as a client, followed by nothing, or by the end.

    Raises:
        h11.RemoteProtocolError: it is not one response.
    """
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(raw)
    judge.receive_data(b"")
    body = b""
    head: h11.Response | None = None
    while True:
        event = judge.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None, "an end follows a head"
            assert not judge.trailing_data[0], judge.trailing_data
            return head, body
