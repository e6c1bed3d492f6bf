"""Pages of strangers: what a browser would send for one, and what programs send."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
import trio

from kv_trio import KvServer, serve


async def ask(
    *lines: str, method: str = "GET", hosts: tuple[str, ...] = (), bind: str = ""
) -> tuple[int, str]:
    """Send one request with these fields to a store; give status and text."""
    bind = bind or "127.0.0.1:0"
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(partial(serve, [bind], hosts=hosts))
        address = server.addresses[0]
        stream: trio.SocketStream
        if address.startswith("unix:"):
            stream = await trio.open_unix_socket(address.removeprefix("unix:"))
        else:
            stream = await trio.open_tcp_stream("127.0.0.1", int(address[10:]))
        path = "/v1/kv/?keys" if method == "GET" else "/v1/kv/a"
        fields = "\r\n".join((*lines, "Connection: close"))
        await stream.send_all(f"{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        raw = b"".join([part async for part in stream]).decode()
        await stream.aclose()
        nursery.cancel_scope.cancel()
    return int(raw.split()[1]), raw.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8500", "[::1]:8500", "10.1.2.3", "localhost", "LOCALHOST:1", "kv:8500"],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_an_address_and_a_name_without_a_dot_are_let_in(
    host: str, method: str
) -> None:
    assert (await ask(f"Host: {host}", method=method))[0] == 200


@pytest.mark.parametrize("host", ["kv.example.org", "KV.Example.org.:8500"])
async def test_a_name_that_was_given_is_let_in(host: str) -> None:
    status, _ = await ask(f"Host: {host}", hosts=("kv.example.org",))
    assert status == 200


async def test_the_name_of_the_machine_is_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "store-1.example.net")
    assert (await ask("Host: store-1.example.net:8500"))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:8500",
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
        "kv.example.org.attacker.example",
        "127.0.0.1.:8500.x",
        "1.2.3.4.5",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS"])
async def test_another_name_is_refused_with_words(host: str, method: str) -> None:
    status, text = await ask(f"Host: {host}", method=method, hosts=("kv.example.org",))
    assert status in (400, 403)
    assert status == 400 or "--host" in text


@pytest.mark.parametrize(
    "line",
    [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "sec-fetch-site: CROSS-SITE",
        "Origin: https://evil.example",
        "Origin: http://localhost:3000",
        "Origin: null",
        "Origin: ",
    ],
)
async def test_a_page_from_elsewhere_reads_perhaps_but_does_not_write(
    line: str,
) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert (await ask("Host: localhost:8500", line, method=method))[0] == 403
    assert (await ask("Host: localhost:8500", line))[0] == 200  # no CORS: unseen


@pytest.mark.parametrize(
    "lines",
    [
        ("Sec-Fetch-Site: same-origin", "Origin: http://localhost:8500"),
        ("Sec-Fetch-Site: none",),
        ("Origin: https://LOCALHOST:8500",),
    ],
)
async def test_a_page_of_its_own_writes(lines: tuple[str, ...]) -> None:
    for method in ("PUT", "POST", "DELETE"):
        assert (await ask("Host: localhost:8500", *lines, method=method))[0] == 200


async def test_over_a_unix_socket_any_name_will_do(tmp_path: Path) -> None:
    assert (await ask("Host: a.b", bind=f"unix:{tmp_path}/s"))[0] == 200
