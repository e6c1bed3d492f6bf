"""The door for what a store sends: whatever it is, it is a value or an error of ours."""

from __future__ import annotations

import contextlib
import os
import ssl
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpcore
import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from http_trio import BadCertificate
from kv_trio import (
    Client,
    KvError,
    StoreRefused,
    StoreUnreachable,
    UnexpectedResponse,
)
from kv_trio.client.limits import ResponseLimits
from kv_trio.client.transport import REFUSAL_BYTES, Transport
from tests.kv_trio.support.odd_stores import (
    REQUESTS,
    SESSION,
    ask_all,
    client_over,
    response,
    sending,
)

INDEX = b"X-Consul-Index: 7"
ENTRY = (
    b'[{"LockIndex":0,"Key":"k","Flags":0,"Value":"MQ==","CreateIndex":5,'
    b'"ModifyIndex":7}]'
)


# === whatever comes ===

ODD = {
    "an index of 5,000 digits": response(ENTRY, b"X-Consul-Index: " + b"9" * 5000),
    "an index of 65 bits": response(ENTRY, b"X-Consul-Index: %d" % 2**64),
    "an index in superscript": response(ENTRY, b"X-Consul-Index: \xb2"),
    "an index twice": response(ENTRY, INDEX, INDEX),
    "a length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\n",
    "nested JSON": response(b"[" * 100_000, INDEX),
    "no key": response(ENTRY.replace(b'"k"', b"null"), INDEX),
    "another key": response(ENTRY.replace(b'"k"', b'"l"'), INDEX),
    "two keys": response(ENTRY[:-1] + b"," + ENTRY[1:], INDEX),
    "half a character": response(ENTRY.replace(b'"k"', b'"\\ud800"'), INDEX),
    "a number that no index is": response(ENTRY.replace(b":7", b":-7"), INDEX),
    "half a body": response(ENTRY, INDEX)[:-10],
    "half a document": response(ENTRY[:-10], INDEX),
    "a page": response(b"<html>login</html>", b"Content-Type: text/html", INDEX),
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "another protocol": response(b"", status=b"101 Switching", length=False),
    "no content": response(b"", INDEX, status=b"204 No Content"),
    "a status of three nines": response(b"x", INDEX, status=b"999 Odd"),
    "a body that is deflated": response(b"\1\2", b"Content-Encoding: deflate", INDEX),
    "an encoding that nobody knows": response(b"x", b"Content-Encoding: wat", INDEX),
}


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
async def test_what_no_store_sends_is_an_error(sent: bytes) -> None:
    async with client_over(sending(sent)) as client:
        with pytest.raises(KvError):
            await client.get("k")
    await ask_all(lambda: sending(sent))


@pytest.mark.parametrize(
    "header",
    [
        *(b"Set-Cookie: \xff=1", b"Set-Cookie: a=b; Domain=\xff; Expires=\xb2"),
        *(b"Set-Cookie: a=b; Max-Age=" + b"9" * 5000, b"Set-Cookie: ="),
        *(b"Content-Type: text/plain; charset=hex", b"Content-Type: x; charset=idna"),
        *(b"Content-Type: \xff; charset=base64", b"Location: http://[", b"Location: "),
        *(b"Location: http://kv..test/\xff", b"X-Consul-Knownleader: \xff"),
    ],
)
@pytest.mark.parametrize("status", [b"200 OK", b"302 Found", b"500 Odd"])
async def test_what_is_not_looked_at_does_no_harm(header: bytes, status: bytes) -> None:
    sent = response(ENTRY, INDEX, header, status=status)
    async with client_over(sending(sent)) as client:
        if status == b"200 OK":
            assert (await client.get("k")).index == 7
        else:
            with pytest.raises(StoreRefused, match=f"answered {status[:3].decode()}"):
                await client.get("k")


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(b"X-Consul-Index", b"Content-Type", b"Content-Encoding"),
                *(b"Set-Cookie", b"Location", b"Content-Length", b"X-Other"),
            ]
        ),
        st.sampled_from([b"7", b"gzip", b"identity", b"a; charset=rot13", b"\xb2"])
        | st.binary(max_size=20),
    ),
    max_size=6,
)
BODIES = st.binary(max_size=40) | st.sampled_from(
    [
        ENTRY,
        b"true",
        b"null",
        b"[]",
        b"{}",
        b'{"ID": 5}',
        b'["k"]',
        b"[[]]",
        b"[" * 9999,
    ]
)


