"""An ASGI application behind the engine: what it is told, what goes out, who is cut."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from http_trio import Exchange, HostedApp, HttpServer, Limits, serve
from http_trio.asgi.hosted import BEHIND, ClientLeft
from http_trio.testing.peers import connected, serving

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """Say what was asked."""
    asked = await receive()
    told = [scope["method"], scope["path"], scope["query_string"].decode(), asked]
    await send(start(201, (b"content-type", b"text/x"), (b"x-a", b"1"), (b"x-a", b"2")))
    await send(part(repr(told).encode()))


async def test_it_is_told_of_a_request_and_answers() -> None:
    async with serving(HostedApp(echo)) as server, connected(server) as client:
        head, body = await client.ask(b"/a%20b?c=%2F", method=b"PUT", body=b"in")
        again, _ = await client.ask(b"/", method=b"HEAD")

    asked = {"type": "http.request", "body": b"in", "more_body": False}
    assert body.decode() == repr(["PUT", "/a b", "c=%2F", asked])
    assert head.startswith(b"HTTP/1.1 201")
    assert b"Content-Type: text/x" in head
    assert head.count(b"x-a: ") == 2
    assert b"Content-Length" in again


async def test_it_is_told_who_asks_and_what_else_is_known() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    def tell(exchange: Exchange) -> Mapping[str, Any]:
        return {"who": exchange.method}

    async with serving(HostedApp(app, tell=tell)) as server:
        async with connected(server) as client:
            await client.ask(b"/", b"X-Odd:  spaced ", b"X-ODD: again")

    (scope,) = seen
    assert scope["who"] == "GET"
    assert scope["client"][0] == "127.0.0.1"
    assert scope["scheme"] == "http"
    assert scope["http_version"] == "1.1"
    assert [v for name, v in scope["headers"] if name == b"x-odd"] == [
        b"spaced",
        b"again",
    ]


async def test_a_large_body_is_refused_before_it_is_called() -> None:
    called: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        called.append(scope)
        await echo(scope, receive, send)

    async with serving(HostedApp(app, body_limit=10)) as server:
        async with connected(server) as client:
            head, _ = await client.ask(b"/", method=b"POST", body=b"x" * 11)

    assert head.startswith(b"HTTP/1.1 413")
    assert called == []


async def test_a_response_streams() -> None:
    more = trio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one", more=True))
        await more.wait()
        await send(part(b"two", more=True))
        await send(part(b""))

    async with serving(HostedApp(app)) as server, connected(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"chunked" in await client.head()
        assert await client.until(b"\r\none\r\n") == b"3"
        more.set()
        assert await client.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n"


@asynccontextmanager
async def streaming(
    tick: Callable[[Receive, Send], Awaitable[None]], limits: Limits | None = None
) -> AsyncIterator[tuple[HttpServer, list[BaseException | str]]]:
    """Serve a stream; give how it ended, too."""
    ends: list[BaseException | str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(start())
        try:
            await tick(receive, send)
            ends.append("returned")
        except ClientLeft as exc:
            ends.append(exc)
            raise RuntimeError("as frameworks make another one of it") from exc

    async with serving(HostedApp(app), limits) as server:
        yield server, ends


async def until_left(receive: Receive, send: Send) -> None:
    await send(part(b"one", more=True))
    assert await receive() == {"type": "http.disconnect"}


async def ended(ends: list[Any]) -> None:
    with trio.fail_after(10):
        while not ends:  # noqa: ASYNC110
            await trio.sleep(0.001)


async def test_a_client_that_leaves_is_told_of() -> None:
    async with streaming(until_left) as (server, ends):
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.head()
        await ended(ends)

    assert ends == ["returned"]


async def test_a_server_that_drains_is_told_of() -> None:
    async def polite(receive: Receive, send: Send) -> None:
        await until_left(receive, send)
        await send(part(b"bye"))

    async with streaming(polite) as (server, ends):
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.until(b"one")
            server.drain(10)
            assert b"bye" in await client.to_end()

    assert ends == ["returned"]


async def test_a_client_that_does_not_read_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent = 0

    async def flood(receive: Receive, send: Send) -> None:
        nonlocal sent
        for _ in range(1000):
            await send(part(b"x" * 65536, more=True))
            sent += 65536

    async with streaming(flood) as (server, ends):
        async with connected(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await ended(ends)

    assert isinstance(ends[0], ClientLeft)
    assert BEHIND < sent < BEHIND + 16 * 1024 * 1024  # and what the kernel keeps
    assert caplog.records == []


async def test_it_can_look_how_far_its_client_is_behind() -> None:
    seen: list[int] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        behind = scope["extensions"]["http_trio.behind"]["bytes"]
        await send(start())
        while behind() == 0:
            await send(part(b"x" * 65536, more=True))
        seen.append(behind())

    async with serving(HostedApp(app)) as server, connected(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await ended(seen)

    assert 0 < seen[0] <= BEHIND


@pytest.mark.parametrize("begun", [False, True], ids=["before", "after it began"])
async def test_one_that_fails_leaves_no_client_waiting(
    begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if begun:
            await send(start())
            await send(part(b"one", more=True))
        raise ValueError("no")

    async with serving(HostedApp(app)) as server, connected(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if begun:
            assert not (await client.to_end()).endswith(b"0\r\n\r\n")
        else:
            head, _ = await client.response()
            assert head.startswith(b"HTTP/1.1 500")

    assert "ValueError: no" in caplog.text


async def test_one_that_says_nothing_is_answered_for() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()

    async with serving(HostedApp(app)) as server, connected(server) as client:
        head, _ = await client.ask()

    assert head.startswith(b"HTTP/1.1 500")


async def test_its_lifespan_begins_and_is_cancelled() -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        told.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        try:
            await receive()
        finally:
            told.append("ended")

    async with trio.open_nursery() as nursery:
        await nursery.start(HostedApp(app).live)
        assert told == ["lifespan.startup"]
        nursery.cancel_scope.cancel()

    assert told == ["lifespan.startup", "ended"]


async def test_one_that_cannot_start_says_so() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no room"})

    with pytest.raises(RuntimeError, match="no room"):
        await HostedApp(app).live()


async def test_it_serves_http2_alike() -> None:
    async with trio.open_nursery() as nursery:
        start_ = partial(serve, HostedApp(echo), [], h2c_binds=["127.0.0.1:0"])
        server: HttpServer = await nursery.start(start_)
        import httpx  # noqa: PLC0415

        base = f"http://{server.addresses[0].removeprefix('h2c://')}"
        async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as http:
            response = await http.post(f"{base}/x", content=b"in")
        nursery.cancel_scope.cancel()

    assert response.status_code == 201
    assert "b'in'" in response.text
