"""Servers that speak HTTP/2, behind the proxy, with `h2` as the server."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h2.errors
import h2.settings
import pytest
import trio

from http_trio import (
    Exchange,
    FailureReason,
    Http2Upstream,
    HttpServer,
    Limits,
    Response,
    as_asgi,
    client_context,
    fetch,
)
from http_trio.http2.upstream import connection as multiplexed
from http_trio.http2.upstream import stream_table
from http_trio.testing.peers import (
    RecordingHooks,
    connected,
    proxying,
)
from tests.http_trio.support.certificates import Authority, hypercorn_serving
from tests.http_trio.support.h2_server import H2Request, H2Server, h2_server

STREAMS = int(h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS)
WINDOW = int(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE)
WEBSOCKETS = int(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
TE = b"TE: trailers", b"Connection: TE"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def says_its_path(request: H2Request) -> None:
    await request.whole()
    path = request.get(b":path") or b""
    length = b"%d" % len(path)
    await request.answer(path, [(b":status", b"200"), (b"content-length", length)])


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


def has_asked(server: H2Server, path: bytes) -> bool:
    return any(request.get(b":path") == path for request in server.asked)


async def ask_at_once(
    server: HttpServer, count: int, method: bytes = b"GET"
) -> list[bytes]:
    """Ask over so many connections at the same time; give the status lines, sorted."""
    lines: list[bytes] = []

    async def ask(number: int) -> None:
        async with connected(server) as client:
            head, body = await client.ask(b"/%d" % number, method=method)
            lines.append(head.split(b"\r\n")[0])
            if b" 200 " in head:
                assert body == b"/%d" % number

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(ask, number)
    return sorted(lines)


# === many requests, few connections ===


async def test_requests_share_a_connection() -> None:
    async with h2_server(says_its_path) as server, proxying(server.upstream()) as proxy:
        for _ in range(3):
            assert await ask_at_once(proxy, 20) == [b"HTTP/1.1 200 OK"] * 20
    assert not server.faults
    assert len(server.talks) <= 2  # a burst beyond 100 would take more


@pytest.mark.parametrize("streams", [1, 2, 7])
async def test_no_more_streams_than_the_server_allows(streams: int) -> None:
    """Also before its settings have come; `h2` ends the connection of who does."""

    async def slowly(request: H2Request) -> None:
        await trio.sleep(0.01)
        await says_its_path(request)

    allowed = {STREAMS: streams}
    async with h2_server(slowly, settings=allowed) as server:
        async with proxying(server.upstream()) as proxy:
            for _ in range(2):
                assert await ask_at_once(proxy, 30) == [b"HTTP/1.1 200 OK"] * 30
    assert not server.faults
    assert max(talk.most_at_once for talk in server.talks) <= streams


async def test_beyond_the_limit_of_connections_a_request_fails() -> None:
    async def never(request: H2Request) -> None:
        await request.wait(lambda request: request.reset is not None)

    limits = Limits(upstream_connections=2)
    async with h2_server(never, settings={STREAMS: 1}) as server:
        async with proxying(server.upstream(), limits=limits) as proxy:
            async with connected(proxy) as one, connected(proxy) as two:
                await one.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await until(lambda: len(server.asked) == 1)
                await two.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await until(lambda: len(server.asked) == 2)
                lines = await ask_at_once(proxy, 2)
    assert lines == [b"HTTP/1.1 503 Service Unavailable"] * 2


async def test_a_server_that_allows_none_is_full() -> None:
    hooks = RecordingHooks()
    async with h2_server(says_its_path, settings={STREAMS: 0}) as server:
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as client:
                await client.send(
                    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                assert b" 503 " in await client.head()
    assert [one.condition for one in hooks.failures] == [FailureReason.FULL]
    assert len(server.talks) == 1


# === what is not looked at goes out again ===


async def test_a_goaway_repeats_what_was_not_looked_at() -> None:
    """POST too: the server says that it has not seen it (RFC 9113 section 6.8)."""

    async def script(request: H2Request) -> None:
        if request.talk is server.talks[0]:
            await until(lambda: len(server.asked) == 3)
            if request is server.asked[0]:
                await request.talk.goaway(1)
            return
        await says_its_path(request)

    async with h2_server(script) as server:
        hooks = RecordingHooks()
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as kept:
                await kept.send(b"GET /kept HTTP/1.1\r\nHost: a\r\n\r\n")
                await until(lambda: len(server.asked) == 1)
                lines = await ask_at_once(proxy, 2, b"POST")
                assert lines == [b"HTTP/1.1 200 OK"] * 2
                first = server.asked[0]
                await first.head([(b":status", b"200"), (b"content-length", b"2")])
                await first.data(b"ok", ended=True)
                assert (await kept.response())[1] == b"ok"
    assert not hooks.failures
    assert len(server.talks) == 2


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refused_stream_is_repeated(streamed: bool) -> None:
    async def script(request: H2Request) -> None:
        if request is server.asked[0]:
            await request.cancel(int(h2.errors.ErrorCodes.REFUSED_STREAM))
        else:
            assert await request.whole() == b"hello"
            await says_its_path(request)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            if streamed:
                await client.send(
                    b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                await until(lambda: len(server.asked) == 2)
                await client.send(b"5\r\nhello\r\n0\r\n\r\n")
                _, body = await client.response()
            else:
                _, body = await client.ask(b"/a", method=b"POST", body=b"hello")
    assert body == b"/a"
    assert len(server.asked) == 2


@pytest.mark.parametrize("method", [b"POST", b"PUT"])
@pytest.mark.parametrize(
    ("framing", "body", "sent"),
    [
        (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 10),
        (b"Content-Length: 100000", b"x" * 100_000, 1),
        (b"Content-Length: 100000", b"x" * 100_000, 60_000),
    ],
)
async def test_what_was_taken_of_a_body_goes_out_again(
    method: bytes, framing: bytes, body: bytes, sent: int
) -> None:
    """While it is little, and of a server that has not looked at it."""

    async def script(request: H2Request) -> None:
        if request is server.asked[0]:
            await request.wait(lambda request: bool(request.body))
            await request.cancel(int(h2.errors.ErrorCodes.REFUSED_STREAM))
        else:
            await says_its_path(request)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            await client.send(
                b"%b /a HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n%b"
                % (method, framing, body[:sent])
            )
            await until(lambda: len(server.asked) == 2)
            await client.send(body[sent:])
            _, got = await client.response()
            assert got == b"/a"
            _, got = await client.ask(b"/next")  # nothing was left over, or lost
            assert got == b"/next"
    plain = b"hello!" if b"chunked" in framing else body
    assert server.asked[1].body == plain
    assert not server.faults


@pytest.mark.parametrize("code", ["ENHANCE_YOUR_CALM", "CANCEL", "INTERNAL_ERROR"])
async def test_another_reset_is_a_failure(code: str) -> None:
    async def script(request: H2Request) -> None:
        await request.cancel(int(h2.errors.ErrorCodes[code]))

    hooks = RecordingHooks()
    async with h2_server(script) as server:
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask(b"/a", method=b"POST", body=b"hello")
    assert b" 502 " in head
    (failure,) = hooks.failures
    assert failure.condition is FailureReason.CLOSED
    assert failure.sent
    assert code in failure.detail
    assert len(server.asked) == 1


async def test_a_server_that_refuses_everything_is_given_up() -> None:
    async def script(request: H2Request) -> None:
        await request.cancel(int(h2.errors.ErrorCodes.REFUSED_STREAM))

    hooks = RecordingHooks()
    async with h2_server(script) as server:
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask(b"/a", method=b"POST", body=b"hello")
    assert b" 502 " in head
    assert [one.sent for one in hooks.failures] == [False]
    assert len(server.asked) == 2


@pytest.mark.parametrize("says", ["by its settings", "by refusing"])
async def test_a_server_that_takes_none_costs_few_connections(
    monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """Whatever is asked meanwhile, also at once; a moment later it is tried again."""
    monkeypatch.setattr(stream_table, "REFUSED_S", 0.5)
    takes: list[bool] = []

    async def script(request: H2Request) -> None:
        if says == "by refusing" and not takes:
            await request.cancel(int(h2.errors.ErrorCodes.REFUSED_STREAM))
        else:
            await says_its_path(request)

    settings = {STREAMS: 0} if says == "by its settings" else {}
    async with h2_server(script, settings=settings) as server:
        async with proxying(server.upstream()) as proxy:
            lines = []
            for _ in range(10):
                lines += await ask_at_once(proxy, 10)
            assert all(b" 503 " in line or b" 502 " in line for line in lines)
            assert (
                len(server.talks) <= (1 if settings else 2) * 2
            )  # half a second later
            takes.append(True)
            server.settings.clear()
            await trio.sleep(0.6)
            assert await ask_at_once(proxy, 10) == [b"HTTP/1.1 200 OK"] * 10


# === one stream's trouble is one stream's trouble ===


async def test_a_lost_connection_fails_its_streams_only() -> None:
    async def script(request: H2Request) -> None:
        if request.get(b":path") == b"/lose":
            await until(lambda: len(server.asked) == 3)
            await request.talk.stream.aclose()
        else:
            await request.wait(lambda request: request.reset is not None)

    async with h2_server(script, settings={STREAMS: 2}) as server:
        hooks = RecordingHooks()
        async with proxying(server.upstream(), hooks) as proxy:
            async with (
                connected(proxy) as one,
                connected(proxy) as two,
                connected(proxy) as three,
            ):
                for client, path in (one, b"/a"), (two, b"/lose"), (three, b"/b"):
                    await client.send(b"POST %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
                    await until(partial(has_asked, server, path))
                assert b" 502 " in await one.head()
                assert b" 502 " in await two.head()
                assert server.asked[2].reset is None
    assert [one.condition for one in hooks.failures] == [FailureReason.CLOSED] * 2


async def test_too_large_a_head_fails_its_stream_only() -> None:
    async def script(request: H2Request) -> None:
        if request.get(b":path") == b"/large":
            fields = [(b"x-%d" % at, b"y" * 4000) for at in range(10)]
            await request.head([(b":status", b"200"), *fields])
        else:
            await says_its_path(request)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            head, _ = await client.ask(b"/large")
            assert b" 502 " in head
            await until(lambda: server.asked[0].reset is not None)
            _, body = await client.ask(b"/after")
    assert body == b"/after"
    assert len(server.talks) == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["fast", "task"])
async def test_a_body_behind_a_refused_head_is_no_response(streamed: bool) -> None:
    """Both come in one read: the content is not to be taken for the head."""

    async def script(request: H2Request) -> None:
        h2, stream_id = request.talk.h2, request.stream_id
        fields = [(b"x-%d" % at, b"y" * 4000) for at in range(10)]
        h2.send_headers(stream_id, [(b":status", b"200"), *fields])
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        h2.send_data(stream_id, body, end_stream=True)
        await request.talk.flush()

    chunks = [b"Transfer-Encoding: chunked"] if streamed else []
    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            lines = [b"GET / HTTP/1.1", b"Host: a", *chunks, b"", b""]
            await client.send(b"\r\n".join(lines))
            head = await client.head()
    assert b" 502 " in head


async def test_a_client_that_leaves_resets_its_stream() -> None:
    async def script(request: H2Request) -> None:
        await request.head()
        await request.data(b"x")
        await request.wait(lambda request: request.reset is not None)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.head()
        await until(lambda: server.asked[0].reset is not None)
    assert server.asked[0].reset == h2.errors.ErrorCodes.CANCEL
    assert not server.faults


async def test_clients_that_leave_take_no_window_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was not read of their responses is given back to those that go on."""
    monkeypatch.setattr(
        stream_table, "STREAMS", 2
    )  # the connection's window, in theirs

    async def script(request: H2Request) -> None:
        if request.get(b":path") == b"/large":
            await request.head()
            await request.data(b"x" * 10_000_000)
        else:
            await says_its_path(request)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        for _ in range(4):
            async with connected(proxy) as client:
                await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
                before = -1
                while server.sent != before:  # until it stands still: nobody reads
                    before = server.sent
                    await trio.sleep(0.1)
            await until(lambda: all(one.reset is not None for one in server.asked))
        async with connected(proxy) as client:
            with trio.fail_after(30):
                assert (await client.ask(b"/after"))[1] == b"/after"
    assert len(server.talks) == 1


