"""Whom a request means, and which pages' requests are refused."""

from __future__ import annotations

import pytest

from http_trio import KnownHosts, is_foreign_page


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        (None, True),
        (b"", True),
        (b"kv.example:8500", True),
        (b"KV.Example.:8500", True),
        (b"kv", True),  # nobody can register it
        (b"127.0.0.1:8500", True),
        (b"[::1]:8500", True),
        (b"[::ffff:192.0.2.1]", True),
        (b"evil.example", False),
        (b"kv.example.evil.example", False),
        (b"127.0.0.1.evil.example", False),
        (b"127.0.0.01", False),
        (b"evil\xff.example", False),
    ],
)
def test_a_request_must_mean_this_server(host: bytes | None, meant: bool) -> None:
    hosts = KnownHosts(["kv.example:9999"])
    assert hosts.is_meant(host) is meant
    assert hosts.is_meant(host) is meant  # also when it comes again


def test_what_was_found_right_is_bounded() -> None:
    hosts = KnownHosts(["kv.example"])
    for port in range(3000):
        assert hosts.is_meant(b"kv.example:%d" % port)
    assert len(hosts._right) <= 1025


@pytest.mark.parametrize(
    ("site", "origin", "foreign"),
    [
        (None, None, False),  # a program
        (b"none", None, False),  # typed by a person
        (b"Same-Origin", b"http://kv:8500", False),
        (b"same-site", None, True),
        (b"cross-site", None, True),
        (None, b"http://kv:8500", False),
        (None, b"HTTP://KV:8500", False),
        (None, b"http://kv:8501", True),
        (None, b"http://evil.example", True),
        (None, b"null", True),
        (None, b"", True),
    ],
)
def test_pages_of_others_are_told(
    site: bytes | None, origin: bytes | None, foreign: bool
) -> None:
    assert is_foreign_page(b"kv:8500", site, origin) is foreign
