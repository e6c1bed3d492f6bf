"""The same messages come out, whatever reads their bytes are split into."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from http_trio import Exchange, Response
from http_trio.testing.peers import (
    RawClient,
    ReceivedRequest,
    connected,
    fake_upstream,
    proxying,
    serving,
)
from tests.http_trio.support.h11_peers import judging_upstream
from tests.http_trio.support.strategies import Body, bodies, cut, cuts

_METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"])


@attrs.frozen
class Request:
    method: bytes
    target: bytes
    body: Body

    @property
    def raw(self) -> bytes:
        head = b"%b %b HTTP/1.1\r\nHost: test\r\n%b\r\n"
        return head % (self.method, self.target, self.body.field) + self.body.framed


_requests = st.lists(
    st.builds(
        Request,
        _METHODS,
        st.binary(max_size=9).map(lambda data: b"/" + data.hex().encode()),
        bodies(),
    ),
    min_size=1,
    max_size=4,
)


def tell(exchange: Exchange) -> None:
    """Answer with what was understood."""

    def collected(ex: Exchange, body: bytes) -> None:
        ex.respond(Response(200, b"%b %b %b" % (ex.method.encode(), ex.target, body)))

    exchange.collect(100_000, collected)


@settings(max_examples=100)
@given(_requests, cuts)
async def test_pipelined_requests_to_a_server(
    requests: list[Request], at: list[int]
) -> None:
    async with serving(tell) as server, connected(server) as client:
        for piece in cut(b"".join(request.raw for request in requests), at):
            await client.send(piece)
            await wait_all_tasks_blocked()
        for asked in requests:
            _, told = await client.response()
            wanted = b"%b %b %b" % (asked.method, asked.target, asked.body.content)
            assert told == wanted
        await client.stream.send_eof()
        assert await client.to_end() == b""


@settings(max_examples=100)
@given(_requests, cuts)
async def test_pipelined_requests_through_a_proxy(
    requests: list[Request], at: list[int]
) -> None:
    async with judging_upstream() as judge, proxying(judge.upstream) as proxy:
        async with connected(proxy) as client:
            for piece in cut(b"".join(request.raw for request in requests), at):
                await client.send(piece)
                await wait_all_tasks_blocked()
            for _ in requests:
                assert (await client.response())[1] == b"ok"
            await client.stream.send_eof()
            assert await client.to_end() == b""
    assert not judge.faults
    assert [(one.method, one.target, one.body) for one in judge.asked] == [
        (one.method, one.target, one.body.content) for one in requests
    ]


@settings(max_examples=100)
@given(bodies(), st.booleans(), cuts)
async def test_a_response_through_a_proxy(body: Body, old: bool, at: list[int]) -> None:
    field = body.field or b"Content-Length: 0\r\n"
    raw = b"HTTP/1.1 200 OK\r\nX-A: b\r\n%b\r\n%b" % (field, body.framed)

    async def script(asked: ReceivedRequest) -> None:
        for piece in cut(raw, at):
            await asked.stream.send_all(piece)
            await wait_all_tasks_blocked()

    async with fake_upstream(script) as fake, proxying(fake.upstream) as proxy:
        async with connected(proxy) as client:
            for _ in range(1 if old else 2):
                version = b"1.0" if old else b"1.1"
                await client.send(b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
                head = await client.head()
                assert b"\r\nX-A: b" in head
                if old:
                    assert await client.to_end() == body.content
                elif b"chunked" in head:
                    assert await chunks(client) == body.content
                else:
                    assert await client.exactly(len(body.content)) == body.content
        assert fake.connections == 1


async def chunks(client: RawClient) -> bytes:
    """Read a body in chunks without trailers."""
    content = b""
    while True:
        size = int(await client.until(b"\r\n"), 16)
        content += await client.exactly(size)
        assert await client.exactly(2) == b"\r\n"
        if not size:
            return content
