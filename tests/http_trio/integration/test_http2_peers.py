"""Other people's clients of HTTP/2: curl, nghttp, h2load, and Chromium where it is there.

Each asks through a proxy; one that is not installed is skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trio

from http_trio import Exchange, Limits, Response
from http_trio.testing.peers import ReceivedRequest
from tests.browser import CHROMIUM, browser_process
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.http2_peer import port_of, serving_http2, watched_http2

_PAGE = b"""<!doctype html><body>waiting<script>
const out = [];
(async () => {
  const many = [...Array(60).keys()].map(n => fetch("/echo?" + n).then(r => r.text()));
  out.push((await Promise.all(many)).length);
  const body = "x".repeat(300000);
  const sent = await fetch("/echo", {method: "POST", body});
  out.push((await sent.text()).length);
  const stop = new AbortController();
  const cut = fetch("/wait", {signal: stop.signal}).catch(e => out.push(e.name));
  setTimeout(() => stop.abort(), 50);
  await cut;
  out.push(performance.getEntriesByType("resource")[0].nextHopProtocol);
  await fetch("/told?" + encodeURIComponent(out.join(" ")));
})();
</script>"""


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(tool) is None, reason=f"{tool} is not installed"
    )


async def run(*command: str) -> str:
    with trio.fail_after(60):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False
        )
    return done.stdout.decode() + done.stderr.decode()


async def echo(asked: ReceivedRequest) -> None:
    await asked.response(asked.body or b"echo", b"X-Path: " + asked.path)


@needs("curl")
async def test_curl(
    authority: Authority, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 4096)
    async with watched_http2(echo, authority, caplog) as one:
        url = f"https://localhost:{port_of(one.proxy)}"
        curl = ["curl", "-sS", "--http2", "--cacert", str(authority.ca_file)]
        show = "%{http_version} %{response_code} %{size_download}\\n"
        more = ["-o", "/dev/null", "-w", show]
        assert await run(*curl, *more, f"{url}/a") == "2 200 4\n"
        sent = await run(*curl, *more, "-H", "Expect:", "-T", str(body), f"{url}/put")
        assert sent == "2 200 1048576\n"
        assert await run(*curl, *more, "-I", f"{url}/head") == "2 200 0\n"
        several = await run(*curl, "--parallel", *more, f"{url}/[1-30]")
        assert several.count("2 200 4\n") == 30


@needs("nghttp")
async def test_nghttp(
    authority: Authority, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"n" * 300_000)
    async with watched_http2(echo, authority, caplog) as one:
        url = f"https://localhost:{port_of(one.proxy)}"
        told = await run("nghttp", "-nv", "--window-bits=1", f"{url}/a", f"{url}/b")
        assert told.count(":status: 200") == 2
        assert "[ERROR]" not in told
        told = await run("nghttp", "-nv", "-d", str(body), f"{url}/c")
        assert ":status: 200" in told
        told = await run(
            "nghttp", "-nv", "-d", str(body), "--trailer=x-sum: 1", f"{url}/d"
        )
        assert ":status: " in told
        padded = await run("nghttp", "-nv", "-b", "100", "--continuation", f"{url}/e")
        assert ":status: 200" in padded


@needs("h2load")
@pytest.mark.parametrize(
    "load",
    [
        ["-n", "3000", "-c", "1", "-m", "10"],
        ["-n", "3000", "-c", "30", "-m", "100"],
        ["-n", "500", "-c", "5", "-m", "20", "-w", "10", "-W", "12"],
    ],
)
async def test_h2load(authority: Authority, load: list[str]) -> None:
    def handle(exchange: Exchange) -> None:
        exchange.respond(Response(200, b"l" * 2000))

    async with serving_http2(handle, authority) as server:
        told = await run("h2load", *load, server.url + "/")
        count = load[1]
        assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in told
        assert not server.connection_errors


@needs("h2load")
async def test_100_streams_at_once_on_100_connections(authority: Authority) -> None:
    """All of them wait at the same time; then all are answered."""
    waiting: list[Exchange] = []
    most = 0

    def handle(exchange: Exchange) -> None:
        nonlocal most
        waiting.append(exchange)
        most = max(most, len(waiting))
        exchange.park(60, lambda ex: None)
        if len(waiting) == 10_000:
            for one in waiting:
                one.respond(Response(200, b"all"))
            waiting.clear()

    async with serving_http2(handle, authority, limits=Limits()) as server:
        load = ("-n", "10000", "-c", "100", "-m", "100")
        told = await run("h2load", *load, server.url + "/")
        assert "10000 succeeded, 0 failed, 0 errored, 0 timeout" in told
    assert most == 10_000


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_chromium(authority: Authority) -> None:
    """A page that asks many things at once, sends a body, and gives one up."""
    asked: list[bytes] = []
    results: list[bytes] = []
    gone, told = trio.Event(), trio.Event()

    def handle(exchange: Exchange) -> None:
        asked.append(exchange.path)
        if exchange.path == b"/wait":
            exchange.park(60, lambda ex: None, lambda ex: gone.set())
        elif exchange.path == b"/told":
            results.append(exchange.query)
            told.set()
            exchange.respond(Response(200))
        elif exchange.path == b"/echo":
            exchange.collect(
                1_000_000, lambda ex, body: ex.respond(Response(200, body))
            )
        else:
            exchange.respond(Response(200, _PAGE, b"text/html"))

    async with serving_http2(handle, authority) as server:
        url = f"https://localhost:{port_of(server)}/"
        with browser_process(url, "--ignore-certificate-errors"), trio.fail_after(60):
            await told.wait()
            await gone.wait()
    assert results == [b"60%20300000%20AbortError%20h2"]
    assert asked.count(b"/echo") == 61
