from __future__ import annotations

import contextlib
import os
import resource
import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from http_trio import Answer, BadBind, Exchange, Limits, serve
from http_trio.testing.peers import Client, connected, serving


def hello(exchange: Exchange) -> None:
    exchange.respond(Answer(200, b"hello " + exchange.target))


def echo(exchange: Exchange) -> None:
    exchange.collect(1000, lambda ex, body: ex.respond(Answer(200, body)))


async def test_requests_over_one_connection() -> None:
    async with serving(hello) as server, connected(server) as client:
        for path in (b"/a", b"/b?c"):
            head, body = await client.ask(path)
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert body == b"hello " + path


async def test_pipelined_requests_are_answered_in_order() -> None:
    later: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/slow":
            later.append(exchange)
        else:
            for waiting in later:
                waiting.respond(Answer(200, b"slow"))
            hello(exchange)

    async with serving(handler) as server:
        async with connected(server) as client, connected(server) as other:
            await client.send(
                b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\nGET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
            )
            while not later:
                await other.ask(b"/poke")
            await other.ask(b"/poke")

            assert (await client.answer())[1] == b"slow"
            assert (await client.answer())[1] == b"hello /1"


async def test_any_split_of_the_bytes_is_the_same_request() -> None:
    raw = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    async with serving(echo) as server, connected(server) as client:
        client.stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in (1, 2, 7, 31):
            for at in range(0, len(raw), size):
                await client.send(raw[at : at + size])
                await trio.testing.wait_all_tasks_blocked()
            assert (await client.answer())[1] == b"abc"


async def test_a_chunked_body_is_collected_and_the_next_request_follows() -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
        )
        assert (await client.answer())[1] == b"abcde"
        assert (await client.answer())[1] == b"x"


async def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert await client.head() == b"HTTP/1.1 100 Continue"
        await client.send(b"abc")
        assert (await client.answer())[1] == b"abc"


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"]
)
async def test_a_body_beyond_its_limit_is_413(framing: bytes) -> None:
    body = b"1388\r\n" + b"x" * 5000 + b"\r\n0\r\n\r\n"
    async with serving(echo) as server, connected(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n" + body
        )
        answer = await client.to_end()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in answer


async def test_a_body_that_nobody_wanted_is_passed_over() -> None:
    async with serving(hello) as server, connected(server) as client:
        head, _ = await client.ask(
            b"/a", method=b"POST", body=b"GET /evil HTTP/1.1\r\n"
        )
        assert b"Connection" not in head
        assert (await client.ask(b"/b"))[1] == b"hello /b"


async def test_head_has_the_length_and_no_body() -> None:
    async with serving(hello) as server, connected(server) as client:
        head, _ = await client.ask(b"/a", method=b"HEAD")
        assert b"Content-Length: 8" in head
        assert (await client.ask(b"/b"))[1] == b"hello /b"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"nonsense\r\n\r\n", 501),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
        ),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_refused_is_answered_once_and_closed(
    raw: bytes, status: int
) -> None:
    async with serving(echo) as server, connected(server) as client:
        await client.send(raw)
        answer = await client.to_end()

    assert answer.count(b"HTTP/1.1 ") == 1
    assert int(answer[9:12]) == status
    assert server.refused == {status: 1}


async def test_http10_closes_unless_asked_to_keep() -> None:
    async with serving(hello) as server:
        async with connected(server) as client:
            await client.send(b"GET /a HTTP/1.0\r\n\r\n")
            assert b"Connection: close" in await client.to_end()
        async with connected(server) as client:
            for _ in range(2):
                await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                head, body = await client.answer()
                assert b"Connection: keep-alive" in head
                assert body == b"hello /a"


async def test_a_half_closed_client_gets_all_its_answers() -> None:
    async with serving(hello) as server, connected(server) as client:
        await client.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
        await client.stream.send_eof()

        assert (await client.to_end()).count(b"hello /a") == 3


async def test_an_error_in_a_handler_ends_that_exchange_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/bad":
            raise ValueError("a bug")
        hello(exchange)

    async with serving(handler) as server, connected(server) as client:
        head, _ = await client.ask(b"/bad")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert (await client.ask(b"/good"))[1] == b"hello /good"
    assert "a bug" in caplog.text


