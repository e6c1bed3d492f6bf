"""URLs of servers and stores: what is refused, and what the others say."""

from __future__ import annotations

import json
import socket
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.codec import Fault
from canary_trio.config.document import dump, load
from canary_trio.config.url import CONFIG_SERVER
from kv_trio import Client, KvError
from tests.canary_trio.support.documents import problems


@pytest.mark.parametrize(
    "server",
    [
        "https://",
        "unix:a",
        "unix:/" + "a" * 200,
        "http://[::g]",
        "http://a/../b",
        "http://a/b?c",
        "a:80",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a?q",
        "http://u:p@a",
        "http://u@a:80",
        "http://a:",
        "http://a b",
        "http://[::1",
        "ftp://a",
        "http://a..b",
        f"http://{'a' * 64}.b",
        5,
        None,
    ],
)
def test_a_bad_server_is_refused(server: object) -> None:
    found = problems({"arms": {"stable": {"servers": ["http://ok", server]}}})

    assert list(found) == ["$.arms.stable.servers[1]"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a", ("a", 80, "", "", False)),
        ("https://a", ("a", 443, "", "", True)),
        ("https://[::1]:8443/base/", ("::1", 8443, "/base", "", True)),
        ("http://a:81/b/c", ("a", 81, "/b/c", "", False)),
        ("h2c://a:50051/b", ("a", 50051, "/b", "", False)),
        ("h2c://a", ("a", 80, "", "", False)),
        ("unix:/run/app.sock", ("", 0, "", "/run/app.sock", False)),
    ],
)
def test_a_server_is_taken_apart(url: str, parts: tuple[Any, ...]) -> None:
    config = load(json.dumps({"arms": {"stable": {"servers": [url]}}}))
    (server,) = config.arms["stable"].servers

    assert (
        server.host,
        server.port,
        server.prefix,
        server.path,
        server.is_tls,
    ) == parts
    assert load(dump(config)) == config


@pytest.mark.parametrize(
    "url",
    [
        "http://kv..example.org:8500",
        "HTTPS://kv:8500",
        "http://u:p@kv",
        "http://kv:99999",
        "http://kv/?a",
        "unix:/run/kv",
        "http://[::1%25eth0]",
        "http://" + "a" * 64,
        "http://xn--a.example.org",
        "kv:8500",
        "",
        7,
    ],
)
def test_a_store_that_cannot_be_asked_is_refused(url: object) -> None:
    found = problems({"arms": {"stable": {"servers": []}}, "config_server": url})

    assert "$.config_server" in found


HOSTS = st.text("ab.-_:[]%@/?#\u00e9 1", max_size=12) | st.from_regex(
    r"(xn--)?[a-z0-9.-]{0,70}", fullmatch=True
)


@given(HOSTS, st.sampled_from(["", ":0", ":1", ":70000"]), st.text("/.%a2", max_size=4))
def test_whatever_store_is_taken_can_be_asked(host: str, port: str, path: str) -> None:
    url = f"http://{host}{port}{path}"
    try:
        taken = CONFIG_SERVER.decode(url)
    except Fault:
        return

    async def ask() -> None:
        async with Client(cast(str, taken)) as client:
            await client.get("a")

    class NoNames(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: bytes | None, *_: object) -> Any:
            assert host == b"" or host
            raise socket.gaierror(-2, "no name")

        async def getnameinfo(self, *_: object) -> Any:
            raise AssertionError("nobody connects, so nobody asks")

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(NoNames())
        with pytest.raises(KvError):
            await ask()

    trio.run(main)
