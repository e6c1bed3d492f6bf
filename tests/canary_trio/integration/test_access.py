"""Who may not pass gets the refusal, and no server hears of it: over real sockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.observer import Observer
from canary_trio.testing import Proxied, arm, proxied
from http_trio import ForwardedPolicy, serve
from http_trio.hosts.addresses import parse_network
from http_trio.testing.peers import (
    FakeUpstream,
    RawClient,
    ReceivedRequest,
    connected,
    fake_upstream,
)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


async def takes_all(asked: ReceivedRequest) -> None:
    await asked.response(b"%d" % len(asked.body))


async def takes_chunks(stream: trio.SocketStream) -> None:
    """Answer when the whole body has come; a short one comes with its length."""
    data = b""
    while not data.endswith((b"\r\n0\r\n\r\n", b"\r\n\r\n" + b"x" * 10)):
        more = await stream.receive_some()
        if not more:
            return
        data += more
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@contextlib.asynccontextmanager
async def guarded(**access: Any) -> AsyncIterator[tuple[Proxied, FakeUpstream]]:
    async with fake_upstream(takes_all) as fake:
        async with proxied({"stable": arm(fake)}, ratio=0, access=access) as proxy:
            yield proxy, fake


def refusals(proxy: Proxied) -> dict[str, int]:
    return dict(proxy.runtime.observer.counters.refusals)


async def test_a_denied_client_reaches_no_server() -> None:
    async with guarded(deny=["127.0.0.0/8"]) as (proxy, fake):
        async with connected(proxy.server) as client:
            for _ in range(2):  # the connection lives on
                await client.send(GET % b"")
                head, body = await client.response()
                assert b" 403 " in head
                assert b"may not come here" in body
        assert not fake.asked
        assert refusals(proxy) == {"denied": 2}
        assert proxy.counts("stable")[0] == 0
        await proxy.install({"arms": {"stable": arm(fake)}})
        async with connected(proxy.server) as client:
            head, _ = await client.ask(b"/")
        assert b" 200 " in head


async def test_the_client_behind_a_trusted_balancer_counts() -> None:
    async with guarded(allow=["192.0.2.0/24"]) as (proxy, _):
        rules = ForwardedPolicy(trusted=(parse_network("127.0.0.0/8"),))
        handler = ProxyHandler(proxy.runtime)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                lambda task_status: serve(
                    handler, ["127.0.0.1:0"], forwarding=rules, task_status=task_status
                )
            )
            async with connected(server) as client:
                for said, status in ((b"192.0.2.7", b"200"), (b"198.51.100.1", b"403")):
                    await client.send(GET % (b"X-Forwarded-For: %b\r\n" % said))
                    head, _ = await client.response()
                    assert b" %b " % status in head
            nursery.cancel_scope.cancel()


async def test_who_only_says_so_is_not_believed() -> None:
    async with guarded(allow=["192.0.2.0/24"]) as (proxy, fake):
        async with connected(proxy.server) as client:
            await client.send(GET % b"X-Forwarded-For: 192.0.2.7\r\n")
            head, _ = await client.response()
        assert b" 403 " in head
        assert not fake.asked


async def test_a_declared_body_is_refused_before_it_comes() -> None:
    async with guarded(body=10) as (proxy, fake):
        async with connected(proxy.server) as client:
            await client.send(SIZED % 11)
            head, body = await client.response()
        assert b" 413 " in head
        assert b"larger than 10 bytes" in body
        assert not fake.asked
        async with connected(proxy.server) as client:
            await client.send(SIZED % 10 + b"x" * 10)
            head, body = await client.response()
        assert (b" 200 " in head, body) == (True, b"10")
        assert refusals(proxy) == {"too_large": 1}


@pytest.mark.parametrize(
    ("limit", "sizes", "status"),
    [
        (10, (10,), b"200"),
        (10, (5, 5), b"200"),
        (10, (11,), b"413"),
        (10, (5, 6), b"413"),
        (200_000, (100_000, 100_000), b"200"),
        (200_000, (100_000, 100_001), b"413"),
        (0, (1,), b"413"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_in_chunks_is_bounded(
    limit: int, sizes: tuple[int, ...], status: bytes, at_once: bool
) -> None:
    async with guarded(body=limit) as (proxy, fake):
        fake.raw = takes_chunks
        async with connected(proxy.server) as client:
            chunks = [b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes]
            parts = [CHUNKED, *chunks, b"0\r\n\r\n"]
            if at_once:
                parts = [b"".join(parts)]
            for part in parts:
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.send(part)
                await trio.sleep(0.02)
            head, _ = await client.response()
        assert b" %b " % status in head
        assert refusals(proxy) == ({"too_large": 1} if status == b"413" else {})
        assert proxy.in_flight == 0


async def test_a_response_that_has_begun_is_cut() -> None:
    async def answer_early(stream: trio.SocketStream) -> None:
        await RawClient(stream).head()
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
        )
        while await stream.receive_some():
            pass

    async with fake_upstream(takes_all) as fake:
        fake.raw = answer_early
        access = {"body": 100_000}
        async with proxied({"stable": arm(fake)}, ratio=0, access=access) as proxy:
            async with connected(proxy.server) as client:
                await client.send(CHUNKED + b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                data = await client.stream.receive_some()
                while b"hi" not in data:
                    data += await client.stream.receive_some()
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                rest = b""
                with contextlib.suppress(trio.BrokenResourceError):
                    while more := await client.stream.receive_some():
                        rest += more
            assert b" 200 " in data
            assert b"0\r\n\r\n" not in rest
            assert refusals(proxy) == {"too_large": 1}


async def test_the_log_says_why(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    runtime = Runtime("web", observer=Observer(log))
    async with fake_upstream(takes_all) as fake, trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        server = await nursery.start(
            lambda task_status: serve(
                ProxyHandler(runtime), ["127.0.0.1:0"], task_status=task_status
            )
        )
        proxy = Proxied(server, runtime)
        access = {"deny": ["127.0.0.1"]}
        await proxy.install({"arms": {"stable": arm(fake)}, "access": access})
        async with connected(server) as client:
            await client.ask(b"/")
        nursery.cancel_scope.cancel()
    line = json.loads((tmp_path / "log").read_text())
    assert (line["status"], line["arm"], line["reason"]) == (403, "", "denied")
    assert line["revision"] == 2
