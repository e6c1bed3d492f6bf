"""A client that left: its server is let go of, and nothing is held against the arm."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.counters import CLASSES
from canary_trio.testing import arm, proxied
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000)


@pytest.mark.parametrize("raw", [GET, POST], ids=["fast path", "slow path"])
async def test_a_client_that_left_is_no_failure(tmp_path: Path, raw: bytes) -> None:
    log = AccessLog(tmp_path / "log")
    asked, gone = trio.Event(), trio.Event()

    async def silent(request: ReceivedRequest) -> None:
        asked.set()
        assert not await request.stream.receive_some()
        gone.set()

    async with fake_upstream(silent) as fake:
        server = f"http://127.0.0.1:{fake.port}"
        arms = {"stable": arm(server), "canary": arm(server)}
        async with proxied(arms, ratio=0) as proxy:
            proxy.runtime.observer.log = log
            async with connected(proxy.server) as client:
                await client.send(raw)
                await asked.wait()
                await client.stream.send_eof()
                await gone.wait()
                assert await client.to_end() == b""
            state = proxy.server_state("stable")
            assert (state.requests, state.failures, state.in_flight) == (1, 0, 0)
            assert proxy.counts("stable")[:2] == (1, 0)
            routes = proxy.runtime.observer.counters.routes
            counted = [
                dict(zip(CLASSES, counts, strict=True)) for counts in routes.values()
            ]
            assert [one["499"] for one in counted if any(one.values())] == [1]
            with trio.move_on_after(0.1):
                await log.run()
    line = (tmp_path / "log").read_text()
    assert '"status":499,' in line
    assert '"failure":"client left"' in line
