"""URLs of servers: what is refused, and what the others say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.config.document import dump, load
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