async def test_what_a_cut_response_lacks_is_seen() -> None:
    async def script(request: H2Request) -> None:
        await request.head()
        await request.data(b"half")
        await request.cancel(int(h2.errors.ErrorCodes.INTERNAL_ERROR))

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert not (await client.to_end()).endswith(b"0\r\n\r\n")


# === flow control, both ways ===


async def test_what_no_client_takes_is_not_drawn() -> None:
    async def script(request: H2Request) -> None:
        await request.answer(b"x" * 64_000_000)

    async with h2_server(script) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as reader, connected(proxy) as lazy:
            await lazy.send(b"GET /lazy HTTP/1.1\r\nHost: a\r\n\r\n")
            before = -1
            while server.sent != before:
                before = server.sent
                await trio.sleep(0.3)
            assert server.sent < 20_000_000  # kernels' buffers, and windows
            server.script = says_its_path
            _, body = await reader.ask(b"/quick")
    assert body == b"/quick"
    assert len(server.talks) == 1


async def test_what_no_server_takes_is_not_drawn() -> None:
    async def script(request: H2Request) -> None:
        await request.whole()

    async with h2_server(script, reads=False) as server:
        async with proxying(server.upstream()) as proxy, connected(proxy) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 64000000\r\n\r\n"
            )
            sent = 0
            with trio.move_on_after(0.5) as waiting:
                while True:
                    await client.send(b"x" * 65536)
                    sent += 65536
                    waiting.deadline = trio.current_time() + 0.5
    assert server.got <= 65_535
    assert sent < 20_000_000


