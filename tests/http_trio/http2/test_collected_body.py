"""A body that a stream brings: taken whole, or its beginning awaited."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import trio

from http_trio import Exchange, ForwardHooks, Limits, Tls, forward, serve
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from tests.http_trio.support.certificates import Authority

curl = shutil.which("curl")


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"%d" % len(asked.body))


@pytest.mark.skipif(curl is None, reason="needs curl")
@pytest.mark.parametrize("size", [0, 10, 40_000, 70_000, 3_000_000])
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
async def test_an_awaited_body_is_passed_on_whole(
    size: int, expect: str, tmp_path: Path
) -> None:
    """Beyond a stream's window too: who only awaits gives no room back."""
    body = tmp_path / "body"
    body.write_bytes(b"x" * size)
    authority = Authority(tmp_path)
    limits = Limits(body_s=2.0)
    async with fake_upstream(ok) as fake, trio.open_nursery() as nursery:

        def then(exchange: Exchange) -> None:
            forward(exchange, fake.upstream, ForwardHooks())

        tls = Tls(*authority.issue())
        server = await nursery.start(
            partial(serve, limits=limits, tls=tls),
            lambda exchange: exchange.await_body(then),
            ["127.0.0.1:0"],
        )
        words = ["curl", "-s", "--http2", "--cacert", str(authority.ca_file)]
        with trio.fail_after(15):
            done = await trio.run_process(
                [*words, "-H", expect, "--data-binary", f"@{body}", f"{server.url}/"],
                capture_stdout=True,
            )
        nursery.cancel_scope.cancel()
    assert done.stdout == b"%d" % size
