"""Arms of a document: what is refused, and whom they fall back to."""

from __future__ import annotations

import json

import pytest

from canary_trio.config.document import dump, load
from tests.canary_trio.support.documents import ARMS, problems


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("balance", "robin", ""),
        ("hash_by", 5, ""),
        ("health", {"pth": "/"}, ".pth"),
        ("health", {"path": "x"}, ".path"),
        ("health", {"interval": 0}, ".interval"),
        ("health", {"status": []}, ".status"),
        ("health", {"status": ["200-99"]}, ".status[0]"),
        ("health", {"status": [200, 600]}, ".status[1]"),
        ("health", {"status": ["504-502"]}, ".status[0]"),
        ("health", 1, ""),
        ("health", {"grpc": "a b"}, ".grpc"),
        ("health", {"grpc": 5}, ".grpc"),
        ("ejection", True, ""),
        ("ejection", {"failures": 1.5}, ".failures"),
        ("ejection", {"time": 400}, ".longest"),
        ("panic_threshold", 2, ""),
        ("slow_start", -1, ""),
        ("fallback", "nobody", ""),
        ("fallback", "canary", ""),
        ("timeouts", {"connect": 0}, ".connect"),
        ("timeouts", {"connect": None}, ".connect"),
        ("timeouts", {"conect": 1}, ".conect"),
        ("retries", {"tries": 6}, ".tries"),
        ("retries", {"longest_backoff": 0.001}, ".longest_backoff"),
        ("limits", {"in_flight": 0}, ".in_flight"),
        ("limits", {"pending": True}, ".pending"),
        ("request_headers", {"set": {"Host": "a"}}, ".set.Host"),
        ("request_headers", {"add": {"Connection": "close"}}, ".add.Connection"),
        ("request_headers", {"remove": ["content-length"]}, ".remove[0]"),
        ("request_headers", {"add": {"a b": "c"}}, ".add.a b"),
        ("request_headers", {"add": {"X-A": "b", "x-a": "c"}}, ".add.x-a"),
        ("response_headers", {"set": {"X": "a\r\nY: b"}}, ".set.X"),
        ("response_headers", {"set": {"X": "a\0"}}, ".set.X"),
        ("response_headers", {"set": {"X": 5}}, ".set.X"),
        ("tls", {"verify": "no"}, ".verify"),
        ("tls", {"ca": ""}, ".ca"),
    ],
    ids=str,
)
def test_a_bad_field_of_an_arm_is_named_by_its_path(
    field: str, value: object, path: str
) -> None:
    canary = {"servers": ["http://b"], field: value}
    found = problems({"arms": {**ARMS, "canary": canary}})

    assert list(found) == [f"$.arms.canary.{field}{path}"]


def test_stable_falls_back_only_where_it_is_told() -> None:
    arms = {"stable": {"servers": ["http://a"], "fallback": "canary"}, **ARMS}
    arms["stable"] = {"servers": ["http://a"], "fallback": "canary"}

    assert load(json.dumps({"arms": ARMS})).arms["stable"].fallback is None
    assert load(json.dumps({"arms": ARMS})).arms["canary"].fallback == "stable"
    config = load(json.dumps({"arms": arms}))
    assert config.arms["stable"].fallback == "canary"
    assert load(dump(config)) == config


@pytest.mark.parametrize(
    ("server", "speaks_http2"),
    [
        ("http://b", False),
        ("https://b", False),
        ("unix:/run/b", False),
        ("h2c://b", True),
        ({"url": "h2c://b"}, True),
        ({"url": "h2c://b:50051/p", "protocol": "h2"}, True),
        ({"url": "https://b", "protocol": "h2"}, True),
        ({"url": "unix:/run/b", "protocol": "h2"}, True),
        ({"url": "https://b", "protocol": "http/1.1"}, False),
        ({"url": "unix:/run/b", "proxy_protocol": "v1"}, False),
        ({"url": "https://b", "proxy_protocol": "v2"}, False),
    ],
    ids=str,
)
def test_a_server_says_what_it_speaks(server: object, speaks_http2: bool) -> None:
    text = json.dumps({"arms": {"stable": {"servers": [server]}}})
    config = load(text)
    (one,) = config.arms["stable"].servers
    assert one.speaks_http2 is speaks_http2
    assert not (one.is_tls and "h2c" in one.url)
    assert load(dump(config)) == config


@pytest.mark.parametrize(
    ("server", "path", "words"),
    [
        ({"url": "http://b", "protocol": "h2"}, ".protocol", "h2c://"),
        ({"url": "h2c://b", "protocol": "http/1.1"}, ".protocol", "http://"),
        ({"url": "https://b", "protocol": "h3"}, ".protocol", "h2"),
        ({"url": "https://b", "protocol": 2}, ".protocol", "h2"),
        ({"url": "h2c://b?c"}, ".url", "h2c://"),
        ({"url": "h2c://b", "proxy_protocol": "v2"}, ".proxy_protocol", "null"),
        (
            {"url": "https://b", "protocol": "h2", "proxy_protocol": "v1"},
            ".proxy_protocol",
            "null",
        ),
        ({"url": "http://b", "proxy_protocol": "v3"}, ".proxy_protocol", "v2"),
        ({"url": "http://b", "proxy_protocol": True}, ".proxy_protocol", "v1"),
        ("h2://b", "", "h2c://"),
    ],
    ids=str,
)
def test_what_a_server_cannot_speak_is_refused(
    server: object, path: str, words: str
) -> None:
    found = problems({"arms": {"stable": {"servers": ["http://a", server]}}})

    assert list(found) == [f"$.arms.stable.servers[1]{path}"]
    assert words in str(next(iter(found.values())))


def test_health_by_grpc_needs_servers_that_speak_http2() -> None:
    servers = [
        "h2c://a",
        {"url": "https://b", "protocol": "h2"},
        "http://c",
        {"url": "https://d"},
    ]
    arm = {"servers": servers, "health": {"grpc": "pkg.Service"}}
    found = problems({"arms": {"stable": arm}})

    assert sorted(found) == [f"$.arms.stable.servers[{place}]" for place in (2, 3)]