@pytest.mark.parametrize("window", [0, 1])
async def test_a_window_that_opens_late(window: int) -> None:
    async def script(request: H2Request) -> None:
        if request.get(b":path") == b"/first":
            await says_its_path(request)
            return
        talk = request.talk
        await trio.sleep(0.02)
        assert len(request.body) <= window
        talk.h2.increment_flow_control_window(100_000, request.stream_id)
        await talk.flush()
        assert len(await request.whole()) == 60_000
        await request.answer(b"", [(b":status", b"200"), (b"content-length", b"0")])

    async with h2_server(script, settings={WINDOW: window}, reads=False) as server:
        async with proxying(server.upstream()) as proxy, connected(proxy) as client:
            await client.ask(b"/first")  # so that its settings are known
            head, _ = await client.ask(b"/", method=b"POST", body=b"x" * 60_000)
    assert b" 200 " in head
    assert not server.faults


async def test_a_window_that_never_opens_is_a_timeout() -> None:
    limits = Limits(response_s=0.2)
    async with h2_server(says_its_path, settings={WINDOW: 0}) as server:
        async with proxying(server.upstream(), limits=limits) as proxy:
            async with connected(proxy) as client:
                await client.ask(b"/first")
                head, _ = await client.ask(b"/", method=b"POST", body=b"hello")
            assert b" 504 " in head
            await until(lambda: server.asked[1].reset is not None)


