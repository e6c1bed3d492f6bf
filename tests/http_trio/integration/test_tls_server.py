"""A listener with a certificate, as its clients see it: HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import contextlib
import shutil
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import pytest
import trio
import trio.lowlevel
from wsproto import ConnectionType
from wsproto.connection import Connection as Frames
from wsproto.events import CloseConnection, TextMessage

from http_trio import (
    BadCertificate,
    Exchange,
    ForwardHooks,
    Handler,
    HttpServer,
    Limits,
    Response,
    Tls,
    Upstream,
    forward,
    serve,
)
from http_trio.testing.peers import RawClient, ReceivedRequest, connected, fake_upstream
from tests.http_trio.asgi.test_app import (
    both_versions,
    converse,
    cut_chunked,
    echo_websocket,
)
from tests.http_trio.support.certificates import Authority, tls_client


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def secure(
    handler: Handler, authority: Authority, **more: Any
) -> AsyncIterator[HttpServer]:
    """Run a server with TLS on a free port."""
    tls = Tls(*authority.issue())
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, handler, ["127.0.0.1:0"], tls=tls, **more)
        )
        yield server
        nursery.cancel_scope.cancel()


def port_of(server: HttpServer) -> int:
    return int(server.addresses[0].rpartition(":")[2])


@asynccontextmanager
async def asking(
    server: HttpServer, authority: Authority, *, http2: bool
) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        http1=not http2,
        http2=http2,
        verify=authority.trusting(),
        base_url=server.url,
        trust_env=False,
    ) as client:
        with trio.fail_after(20):
            yield client


def whoami(exchange: Exchange) -> None:
    said = f"{exchange.client} {exchange.secure}".encode()
    exchange.respond(Response(200, said))


@asynccontextmanager
async def raw_upstream(script: Any) -> AsyncIterator[Handler]:
    """Forward to an upstream that a test plays byte by byte."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, script, 0, host="127.0.0.1")
        )
        address = listeners[0].socket.getsockname()
        upstream = Upstream("raw", [(trio.socket.AF_INET, address)], b"raw")
        yield lambda ex: forward(ex, upstream, ForwardHooks())
        nursery.cancel_scope.cancel()


# === what is served ===


@both_versions
async def test_the_handler_knows_its_client(authority: Authority, http2: bool) -> None:
    async with secure(whoami, authority) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with asking(server, authority, http2=http2) as client:
            for _ in range(3):
                response = await client.get("/")
                assert response.text == "127.0.0.1 True"
                assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


async def test_plain_and_secure_addresses_share_a_server(authority: Authority) -> None:
    async with trio.open_nursery() as nursery:
        start = partial(
            serve,
            whoami,
            ["127.0.0.1:0"],
            tls=Tls(*authority.issue()),
            tls_binds=["127.0.0.1:0"],
        )
        server = await nursery.start(start)
        assert server.url.startswith("http://")
        async with connected(server) as client:
            assert (await client.ask())[1] == b"127.0.0.1 False"
        port = int(server.addresses[1].rpartition(":")[2])
        async with tls_client(port, authority.trusting()) as client:
            assert (await client.ask())[1] == b"127.0.0.1 True"
        nursery.cancel_scope.cancel()


async def test_a_unix_socket_can_be_secure(authority: Authority) -> None:
    path = authority.directory / "s"
    async with trio.open_nursery() as nursery:
        start = partial(serve, whoami, [f"unix:{path}"], tls=Tls(*authority.issue()))
        await nursery.start(start)
        stream = trio.SSLStream(
            await trio.open_unix_socket(path),
            authority.trusting(),
            server_hostname="localhost",
        )
        client = RawClient(stream)  # type: ignore[arg-type]
        assert (await client.ask())[1] == b"unix True"
        await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


