"""Trailers of a request go on, but for fields that may not stand there (RFC 9110 6.5)."""

from __future__ import annotations

import pytest
import trio

from http_trio.testing.peers import RawClient, connected, fake_upstream, proxying

HEAD = (
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    b"Trailer: X-Sum, Content-Length\r\nTrailer: x-more,,Host\r\n\r\n"
)
BODY = b"3\r\nabc\r\n"
END = b"0\r\nX-Sum: 9\r\nContent-Length: 5\r\nHost: evil\r\nX-More: a:b\r\n\r\n"


class Recording:
    """An upstream that keeps what it reads, up to the end of a chunked body."""

    def __init__(self) -> None:
        self.head = self.body = b""

    async def __call__(self, stream: trio.SocketStream) -> None:
        client = RawClient(stream)
        self.head = await client.head()
        self.body = await client.until(b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await client.to_end()


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD + BODY + END,),
        (HEAD, BODY, END),
        (HEAD, BODY + END),
        (HEAD + BODY + END[:9], END[9:]),
        (HEAD + BODY, END[:2], END[2:]),
    ],
    ids=["whole", "three", "body later", "inside", "by the line"],
)
async def test_trailers_go_on_however_they_come(pieces: tuple[bytes, ...]) -> None:
    seen = Recording()
    async with fake_upstream(lambda asked: asked.response(b"ok")) as fake:
        fake.raw = seen
        async with proxying(fake.upstream) as proxy, connected(proxy) as client:
            for piece in pieces:
                await client.send(piece)
                await trio.sleep(0.02)
            assert (await client.response())[1] == b"ok"
    assert seen.body == BODY + b"0\r\nX-Sum: 9\r\nX-More: a:b"
    assert b"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, x-more\r\n" in seen.head


@pytest.mark.parametrize(
    "end", [b"0\r\n\r\n", b"0\r\nHost: evil\r\nVia: 1.1 a\r\n\r\n"]
)
async def test_a_body_without_trailers_that_go_on_gets_a_length(end: bytes) -> None:
    async with fake_upstream(lambda asked: asked.response(b"ok")) as fake:
        async with proxying(fake.upstream) as proxy, connected(proxy) as client:
            await client.send(HEAD + BODY + end)
            assert (await client.response())[1] == b"ok"
    (asked,) = fake.asked
    assert asked.body == b"abc"
    assert b"\r\nContent-Length: 3\r\n" in asked.head
    assert b"trailer" not in asked.head.lower()