@pytest.mark.parametrize("size", [1, 70_000, 5_000_000])
async def test_bodies_stream_both_ways_at_once(size: int) -> None:
    async def echo(request: H2Request) -> None:
        await request.head()
        at = 0
        while not (request.ended and at == len(request.body)):
            piece = request.body[at : at + 10_000]
            if piece:
                at += len(piece)
                await request.data(piece)
            else:
                await request.more(at)
        await request.end([(b"x-size", b"%d" % at)])

    body = bytes(range(256)) * (size // 256 + 1)
    async with h2_server(echo) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client, trio.open_nursery() as nursery:
            head = b"POST / HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join(TE)
            await client.send(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert b" 200 " in await client.head()  # before the request has ended

            async def send() -> None:
                await client.send(
                    b"%x\r\n%b\r\n0\r\nx-end: 1\r\n\r\n" % (len(body), body)
                )

            nursery.start_soon(send)
            got = b""
            while True:
                length = int(await client.until(b"\r\n"), 16)
                if not length:
                    break
                got += (await client.exactly(length + 2))[:-2]
            trailers = await client.until(b"\r\n\r\n")
    assert got == body
    assert trailers == b"x-size: %d" % len(body)
    assert server.asked[0].trailers == [(b"x-end", b"1")]
    assert not server.faults


# === the life of a connection ===


async def test_an_idle_connection_is_asked_for_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twice at most: gRPC's servers take more for an attack."""
    monkeypatch.setattr(multiplexed, "PING_AFTER_S", 0.0)
    async with h2_server(says_its_path) as server, proxying(server.upstream()) as proxy:
        async with connected(proxy) as client:
            await client.ask(b"/a")
            await until(lambda: server.talks[0].pings == 2)
            await trio.sleep(1.2)
            assert server.talks[0].pings == 2
            await client.ask(b"/b")
            await until(lambda: server.talks[0].pings > 2)
    assert len(server.talks) == 1


async def test_a_connection_that_answers_no_ping_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiplexed, "PING_AFTER_S", 0.0)
    monkeypatch.setattr(multiplexed, "PING_ANSWER_S", 0.0)

    async def deaf(request: H2Request) -> None:
        request.talk.flush = trio.sleep_forever  # type: ignore[method-assign]

    hooks = RecordingHooks()
    async with h2_server(deaf) as server:
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as client:
                head, _ = await client.ask(b"/a", method=b"POST")
    assert b" 502 " in head
    assert [one.detail for one in hooks.failures] == ["no answer to a PING"]


async def test_an_idle_connection_is_closed_in_time() -> None:
    limits = Limits(upstream_idle_s=0.1)
    upstream = None
    async with h2_server(says_its_path) as server:
        upstream = server.upstream()
        async with proxying(upstream, limits=limits) as proxy:
            async with connected(proxy) as client:
                await client.ask(b"/a")
                assert len(upstream.idle) == 1
                await until(lambda: upstream.open == 0)
                assert not upstream.idle
                assert not upstream.connections
                await client.ask(b"/b")
    assert len(server.talks) == 2
    assert not server.faults


async def test_a_server_that_is_used_no_more_ends_its_requests_first() -> None:
    async def script(request: H2Request) -> None:
        await go.wait()
        await says_its_path(request)

    go = trio.Event()
    async with h2_server(script) as server:
        upstream = server.upstream()
        async with proxying(upstream) as proxy, connected(proxy) as client:
            await client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: len(server.asked) == 1)
            upstream.close_idle()
            go.set()
            assert (await client.response())[1] == b"/a"
            await until(lambda: upstream.open == 0)