@both_versions
async def test_large_bodies_pass_both_ways(authority: Authority, http2: bool) -> None:
    body = bytes(range(256)) * 16_384  # 4 MiB

    async def script(asked: ReceivedRequest) -> None:
        await asked.response(asked.body)

    async with fake_upstream(script) as fake:
        async with secure(
            lambda ex: forward(ex, fake.upstream, ForwardHooks()), authority
        ) as server:
            async with asking(server, authority, http2=http2) as client:
                for _ in range(2):
                    response = await client.post("/", content=body)
                    assert response.content == body
    assert b"X-Forwarded-Proto: https\r\n" in fake.asked[0].head


async def test_requests_sent_ahead_are_answered_in_order(authority: Authority) -> None:
    """Some come with the handshake's end, some within one record, some behind a body."""

    async def script(asked: ReceivedRequest) -> None:
        await asked.response(asked.path + asked.body[:1])

    async with fake_upstream(script) as fake:
        async with secure(
            lambda ex: forward(ex, fake.upstream, ForwardHooks()), authority
        ) as server:
            async with tls_client(port_of(server), authority.trusting()) as client:
                big = b"x" * 200_000
                await client.send(
                    b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
                    b"POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
                    + big
                    + b"GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"
                )
                responses = [(await client.response())[1] for _ in range(4)]
    assert responses == [b"/1", b"/2", b"/3x", b"/4"]


async def test_a_websocket_passes_over_http1(authority: Authority) -> None:
    async with raw_upstream(echo_websocket) as handler:
        async with secure(handler, authority) as server:
            async with tls_client(port_of(server), authority.trusting()) as client:
                events, subprotocol = await converse(client)
    assert [e.data for e in events if isinstance(e, TextMessage)] == ["HELLO"]
    assert subprotocol == "chat"


async def test_a_websocket_passes_over_http2(authority: Authority) -> None:
    """RFC 8441: an extended CONNECT, and frames in the stream's data."""
    ended = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await echo_websocket(stream)
        ended.set()

    async with raw_upstream(script) as handler:
        async with secure(handler, authority) as server:
            context = authority.trusting("h2")
            async with tls_client(port_of(server), context) as client:
                two = Http2Peer(client)
                await two.open(
                    (":method", "CONNECT"),
                    (":protocol", "websocket"),
                    (":scheme", "https"),
                    (":path", "/"),
                    (":authority", "localhost"),
                    ("sec-websocket-version", "13"),
                )
                assert dict(await two.head())[b":status"] == b"200"
                frames = Frames(ConnectionType.CLIENT)
                await two.send(frames.send(TextMessage("hello")))
                said: list[TextMessage] = []
                while not said:
                    frames.receive_data(await two.data())
                    said = [e for e in frames.events() if isinstance(e, TextMessage)]
                assert said[0].data == "HELLO"
                await two.send(frames.send(CloseConnection(1000)))
                await ended.wait()


# === what is cut is seen to be cut ===


@both_versions
async def test_a_cut_response_is_cut(authority: Authority, http2: bool) -> None:
    async with raw_upstream(cut_chunked) as handler:
        async with secure(handler, authority) as server:
            async with asking(server, authority, http2=http2) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/")


async def test_a_response_until_close_ends_with_close_notify(
    authority: Authority,
) -> None:
    async with secure(
        lambda ex: ex.respond(Response(200, b"all")), authority
    ) as server:
        async with tls_client(port_of(server), authority.trusting()) as client:
            strict = client.stream
            strict._https_compatible = False  # type: ignore[attr-defined]
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.to_end()).endswith(b"all")


@both_versions
async def test_a_client_that_leaves_releases_its_exchange(
    authority: Authority, http2: bool
) -> None:
    parked, gone = trio.Event(), trio.Event()

    def handle(exchange: Exchange) -> None:
        exchange.park(60, lambda ex: None, lambda ex: gone.set())
        parked.set()

    async with secure(handle, authority) as server:
        async with asking(server, authority, http2=http2) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.get, "/")
                await parked.wait()
                nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            await gone.wait()
            while server.connections:  # noqa: ASYNC110
                await trio.sleep(0.01)


