"""RFC 9113 section 8 and RFC 8441, row by row: what a request and a response may be.

What HTTP/1.1 would read otherwise is never seen by a server; what is passed on reads the
same on both sides. The server of these tests answers with what it got.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import attrs
import pytest
import trio

from http_trio import Limits
from http_trio.testing.peers import RawClient, ReceivedRequest
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    ClientStream,
    Fields,
    Http2Client,
    frame,
    get,
    http2_client,
    literal,
    watched_http2,
)

METHOD, SCHEME, PATH, AUTHORITY = get()
PROTOCOL_ERROR = 1


def having(*more: tuple[Any, Any], method: str = "GET", path: str = "/") -> Fields:
    return get(path, *more, method=method)


MALFORMED: dict[str, Fields] = {
    "no method": [SCHEME, PATH, AUTHORITY],
    "no scheme": [METHOD, PATH, AUTHORITY],
    "no path": [METHOD, SCHEME, AUTHORITY],
    "no authority and no host": [METHOD, SCHEME, PATH],
    "an empty path": having(path=""),
    "a path that names a host": having(path="http://b.test/"),
    "a path with a space": having(path="/a b"),
    "a path of * for GET": having(path="*"),
    "userinfo": [METHOD, SCHEME, PATH, (":authority", "u@a.test")],
    "a path that is a word": having(path="index"),
    "such a path of another scheme": [
        *(METHOD, (":scheme", "foo"), (":path", "https://b.test/"), AUTHORITY)
    ],
    "such a path of OPTIONS": having(path="b.test:443", method="OPTIONS"),
    "a method twice": [METHOD, METHOD, SCHEME, PATH, AUTHORITY],
    "a path twice": [METHOD, SCHEME, PATH, PATH, AUTHORITY],
    "an authority twice": [METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY],
    "an unknown pseudo-header field": [METHOD, SCHEME, PATH, AUTHORITY, (":a", "b")],
    "a status": [METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")],
    "a pseudo-header field behind another": [
        *(METHOD, SCHEME, PATH, ("a", "b"), AUTHORITY)
    ],
    "a protocol without CONNECT": [
        *(METHOD, SCHEME, PATH, AUTHORITY, (":protocol", "websocket"))
    ],
    "a host that differs": having(("host", "b.test")),
    "two hosts": [METHOD, SCHEME, PATH, ("host", "a.test"), ("host", "a.test")],
    "an upper-case name": having(("Accept", "x")),
    "a name of a space": having(("a b", "x")),
    "a name with a colon": having(("a:b", "x")),
    "an empty name": having(("", "x")),
    "a name beyond ASCII": having(("\xe9", "x")),
    "a name with a line end": having(("a\r\nb", "x")),
    "a method with a space": having(method="GET /x HTTP/1.1"),
    "a method with a line end": having(method="GET\r\n"),
    "a path with a line end": having(path="/ HTTP/1.1\r\nx: y"),
    "a CR in a value": having(("a", "b\rc")),
    "an LF in a value": having(("a", "b\nc")),
    "a CRLF in a value": having(("a", "b\r\nc: d")),
    "a NUL in a value": having(("a", "b\0c")),
    "a space before a value": having(("a", " b")),
    "a tab behind a value": having(("a", "b\t")),
    "connection": having(("connection", "close")),
    "keep-alive": having(("keep-alive", "timeout=5")),
    "proxy-connection": having(("proxy-connection", "x")),
    "transfer-encoding": having(("transfer-encoding", "chunked"), method="POST"),
    "upgrade": having(("upgrade", "h2c")),
    "te of gzip": having(("te", "gzip")),
    "te of trailers and more": having(("te", "trailers, gzip")),
    "a length that is none": having(("content-length", "a"), method="POST"),
    "a negative length": having(("content-length", "-1"), method="POST"),
    "a length with a sign": having(("content-length", "+0"), method="POST"),
    "two lengths": having(
        ("content-length", "0"), ("content-length", "0"), method="POST"
    ),
    "lengths in a list": having(("content-length", "0, 0"), method="POST"),
    "a length beyond all": having(("content-length", "9" * 25), method="POST"),
    "a length without a body": having(("content-length", "5"), method="POST"),
    "a length of a WebSocket": [
        *((":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY),
        ("content-length", "5"),
    ],
    "a CONNECT with a path": [(":method", "CONNECT"), SCHEME, PATH, AUTHORITY],
}

REFUSED: dict[str, tuple[int, Fields]] = {
    "CONNECT": (501, [(":method", "CONNECT"), (":authority", "a.test:443")]),
    "another protocol": (
        501,
        [(":method", "CONNECT"), (":protocol", "connect-udp"), SCHEME, PATH, AUTHORITY],
    ),
    "a path with a fragment": (400, having(path="/a#b")),
    "a port that is none": (400, [METHOD, SCHEME, PATH, (":authority", "a.test:x")]),
    "a path of 9 KiB": (414, having(path="/" + "p" * 9000)),
    "a head of 40 KiB": (431, having(*[(f"a{n}", "v" * 4000) for n in range(10)])),
    "150 fields": (431, having(*[(f"a{n}", "v") for n in range(150)])),
    "an expectation": (417, having(("expect", "200-ok"))),
}


@attrs.frozen
class Seen:
    """What a server got, as lines."""

    lines: list[bytes]
    body: bytes

    @classmethod
    def of(cls, stream: ClientStream) -> Seen:
        head, _, body = bytes(stream.body).partition(b"\r\n\r\n")
        return cls(head.split(b"\r\n"), body)

    def values(self, name: bytes) -> list[bytes]:
        start = name.lower() + b":"
        found = [line for line in self.lines if line.lower().startswith(start)]
        return [line[len(start) :].strip() for line in found]


async def tell_what_came(asked: ReceivedRequest) -> None:
    await asked.response(asked.head + b"\r\n\r\n" + asked.body)


async def ask(client: Http2Client, fields: Fields, *, ends: bool = True) -> int:
    await client.send(client.head(fields, ends=ends, raw=True))
    return client.last


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_malformed_is_a_stream_error(
    authority: Authority, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            stream = await client.wait_over(await ask(client, MALFORMED[name]))
            assert (stream.reset, stream.status) == (PROTOCOL_ERROR, 0)
            assert (await client.fetch()).status == 200
    assert len(one.fake.asked) == 1


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_served_gets_a_status(
    authority: Authority, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    status, fields = REFUSED[name]
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            fields = [(":method", "HEAD") if f == METHOD else f for f in fields]
            stream = await client.wait_over(await ask(client, REFUSED[name][1]))
            assert (stream.status, stream.reset) == (status, None)
            stream = await client.wait_over(await ask(client, fields))
            assert (stream.status, stream.reset) == (status, None)
            if METHOD in REFUSED[name][1]:
                assert not stream.body  # that of HEAD has none
            assert (await client.fetch()).status == 200
        assert one.proxy.refused[status] == 2
    assert len(one.fake.asked) == 1


@pytest.mark.parametrize("field", [("a", "1"), ("A", "1"), ("x-y", "\xe9 \t~")])
async def test_head_and_value_pass_as_they_are(
    authority: Authority, caplog: pytest.LogCaptureFixture, field: tuple[str, str]
) -> None:
    name, value = field
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            sent = having((name.lower(), value), path="/a/%2e%2e?q=%00&x")
            seen = Seen.of(await client.wait_over(await ask(client, sent)))
    assert seen.lines[0] == b"GET /a/%2e%2e?q=%00&x HTTP/1.1"
    assert seen.values(name.encode()) == [value.encode("latin-1")]
    assert seen.values(b"host") == [b"a.test"]
    assert seen.values(b"transfer-encoding") == []
    assert seen.values(b"connection") == []


async def test_cookies_become_one(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """A browser sends each as a field of its own: more than HTTP/1.1 would have fields."""
    cookies = [("cookie", f"c{n}=v{n}") for n in range(150)]
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            seen = Seen.of(await client.wait_over(await ask(client, having(*cookies))))
    expected = "; ".join(value for _, value in cookies).encode()
    assert seen.values(b"cookie") == [expected]


async def test_host_stands_for_the_authority(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            for hosts in ([("host", "b.test")], [(":authority", "b.test")]):
                sent = [METHOD, SCHEME, PATH, *hosts]
                seen = Seen.of(await client.wait_over(await ask(client, sent)))
                assert seen.values(b"host") == [b"b.test"]
            both = [METHOD, SCHEME, PATH, AUTHORITY, ("host", "a.test")]
            seen = Seen.of(await client.wait_over(await ask(client, both)))
            assert seen.values(b"host") == [b"a.test"]


async def test_options_of_all(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            sent = having(path="*", method="OPTIONS")
            seen = Seen.of(await client.wait_over(await ask(client, sent)))
    assert seen.lines[0] == b"OPTIONS * HTTP/1.1"


# === bodies and their lengths ===


@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
@pytest.mark.parametrize("size", [5, 200_000])
async def test_a_body_of_another_length_is_a_stream_error(
    authority: Authority, caplog: pytest.LogCaptureFixture, sent: bytes, size: int
) -> None:
    if len(sent) > size:
        return
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            fields = having(("content-length", str(size)), method="PUT")
            number = await ask(client, fields, ends=False)
            await client.data(number, sent, ends=True)
            stream = await client.wait_over(number)
            assert (stream.status, stream.reset) == (0, PROTOCOL_ERROR)
            assert (await client.fetch()).status == 200
    assert len(one.fake.asked) == 1


async def test_more_body_than_its_length_is_a_stream_error(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched_http2(tell_what_came, authority, caplog) as one:
        async with http2_client(one.proxy, authority) as client:
            fields = having(("content-length", "5"), method="PUT")
            number = await ask(client, fields, ends=False)
            await client.data(number, b"abcdef")
            assert (await client.wait_over(number)).reset == PROTOCOL_ERROR
    assert not one.fake.asked


@pytest.mark.parametrize("length", [[], [("content-length", "3")]])
async def test_a_body_arrives(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    length: list[tuple[str, str]],
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        client = RawClient(stream)
        head = await client.head()
        if length:
            body = await client.exactly(3)
        else:
            assert b"Transfer-Encoding: chunked" in head
            body = await client.until(b"0\r\n\r\n")
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            number = await ask(client, having(*length, method="PUT"), ends=False)
            await client.data(number, b"ab")
            await client.data(number, b"")
            await client.data(number, b"c")
            await client.data(number, b"", ends=True)
            body = bytes((await client.wait_over(number)).body)
    assert (
        b"".join(body.split(b"\r\n")[1::2]) == b"abc" if not length else body == b"abc"
    )


TRAILERS = {
    "good": ([("x-sum", "1"), ("grpc-status", "0")], True),
    "a pseudo-header field": ([(":path", "/")], False),
    "an upper-case name": ([("X-Sum", "1")], False),
    "a line end": ([("x-sum", "1\r\nevil: 1")], False),
    "a field of the connection": ([("connection", "x")], False),
}


@pytest.mark.parametrize("name", TRAILERS)
async def test_request_trailers(
    authority: Authority, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    fields, good = TRAILERS[name]

    async def script(stream: trio.SocketStream) -> None:
        client = RawClient(stream)
        with pytest.raises(AssertionError) if not good else contextlib.nullcontext():
            await client.until(b"0\r\n")
        found = await client.until(b"\r\n\r\n") if good else b""
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(found) + found
        )

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            announced = ("trailer", ", ".join(name.lower() for name, _ in fields))
            sent = having(*([announced] if good else []), method="PUT")
            number = await ask(client, sent, ends=False)
            await client.data(number, b"abc")
            flags = END_HEADERS | END_STREAM
            await client.send(frame(HEADERS, flags, number, literal(fields)))
            stream = await client.wait_over(number)
            if good:
                assert stream.status == 200
                assert b"x-sum: 1" in stream.body.lower()
            else:
                assert stream.reset == PROTOCOL_ERROR


async def test_trailers_must_end_the_stream(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await RawClient(stream).to_end()

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            number = await ask(client, having(method="PUT"), ends=False)
            await client.data(number, b"abc")
            block = literal([("x-sum", "1")])
            await client.send(frame(HEADERS, END_HEADERS, number, block))
            assert (await client.wait_over(number)).reset == PROTOCOL_ERROR


# === responses ===

RESPONSES = {
    "of a length": (b"200 OK", b"Content-Length: 3", b"abc", b"abc"),
    "until the end": (b"200 OK", b"X: y", b"abc", b"abc"),
    "in chunks": (
        b"200 OK",
        b"Transfer-Encoding: chunked",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"abc",
    ),
    "of no body": (b"200 OK", b"Content-Length: 0", b"", b""),
    "of no chunk": (b"200 OK", b"Transfer-Encoding: chunked", b"0\r\n\r\n", b""),
    "204": (b"204 No Content", b"X: y", b"", b""),
    "204 with a length": (b"204 No Content", b"Content-Length: 0", b"", b""),
    "205": (b"205 Reset Content", b"Content-Length: 0", b"", b""),
    "304 with a length": (b"304 Not Modified", b"Content-Length: 300", b"", b""),
    "fields of the connection": (
        b"200 OK",
        (
            b"Connection: close, x-mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\n"
            b"Proxy-Connection: x\r\nUpgrade: h2c\r\nTE: gzip\r\nContent-Length: 3"
        ),
        b"abc",
        b"abc",
    ),
    "upper-case and odd values": (
        b"299 Odd",
        (
            b"X-UPPER:  a\xff\tb \r\nX-Empty:\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
            b"Content-Length: 3"
        ),
        b"abc",
        b"abc",
    ),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", RESPONSES)
async def test_responses(
    authority: Authority, caplog: pytest.LogCaptureFixture, name: str, method: str
) -> None:
    line, fields, sent, expected = RESPONSES[name]

    async def script(stream: trio.SocketStream) -> None:
        await RawClient(stream).head()
        body = b"" if method == "HEAD" else sent
        await stream.send_all(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (line, fields, body))
        await trio.aclose_forcefully(stream)

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            stream = await client.fetch(method=method)
            assert stream.ended
            assert stream.status == int(line[:3])
            assert bytes(stream.body) == (b"" if method == "HEAD" else expected)
            length = stream.heads[0].get(b"content-length")
            if name == "304 with a length":
                assert length == b"300"
            elif line[:3] == b"204":
                assert length is None
            if name == "fields of the connection":
                assert not {b"x-mine", b"te", b"keep-alive"} & {*stream.heads[0]}
            if name == "upper-case and odd values":
                assert stream.heads[0][b"x-upper"] == b"a\xff\tb"
                assert stream.heads[0][b"x-empty"] == b""
                assert stream.heads[0][b"set-cookie"] == b"b=2"  # the last of them


@pytest.mark.parametrize("wants", [True, False])
async def test_response_trailers(
    authority: Authority, caplog: pytest.LogCaptureFixture, *, wants: bool
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await RawClient(stream).head()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        await trio.sleep(0.01)
        await stream.send_all(b"0\r\nX-Sum: 9\r\nGrpc-Status: 0\r\n\r\n")
        await stream.receive_some()

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            more = [("te", "trailers")] if wants else []
            stream = await client.fetch_of(*more)
            assert stream.body == b"abc"
            expected = {b"x-sum": b"9", b"grpc-status": b"0"} if wants else None
            assert stream.trailers == expected


async def test_interim_responses_pass(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await RawClient(stream).head()
        await stream.send_all(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        )
        await trio.sleep(0.01)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        await stream.receive_some()

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            stream = await client.fetch()
            statuses = [head[b":status"] for head in stream.heads]
            assert statuses == [b"103", b"102", b"200"]
            assert stream.heads[0][b"link"] == b"</a>"
            assert stream.body == b"abc"


async def test_a_client_that_expects_100_gets_it(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(stream: trio.SocketStream) -> None:
        client = RawClient(stream)
        assert b"Expect: 100-continue" in await client.head()
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await client.exactly(3)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + body)

    async with watched_http2(tell_what_came, authority, caplog) as one:
        one.fake.raw = script
        async with http2_client(one.proxy, authority) as client:
            fields = having(
                ("expect", "100-continue"), ("content-length", "3"), method="PUT"
            )
            number = await ask(client, fields, ends=False)
            stream = client.streams[number]
            await client.wait(lambda: stream.heads)
            assert stream.heads[0][b":status"] == b"100"
            await client.data(number, b"abc", ends=True)
            assert (await client.wait_over(number)).body == b"abc"


async def test_a_head_may_come_in_pieces(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames, padding, CONTINUATION and TLS records wherever they fall."""
    limits = Limits(head_s=5)
    async with watched_http2(tell_what_came, authority, caplog, limits) as one:
        async with http2_client(one.proxy, authority) as client:
            block = literal(having(("a", "b" * 50)))
            client.head(get())
            data = frame(HEADERS, END_STREAM, 1, block[:20])
            data += frame(9, 0, 1, block[20:21]) + frame(9, END_HEADERS, 1, block[21:])
            for at in range(0, len(data), 7):
                await client.send(data[at : at + 7])
            assert (await client.wait_over(1)).status == 200
            client.head(get())
            padded = bytes([9]) + struct.pack("!IB", 0, 9) + block + bytes(9)
            flags = END_STREAM | END_HEADERS | 8 | 32
            await client.send(frame(HEADERS, flags, 3, padded))
            assert (await client.wait_over(3)).status == 200