# === what speaks no HTTP/2 ===


async def test_a_server_of_http1_is_told_from_one_of_http2() -> None:
    async def http1(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    hooks = RecordingHooks()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, http1, 0, host="127.0.0.1")
        )
        address = trio.socket.AF_INET, listeners[0].socket.getsockname()
        upstream = Http2Upstream("http1", [address], b"a")
        async with proxying(upstream, hooks) as proxy, connected(proxy) as client:
            head, _ = await client.ask(b"/a")
        nursery.cancel_scope.cancel()
    assert b" 502 " in head
    (failure,) = hooks.failures
    assert failure.condition is FailureReason.BAD_RESPONSE
    assert "no HTTP/2" in failure.detail


@pytest.mark.parametrize("protocols", [["h2"], ["http/1.1"], []])
async def test_http2_is_agreed_on_by_alpn(
    authority: Authority, protocols: list[str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert, key = authority.issue()
    context.load_cert_chain(cert, key)
    if protocols:
        context.set_alpn_protocols(protocols)
    hooks = RecordingHooks()
    tls = client_context(ca=authority.ca_file, http2=True)
    async with h2_server(says_its_path, context=context) as server:
        upstream = server.upstream(tls)
        async with proxying(upstream, hooks) as proxy, connected(proxy) as client:
            head, _ = await client.ask(b"/a")
    if protocols == ["h2"]:
        assert b" 200 " in head
        assert server.asked[0].get(b":scheme") == b"https"
    else:
        assert b" 502 " in head
        (failure,) = hooks.failures
        assert failure.condition is FailureReason.UNTRUSTED
        assert not failure.sent
        assert "ALPN" in failure.detail


async def test_a_changed_context_is_for_new_connections(authority: Authority) -> None:
    """What runs ends as it began; its session is of the old context, and of no use."""

    async def script(request: H2Request) -> None:
        if request.get(b":path") == b"/held":
            await go.wait()
        await says_its_path(request)

    go = trio.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue())
    context.set_alpn_protocols(["h2"])
    contexts = [client_context(ca=authority.ca_file, http2=True) for _ in range(2)]
    async with h2_server(script, context=context) as server:
        upstream = server.upstream(contexts[0])
        async with proxying(upstream) as proxy, connected(proxy) as held:
            await held.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: len(server.asked) == 1)
            upstream.use_tls(contexts[1])
            async with connected(proxy) as client:
                assert (await client.ask(b"/new"))[1] == b"/new"
            go.set()
            assert (await held.response())[1] == b"/held"
            await until(lambda: upstream.open == 1)
            async with connected(proxy) as client:
                assert (await client.ask(b"/newer"))[1] == b"/newer"
    assert len(server.talks) == 2