# === limits ===


async def test_a_handshake_has_a_limit(authority: Authority) -> None:
    limits = Limits(handshake_s=0.1)
    async with secure(whoami, authority, limits=limits) as server:
        async with connected(server) as client:
            assert await client.to_end() == b""


async def test_what_is_no_tls_ends_itself_only(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure(whoami, authority) as server:
        for data in (b"", b"\x16\x03\x01", *[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] * 2):
            async with connected(server) as client:
                await client.send(data)
                await client.stream.send_eof()
                await client.to_end()
        (told,) = [one for one in caplog.records if one.levelname == "WARNING"]
        assert " closed 127.0.0.1: TLS: " in told.getMessage()
        async with tls_client(port_of(server), authority.trusting()) as client:
            assert (await client.ask())[1] == b"127.0.0.1 True"


async def test_too_many_clients_are_turned_away(authority: Authority) -> None:
    limits, overload = Limits(connections=1), Response(503, b"full")
    async with secure(whoami, authority, limits=limits, overload=overload) as server:
        port, context = port_of(server), authority.trusting()
        async with tls_client(port, context) as first:
            await first.ask()
            async with tls_client(port, context) as second:
                head, body = await second.response()
                assert b" 503 " in head
                assert body == b"full"
        async with tls_client(port, context) as third:
            while (await third.ask())[1] != b"127.0.0.1 True":
                pass


async def test_old_tls_is_refused(authority: Authority) -> None:
    async with secure(whoami, authority) as server:
        old = authority.trusting()
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = ssl.TLSVersion.TLSv1_1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(trio.BrokenResourceError):
            async with tls_client(port_of(server), old):
                pass


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "GET"), (":path", "/\u00e9"), (":scheme", "https")],
        [(":method", "CONNECT")],
        [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/")],
    ],
)
async def test_what_hypercorn_trips_over_ends_one_client_only(
    authority: Authority, fields: list[tuple[str, str]]
) -> None:
    context = authority.trusting("h2")
    async with secure(whoami, authority) as server:
        async with tls_client(port_of(server), context) as client:
            two = Http2Peer(client, checked=False)
            await two.open(*fields, (":authority", "a"), ends=True)
            with trio.move_on_after(1):
                await client.to_end()
        async with asking(server, authority, http2=True) as other:
            assert (await other.get("/")).status_code == 200


async def test_a_response_may_come_before_the_upload_ends(authority: Authority) -> None:
    """And the client may go on with the upload, or leave it."""

    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(403, b"no"))

    async with secure(handle, authority) as server:
        async with tls_client(port_of(server), authority.trusting("h2")) as client:
            two = Http2Peer(client)
            await two.ask("/", ends=False)
            await two.next(h2.events.ResponseReceived)
            assert await two.data() == b"no"
            await two.send(b"x" * 1000)
            await two.send(b"x" * 1000, ends=True)
            await two.next(h2.events.StreamEnded)
            await two.ask("/", ends=False)
            await two.next(h2.events.StreamEnded)


# === the certificate ===


async def serial(port: int, authority: Authority) -> str:
    context = authority.trusting()
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.SSLStream(
        stream, context, server_hostname="localhost", https_compatible=True
    ) as secured:
        await secured.do_handshake()
        return str(secured.getpeercert()["serialNumber"])


async def test_a_changed_certificate_is_taken_up(authority: Authority) -> None:
    async with secure(whoami, authority) as server:
        port = port_of(server)
        async with tls_client(port, authority.trusting()) as kept:
            await kept.ask()
            first = await serial(port, authority)
            assert await serial(port, authority) == first
            cert, _ = authority.issue()
            second = await serial(port, authority)
            assert second != first
            cert.write_bytes(b"broken")
            assert await serial(port, authority) == second
            assert (await kept.ask())[1] == b"127.0.0.1 True"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_openssl_sees_the_change(authority: Authority) -> None:
    async def shown(port: int) -> bytes:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"]
        command += ["-CAfile", str(authority.ca_file), "-verify_return_error"]
        done = await trio.run_process(
            [*command, "-servername", "localhost"], stdin=b"Q\n", capture_stdout=True
        )
        return done.stdout

    async with secure(whoami, authority) as server:
        before = await shown(port_of(server))
        authority.issue("example.org", "localhost")
        after = await shown(port_of(server))
    assert b"Verify return code: 0 (ok)" in before
    assert b"example.org" not in before
    pem = authority.directory / "server.pem"
    assert pem.read_bytes().split(b"-----")[2].strip() in after