async def test_a_handler_may_await_in_a_task() -> None:
    async def slowly(exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()
        exchange.respond(Answer(200, b"from a task"))

    async with serving(lambda ex: ex.spawn(slowly)) as server:
        async with connected(server) as client:
            assert (await client.ask())[1] == b"from a task"


async def test_the_parked_are_answered_when_their_time_comes() -> None:
    def handler(exchange: Exchange) -> None:
        exchange.park(0.02, lambda ex: ex.respond(Answer(200, b"due")))

    async with serving(handler) as server, connected(server) as client:
        assert (await client.ask())[1] == b"due"


async def test_a_parked_exchange_hears_at_once_that_its_client_is_gone() -> None:
    parked: list[Exchange] = []
    gone = trio.Event()

    def handler(exchange: Exchange) -> None:
        exchange.park(60, lambda _: None, lambda _: gone.set())
        parked.append(exchange)

    async with serving(handler) as server:
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            while not parked:
                await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await gone.wait()
        assert parked[0].gone
        parked[0].respond(Answer(200))
        assert server.connections == 0


async def test_one_rendered_answer_goes_to_a_herd() -> None:
    parked: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.path == b"/go":
            answer = Answer(200, b"now")
            for waiting in parked:
                waiting.respond(answer)
            exchange.respond(Answer(200, b"%d" % len(parked)))
        else:
            parked.append(exchange)
            exchange.park(60, lambda _: None)

    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(handler))
        herd = [await stack.enter_async_context(connected(server)) for _ in range(50)]
        for client in herd:
            await client.send(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
        async with connected(server) as other:
            while len(parked) < len(herd):
                await trio.testing.wait_all_tasks_blocked()
            await other.ask(b"/go")
        for client in herd:
            assert (await client.answer())[1] == b"now"


async def test_a_client_that_reads_slowly_gets_all_of_a_large_answer() -> None:
    body = os.urandom(3_000_000)
    async with serving(lambda ex: ex.respond(Answer(200, body))) as server:
        async with connected(server) as client:
            for _ in range(2):
                assert (await client.ask())[1] == body


@pytest.mark.parametrize(
    ("limits", "raw", "status"),
    [
        (Limits(head_s=0.1), b"GET / HTT", 408),
        (
            Limits(body_s=0.1),
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na",
            408,
        ),
        (Limits(head_s=0.1), b"", 0),
        (Limits(idle_s=0.1), b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ],
    ids=["head", "body", "nothing", "idle"],
)
async def test_a_slow_client_is_let_go(limits: Limits, raw: bytes, status: int) -> None:
    def handler(exchange: Exchange) -> None:
        (hello if exchange.path == b"/a" else echo)(exchange)

    async with serving(handler, limits) as server, connected(server) as client:
        if raw:
            await client.send(raw)
        answer = await client.to_end()

    assert answer[9:12] == (b"%d" % status if status else b"")


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bind = f"unix:{path}"
    async with serving(
        lambda ex: ex.respond(Answer(200, ex.client.encode())), bind=bind
    ) as s:
        assert s.addresses == (bind,)
        async with connected(s) as client:
            assert (await client.ask())[1] == b"unix"
        with pytest.raises(BadBind, match="in use"):
            await serve(hello, [bind])
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    async with serving(hello, bind=f"unix:{path}") as server:
        async with connected(server) as client:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("8080", "expected HOST:PORT"),
        ("127.0.0.1:99999", "expected HOST:PORT"),
        ("192.0.2.1:0", "no address of this machine"),
        ("unix:/nowhere/s", "No such file"),
    ],
)
async def test_a_bad_bind_says_why(bind: str, words: str) -> None:
    with pytest.raises(BadBind, match=words):
        await serve(hello, [bind])


async def test_a_taken_port_is_said_and_frees_the_other() -> None:
    async with serving(hello) as server:
        with pytest.raises(BadBind, match="choose another port"):
            await serve(hello, ["127.0.0.1:0", server.addresses[0]])


async def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with serving(hello, bind="[::1]:0") as server, connected(server) as client:
        assert (await client.ask(b"/a"))[1] == b"hello /a"


async def test_above_the_connection_limit_nobody_is_accepted_until_one_ends() -> None:
    async with serving(hello, Limits(connections=2)) as server:
        async with connected(server) as third_to_come:
            async with connected(server) as first, connected(server) as second:
                await third_to_come.ask()
                await first.ask()
                await second.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n")
                assert server.connections == 2
            assert server.connections <= 2
        async with connected(server) as client:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


async def test_running_out_of_descriptors_costs_no_listener(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(hello) as server, contextlib.AsyncExitStack() as stack:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        try:
            streams: list[Client] = []
            with contextlib.suppress(OSError):
                for _ in range(30):
                    client = await stack.enter_async_context(connected(server))
                    streams.append(client)
            while "accepts nothing" not in caplog.text:
                await trio.testing.wait_all_tasks_blocked()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in streams:
            assert (await client.ask(b"/a"))[1] == b"hello /a"


async def test_draining_answers_the_parked_and_ends() -> None:
    parked = trio.Event()

    def handler(exchange: Exchange) -> None:
        parked.set()
        exchange.park(60, lambda ex: ex.respond(Answer(200, b"drained")))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, handler, ["127.0.0.1:0"]))
        async with connected(server) as idle, connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await parked.wait()
            server.drain(5)
            head, body = await client.answer()
            assert body == b"drained"
            assert b"Connection: close" in head
            assert await idle.to_end() == b""


async def test_draining_cancels_at_its_deadline() -> None:
    asked = trio.Event()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, lambda _: asked.set(), ["127.0.0.1:0"])
        )
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            await asked.wait()
            server.drain(0.05)
            assert await client.to_end() == b""


async def test_cancelling_closes_every_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(hello))
        for _ in range(10):
            await (await stack.enter_async_context(connected(server))).ask()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