# === WebSockets (RFC 8441) ===

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_websocket_is_an_extended_connect() -> None:
    async def script(request: H2Request) -> None:
        await request.head([(b":status", b"200"), (b"sec-websocket-protocol", b"b")])
        await request.wait(lambda request: len(request.body) == len(hello))
        await request.data(b"world", ended=True)

    hello = b"\x82\x85\0\0\0\0hello"
    async with h2_server(script, settings={WEBSOCKETS: 1}) as server:
        async with proxying(server.upstream()) as proxy, connected(proxy) as client:
            await client.send(HANDSHAKE)
            head = await client.head()
            await client.send(hello)
            assert await client.to_end() == b"world"
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455 section 1.3
    assert b"sec-websocket-protocol: b" in head
    asked = dict(server.asked[0].fields)
    assert asked[b":method"] == b"CONNECT"
    assert asked[b":protocol"] == b"websocket"
    assert b"sec-websocket-key" not in asked
    assert b"upgrade" not in asked


async def test_a_websocket_may_be_refused() -> None:
    async def script(request: H2Request) -> None:
        await request.answer(b"no", [(b":status", b"403"), (b"content-length", b"2")])

    async with h2_server(script, settings={WEBSOCKETS: 1}) as server:
        async with proxying(server.upstream()) as proxy, connected(proxy) as client:
            await client.send(HANDSHAKE)
            head, body = await client.response()
    assert (head[:12], body) == (b"HTTP/1.1 403", b"no")


async def test_a_server_without_extended_connect_takes_no_websocket() -> None:
    hooks = RecordingHooks()
    async with h2_server(says_its_path) as server:
        async with proxying(server.upstream(), hooks) as proxy:
            async with connected(proxy) as client:
                await client.send(HANDSHAKE)
                assert b" 502 " in await client.head()
    (failure,) = hooks.failures
    assert failure.condition is FailureReason.UNSUPPORTED
    assert not failure.sent
    assert not server.asked


# === single requests ===


async def test_a_single_request_is_spoken_in_http2_too() -> None:
    async def script(request: H2Request) -> None:
        assert await request.whole() == b"x" * 200_000
        await request.head()
        await request.data(b"y" * 300_000)
        await request.end([(b"x-end", b"1")])

    head = b"POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 200000"
    async with h2_server(script) as server:
        with trio.fail_after(30):
            found = await fetch(
                server.upstream(),
                head + b"\r\n\r\n" + b"x" * 200_000,
                method=b"POST",
                keep_body=True,
            )
    assert (found.status, found.body) == (200, b"y" * 300_000)
    assert not server.faults


# === other servers ===


async def test_an_asgi_server_is_spoken_to_in_http2(authority: Authority) -> None:
    """hypercorn, over TLS."""
    app = as_asgi(lambda ex: ex.collect(100_000, echo))
    tls = client_context(ca=authority.ca_file, http2=True)
    async with hypercorn_serving(app, authority) as port:
        address = trio.socket.AF_INET, ("127.0.0.1", port)
        upstream = Http2Upstream("asgi", [address], b"localhost", tls=tls)
        async with proxying(upstream) as proxy, connected(proxy) as client:
            for size in (0, 10, 80_000):
                head, body = await client.ask(method=b"POST", body=b"x" * size)
                assert b" 200 " in head
                assert body == b"HTTP/2 " + b"x" * size
        assert upstream.open == 0


def echo(exchange: Exchange, body: bytes) -> None:
    exchange.respond(Response(200, exchange.protocol.encode() + b" " + body))