async def test_nothing_listens_with_a_bad_certificate(authority: Authority) -> None:
    cert, key = authority.issue()
    key.unlink()
    with pytest.raises(BadCertificate, match="No such file"):
        await serve(whoami, ["127.0.0.1:0"], tls=Tls(cert, key))


# === draining ===


class Slow:
    """A handler that parks one path and answers the other when it is released."""

    def __init__(self) -> None:
        self.release = trio.Event()
        self._asked = 0

    async def serve(
        self, authority: Authority, *, task_status: trio.TaskStatus[HttpServer]
    ) -> None:
        tls = Tls(*authority.issue())
        await serve(self._handle, ["127.0.0.1:0"], tls=tls, task_status=task_status)

    async def wait_asked(self, times: int) -> None:
        while self._asked < times:  # noqa: ASYNC110
            await trio.sleep(0.005)

    def _handle(self, exchange: Exchange) -> None:
        self._asked += 1
        if exchange.path == b"/parked":
            exchange.park(60, lambda ex: ex.respond(Response(200, b"drained")))
        else:
            exchange.spawn(self._later)

    async def _later(self, exchange: Exchange) -> None:
        await self.release.wait()
        exchange.respond(Response(200, b"in time"))


async def refuses(port: int) -> None:
    """Wait until nobody listens there."""
    with contextlib.suppress(OSError):
        while True:
            await trio.aclose_forcefully(await trio.open_tcp_stream("127.0.0.1", port))


async def test_draining_answers_what_has_begun(authority: Authority) -> None:
    slow = Slow()
    with trio.fail_after(30):
        async with trio.open_nursery() as serving:
            server = await serving.start(partial(slow.serve, authority))
            port, context = port_of(server), authority.trusting()
            async with (
                tls_client(port, context) as one,
                tls_client(port, context) as other,
            ):
                await one.send(b"GET /parked HTTP/1.1\r\nHost: a\r\n\r\n")
                await other.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
                await slow.wait_asked(2)
                server.drain(5)
                assert (await one.response())[1] == b"drained"
                await refuses(port)
                slow.release.set()
                assert (await other.response())[1] == b"in time"


async def test_draining_asks_http2_clients_for_no_more(authority: Authority) -> None:
    slow = Slow()
    with trio.fail_after(30):
        async with trio.open_nursery() as serving:
            server = await serving.start(partial(slow.serve, authority))
            context = authority.trusting("h2")
            async with tls_client(port_of(server), context) as client:
                two = Http2Peer(client)
                for path in ("/parked", "/later"):
                    await two.ask(path)
                await slow.wait_asked(2)
                server.drain(5)
                goaway = await two.next(h2.events.ConnectionTerminated)
                assert (goaway.error_code, goaway.last_stream_id) == (0, 2**31 - 1)
                assert (await two.next(h2.events.DataReceived)).data == b"drained"
                await two.next(h2.events.StreamEnded)
                await trio.sleep(0.3)  # longer than an idle client is given
                slow.release.set()
                assert (await two.next(h2.events.DataReceived)).data == b"in time"
                await two.next(h2.events.StreamEnded)
                goaway = await two.next(h2.events.ConnectionTerminated)
                assert (goaway.error_code, goaway.last_stream_id) == (0, 3)
                assert await client.to_end() == b""