@given(st.integers(100, 999), HEADERS, BODIES)
def test_any_response_is_a_value_or_an_error_of_ours(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """What is raised elsewhere fails the test; `ask_all` takes errors of ours only."""

    def send(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(body)
        return httpx.Response(status, headers=headers, stream=stream)

    trio.run(ask_all, lambda: httpx.MockTransport(send))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error_of_ours(head: bytes, body: bytes) -> None:
    sent = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, body)
    trio.run(ask_all, lambda: sending(sent))


class Raising(httpx.AsyncBaseTransport):
    """A library that trips over what it reads."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [UnicodeError("label empty"), ValueError("digits"), RecursionError(), OSError()],
)
async def test_whatever_a_library_raises_is_an_error_of_ours(error: Exception) -> None:
    async with client_over(Raising(error)) as client:
        with pytest.raises(StoreUnreachable, match=r"http://kv\.test: \w"):
            await client.get("k")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://kv..test",
            "http://[",
            "http://",
            "ftp://kv",
            "kv",
            "",
            "http://kv:x",
        ),
        *(
            "http://kv:99999",
            "http://kv/?a",
            "http://kv/#a",
            "http://\udc80",
            "http://\0",
        ),
        *("http://" + "a" * 300, "http://xn--\xdf", "http://kv test/"),
    ],
)
async def test_an_odd_url_is_an_error_of_ours(url: str) -> None:
    async with Client(url) as client:
        with pytest.raises(StoreUnreachable):
            await client.get("k")


async def test_the_reason_of_a_refusal_is_one_line() -> None:
    sent = response(b"no\x1b[2J\r\nleader" + b"x" * 9000, status=b"500 Odd")
    async with client_over(sending(sent)) as client:
        with pytest.raises(StoreRefused, match=r"500: no \[2J  leaderx") as caught:
            await client.get("k")
    assert len(str(caught.value)) < 600


async def test_a_value_is_not_told() -> None:
    sent = response(ENTRY[:-3], INDEX)
    async with client_over(sending(sent)) as client:
        with pytest.raises(UnexpectedResponse, match="no JSON") as caught:
            await client.get("k")
    assert "MQ==" not in str(caught.value)


# === what is sent ===


async def test_nothing_that_a_store_sets_is_sent_back() -> None:
    seen: list[httpx.Request] = []

    def send(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        headers = {
            "Set-Cookie": "a=b",
            "X-Consul-Index": "7",
            "Location": "http://other",
        }
        return httpx.Response(302 if len(seen) == 1 else 404, headers=headers)

    async with client_over(httpx.MockTransport(send)) as client:
        with pytest.raises(StoreRefused, match="moved to http://other"):
            await client.get("k")
        await client.get("k")
    assert [request.url.host for request in seen] == ["kv.test", "kv.test"]
    for request in seen:
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["x-consul-token"] == "secret"


async def test_a_token_that_no_header_can_have_is_not_told() -> None:
    async with Client("http://127.0.0.1:1", token="hush\n") as client:
        with pytest.raises(StoreUnreachable, match="the token has") as caught:
            await client.get("k")
    assert "hush" not in str(caught.value)


async def test_the_user_of_a_url_is_sent_and_not_told() -> None:
    seen: list[str] = []

    def send(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(500)

    url = "http://me:hush@kv.test"
    async with Transport(url, None, None, httpx.MockTransport(send)) as transport:
        with pytest.raises(StoreRefused):
            await transport.request("GET", "/", {}, limit=10)
        assert "hush" not in repr(transport)
    assert seen == ["Basic bWU6aHVzaA=="]


# === how much comes ===

LIMITS = ResponseLimits(document=10_000, listing=20_000)


def limited(http: httpx.AsyncBaseTransport) -> Client:
    client = client_over(http)
    client.limits = LIMITS
    return client


class Endless(httpcore.AsyncMockStream):
    """A connection on which chunks come without end, until it is closed."""

    def __init__(self, chunk: bytes) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\n" + INDEX + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        super().__init__([head])
        self.reads = 0
        self.closed = False
        self._chunk = chunk

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self.closed:
            raise httpcore.ReadError
        self.reads += 1
        return await super().read(max_bytes, timeout) or self._chunk

    async def aclose(self) -> None:
        self.closed = True


class EndlessBackend(httpcore.AsyncMockBackend):
    def __init__(self, chunk: bytes) -> None:
        super().__init__([])
        self.stream = Endless(chunk)

    async def connect_tcp(self, *_args: object, **_options: object) -> Endless:
        return self.stream


def endless(chunk: bytes) -> tuple[httpx.AsyncHTTPTransport, Endless]:
    http = sending()
    backend = EndlessBackend(chunk)
    pool = http._pool
    assert isinstance(pool, httpcore.AsyncConnectionPool)
    pool._network_backend = backend
    return http, backend.stream


@pytest.mark.parametrize("name", REQUESTS)
async def test_what_has_no_end_is_ended_with_its_connection(name: str) -> None:
    http, stream = endless(b"400\r\n" + b"x" * 1024 + b"\r\n")
    async with limited(http) as client:
        with pytest.raises(UnexpectedResponse, match=r"larger than [12]0000 bytes"):
            await REQUESTS[name](client)
        assert stream.closed
    assert stream.reads < 30


@pytest.mark.parametrize(
    ("size", "fits"), [(LIMITS.document, True), (LIMITS.document + 1, False)]
)
async def test_the_limit_is_of_the_bytes(*, size: int, fits: bool) -> None:
    body = ENTRY[:-1] + b" " * (size - len(ENTRY)) + b"]"
    async with limited(sending(response(body, INDEX))) as client:
        if fits:
            assert (await client.get("k")).index == 7
        else:
            with pytest.raises(UnexpectedResponse, match="larger than 10000 bytes"):
                await client.get("k")


async def test_of_an_endless_refusal_the_beginning_is_read() -> None:
    http, stream = endless(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    stream._buffer = [b"HTTP/1.1 500 Odd\r\nTransfer-Encoding: chunked\r\n\r\n"]
    async with client_over(http) as client:
        with pytest.raises(StoreRefused, match="500: xxx"):
            await client.get("k")
        assert stream.closed
    assert stream.reads < 5 + REFUSAL_BYTES / 65536


async def test_what_is_compressed_is_not_decoded() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    sent = response(bomb, INDEX, b"Content-Encoding: gzip")
    async with client_over(sending(sent)) as client:
        with pytest.raises(UnexpectedResponse, match="Content-Encoding is 'gzip'"):
            await client.get("k")


async def test_others_have_their_turn_between_small_chunks() -> None:
    chunks = 2000
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    sent = response(b"1\r\n \r\n" * chunks, b"Transfer-Encoding: chunked", length=False)
    async with client_over(sending(sent + b"0\r\n\r\n")) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            with pytest.raises(UnexpectedResponse):
                await client.get("k")
            nursery.cancel_scope.cancel()
    assert turns >= chunks - 1, "the first is one that there would be alone"


@asynccontextmanager
async def listening(*sent: bytes) -> AsyncIterator[Client]:
    """Give a client of a server that sends these, one for each request; then entries."""
    left = list(sent)

    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                await stream.send_all(left.pop(0) if left else response(ENTRY, INDEX))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}") as client:
            client.limits = LIMITS
            with trio.fail_after(20):
                yield client
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [10_001, 70_000, 50_000_000])
@pytest.mark.parametrize("status", [b"200 OK", b"500 Odd"])
async def test_a_client_goes_on_after_what_it_ended(size: int, status: bytes) -> None:
    """Also if the end of the response had come when its connection was ended."""
    sent = response(bytes(size), INDEX, status=status)
    async with listening(sent, sent) as client:
        for _ in range(2):
            with pytest.raises(KvError):
                await client.get("k")
        for _ in range(2):
            assert (await client.get("k")).index == 7


@pytest.mark.parametrize("size", [100, 50_000_000])
async def test_a_client_goes_on_after_what_is_no_backup(
    size: int, tmp_path: Path
) -> None:
    async with listening(response(bytes(size))) as client:
        with pytest.raises(UnexpectedResponse, match="consul snapshot save"):
            await client.back_up(tmp_path / "kv.sqlite")
        for _ in range(2):
            assert (await client.get("k")).index == 7


# === a backup, which has no limit ===


async def stream_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    "body", [b"", b"SQLite", b"\x1f\x8b\x08 a snapshot of a Consul", b"<html>", b"[]"]
)
async def test_what_is_no_database_is_no_backup(body: bytes, tmp_path: Path) -> None:
    async with client_over(sending(response(body))) as client:
        with pytest.raises(UnexpectedResponse, match="consul snapshot save"):
            await client.back_up(tmp_path / "kv.sqlite")
    assert not list(await trio.Path(tmp_path).iterdir())


async def test_a_backup_comes_in_parts_of_any_size(tmp_path: Path) -> None:
    body = b"SQLite format 3\0 and more"
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    sent = response(chunked, b"Transfer-Encoding: chunked", length=False)
    async with client_over(sending(sent)) as client:
        assert await client.back_up(tmp_path / "kv.sqlite") == len(body)
    assert await trio.Path(tmp_path / "kv.sqlite").read_bytes() == body


# === what a Consul cannot do, or says otherwise ===


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found"])
async def test_who_gives_another_time_is_not_believed(status: bytes) -> None:
    sent = response(ENTRY, INDEX, status=status)
    async with client_over(sending(sent)) as client:
        with pytest.raises(UnexpectedResponse, match="a Consul cannot read the past"):
            await client.get_at("k", 5)


async def test_what_is_now_is_no_history() -> None:
    async with client_over(sending(response(ENTRY, INDEX))) as client:
        with pytest.raises(UnexpectedResponse, match="a Consul has none"):
            await client.history("k")


@pytest.mark.parametrize(
    ("body", "index", "known"),
    [(b"false", 1, 0), (b"false", 7, 7), (b"true", 1, 1), (b"true", 7, 7)],
)
async def test_a_key_that_is_absent_has_no_index(
    body: bytes, index: int, known: int
) -> None:
    sent = response(body, b"X-Consul-Index: %d" % index)
    async with client_over(sending(sent)) as client:
        written = await client.put("k", b"v", cas=5)
    assert (written.done, written.index) == (body == b"true", known)


@pytest.mark.parametrize(
    "body", [b"[]", b"true", b'[{"ID": "other"}]', b"<html>", b"null"]
)
async def test_a_session_is_renewed_only_if_the_store_says_so(body: bytes) -> None:
    async with client_over(sending(response(body))) as client:
        with pytest.raises(UnexpectedResponse):
            await client.renew_session(SESSION)


# === whom it trusts ===


@pytest.mark.parametrize(
    "url", ["https://kv.test", "HTTPS://kv.test", "hTTpS://kv.test"]
)
def test_a_server_is_verified_however_its_scheme_is_written(url: str) -> None:
    http = Transport(url, None, None)._http
    assert isinstance(http, httpx.AsyncHTTPTransport)
    pool = http._pool
    assert isinstance(pool, httpcore.AsyncConnectionPool)
    context = pool._ssl_context
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "No such file"),
        (Path.mkdir, "no regular file"),
        (make_pipe, "no regular file"),
        (Path.touch, "expected certificates"),
    ],
    ids=["missing", "a folder", "a pipe", "empty"],
)
def test_authorities_that_cannot_be_read_are_refused_at_once(
    make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    make(path)
    with pytest.raises(BadCertificate, match=words):
        Client("https://kv.test", ca_file=path)


async def test_a_server_that_speaks_something_else_is_told_from_one_that_is_away() -> (
    None
):
    alert = b"\x15\x03\x01\x00\x02\x02\x46"  # of TLS
    async with client_over(sending(alert)) as client:
        with pytest.raises(UnexpectedResponse, match="illegal"):
            await client.get("k")
    async with client_over(sending(b"")) as client:
        with pytest.raises(StoreUnreachable):
            await client.get("k")