@both_versions
async def test_a_drain_has_a_deadline(authority: Authority, http2: bool) -> None:
    asked = trio.Event()

    def keep(exchange: Exchange) -> None:
        exchange.hold()
        asked.set()

    tls = Tls(*authority.issue())
    with trio.fail_after(30):
        async with trio.open_nursery() as serving:
            start = partial(serve, keep, ["127.0.0.1:0"], tls=tls)
            server = await serving.start(start)
            async with asking(server, authority, http2=http2) as client:
                async with trio.open_nursery() as nursery:

                    async def ask() -> None:
                        with pytest.raises(httpx.TransportError):
                            await client.get("/")

                    nursery.start_soon(ask)
                    await asked.wait()
                    server.drain(0.1)


@both_versions
async def test_an_idle_client_holds_no_drain_up(
    authority: Authority, http2: bool
) -> None:
    tls = Tls(*authority.issue())
    with trio.fail_after(30):
        async with trio.open_nursery() as serving:
            server = await serving.start(
                partial(serve, whoami, ["127.0.0.1:0"], tls=tls)
            )
            async with asking(server, authority, http2=http2) as client:
                await client.get("/")
                server.drain(60)


# === peers ===


class Http2Peer:
    """An HTTP/2 client, frame by frame."""

    def __init__(self, client: RawClient, *, checked: bool = True) -> None:
        self._client = client
        config = h2.config.H2Configuration(
            header_encoding=None,
            validate_outbound_headers=checked,
            normalize_outbound_headers=checked,
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._h2.state_machine.process_input = self._forgive(  # type: ignore[method-assign]
            self._h2.state_machine.process_input
        )
        self._events: list[Any] = []

    @staticmethod
    def _forgive(process: Any) -> Any:
        """The h2 package closes its connection at any GOAWAY; RFC 9113 lets it go on."""

        def forgiving(event: Any) -> Any:
            if event is h2.connection.ConnectionInputs.RECV_GOAWAY:
                return []
            return process(event)

        return forgiving

    async def open(self, *fields: tuple[str, str], ends: bool = False) -> None:
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, list(fields), end_stream=ends)
        await self._client.send(self._h2.data_to_send())

    async def ask(self, path: str, *, ends: bool = True) -> None:
        await self.open(
            (":method", "GET"),
            (":path", path),
            (":scheme", "https"),
            (":authority", "a"),
            ends=ends,
        )

    async def send(self, data: bytes, *, ends: bool = False) -> None:
        self._h2.send_data(1, data, end_stream=ends)
        await self._client.send(self._h2.data_to_send())

    async def head(self) -> list[tuple[bytes, bytes]]:
        event = await self.next(h2.events.ResponseReceived)
        headers: list[tuple[bytes, bytes]] = event.headers
        return headers

    async def data(self) -> bytes:
        event = await self.next(h2.events.DataReceived)
        data: bytes = event.data
        return data

    async def next(self, kind: type[Any]) -> Any:
        """Wait for an event of a kind; forget those before it."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, kind):
                    return event
            data = await self._client.stream.receive_some()
            assert data, "the server closed"
            self._events += self._h2.receive_data(data)


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_a_name_that_is_none_is_nobody_s_fault(
    authority: Authority, in_pieces: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that is not ASCII would be a traceback for each who asks, if OpenSSL told it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    asked = authority.trusting().wrap_bio(incoming, outgoing, server_hostname="aa.org")
    with contextlib.suppress(ssl.SSLWantReadError):
        asked.do_handshake()
    hello = outgoing.read().replace(b"aa.org", b"a\xff.org")
    async with secure(lambda exchange: None, authority) as server:
        async with await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream:
            for at in range(0, len(hello), 40 if in_pieces else len(hello)):
                await stream.send_all(hello[at : at + (40 if in_pieces else 4096)])
                await trio.lowlevel.checkpoint()
            with trio.fail_after(30):
                said = await stream.receive_some(5)
    assert said[:1] == b"\x16", "a handshake, and no alert"
    assert capfd.readouterr().err == ""
