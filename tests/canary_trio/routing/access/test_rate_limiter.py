"""Limits of the rate of requests: who is counted with whom, what is refused and told."""

from __future__ import annotations

import re
from typing import Any

import pytest

from canary_trio.config.access import RateLimit
from canary_trio.config.parts.rate_limit_codec import RATE_LIMITS
from canary_trio.routing.access.cells import Cells
from canary_trio.routing.access.rate_limit import NS, LimitCounts
from canary_trio.routing.access.rate_limiter import Excess, RateLimiter
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.limits import Limits

SECOND = NS


def head(*fields: str, target: str = "/") -> RequestHead:
    lines = [f"GET {target} HTTP/1.1", "Host: h", *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode(), Limits())


class Limited:
    """A limiter with its counts, and a clock."""

    def __init__(self, *limits: dict[str, Any], owner: str = "web") -> None:
        self.cells = Cells.private(bytes(16))
        self.counts: dict[str, LimitCounts] = {}
        self.now = 1000 * SECOND
        self.owner = owner
        self.change(*limits)

    def change(self, *limits: dict[str, Any]) -> None:
        read: tuple[RateLimit, ...] = RATE_LIMITS.decode(list(limits))
        self.limiter = RateLimiter(self.owner, read, self.cells, self.of_limit)

    def of_limit(self, name: str) -> LimitCounts:
        return self.counts.setdefault(name, LimitCounts())

    def ask(
        self, client: str = "192.0.2.1", *fields: str, **more: str
    ) -> Excess | None:
        return self.limiter.check(head(*fields, **more), client, self.now)

    def passes(self, client: str = "192.0.2.1", *fields: str, **more: str) -> bool:
        return self.ask(client, *fields, **more) is None

    def counted(self, name: str) -> tuple[int, int, int]:
        counts = self.counts[name]
        return counts.passed, counts.refused, counts.dry_run


@pytest.mark.parametrize(
    ("by", "one", "other", "together"),
    [
        ("address", ["192.0.2.1"], ["192.0.2.1"], True),
        ("address", ["192.0.2.1"], ["192.0.2.2"], False),
        ("address", ["192.0.2.1"], ["::ffff:192.0.2.1"], True),
        ("address", ["2001:db8::1"], ["2001:db8::ffff:1"], True),
        ("address", ["2001:db8::1"], ["2001:db8:0:1::1"], False),
        ("address", ["unix"], ["unix"], True),
        ({"address": {"v4": 24}}, ["192.0.2.1"], ["192.0.2.2"], True),
        ({"address": {"v6": 128}}, ["2001:db8::1"], ["2001:db8::2"], False),
        ("service", ["192.0.2.1"], ["2001:db8::1"], True),
        ({"header": "X-Key"}, ["192.0.2.1", "X-Key: a"], ["10.0.0.1", "x-key: a"], True),
        ({"header": "X-Key"}, ["192.0.2.1", "X-Key: a"], ["192.0.2.1", "X-Key: b"], False),
        ({"header": "X-Key"}, ["192.0.2.1"], ["192.0.2.1", "X-Key:"], True),
        ({"header": "X-Key"}, ["192.0.2.1"], ["192.0.2.2"], False),
        ({"header": "X-Key"}, ["192.0.2.1"], ["10.0.0.1", "X-Key: 192.0.2.1"], False),
        ({"header": "X-Key"}, ["2001:db8::1"], ["2001:db8::2"], True),
        ({"cookie": "s"}, ["192.0.2.1", "Cookie: s=1"], ["10.0.0.1", "Cookie: b=2; s=1"], True),
        ({"cookie": "s"}, ["192.0.2.1", "Cookie: s=1"], ["192.0.2.1", "Cookie: s=2"], False),
        ({"cookie": "s"}, ["192.0.2.1", "Cookie: t=1"], ["192.0.2.1"], True),
    ],
)  # fmt: skip
def test_requests_of_one_key_are_counted_together(
    by: Any, one: list[str], other: list[str], together: bool
) -> None:
    limited = Limited({"name": "a", "requests": 1, "per": 60, "by": by})

    assert limited.passes(*one)
    assert limited.passes(*other) != together


def test_a_query_parameter_may_be_the_key() -> None:
    limited = Limited({"name": "a", "requests": 1, "by": {"query": "key"}})

    assert limited.passes(target="/?key=a")
    assert limited.passes(target="/?key=b")
    assert not limited.passes("10.0.0.1", target="/x?y&key=a")


def test_the_burst_comes_at_once_and_the_rate_after_it() -> None:
    limited = Limited({"name": "a", "requests": 10, "per": 1, "burst": 3})
    assert [limited.passes() for _ in range(4)] == [True, True, True, False]

    limited.now += SECOND // 10
    assert [limited.passes() for _ in range(2)] == [True, False]
    limited.now += 10 * SECOND
    assert [limited.passes() for _ in range(4)] == [True, True, True, False]
    assert limited.counted("a") == (7, 3, 0)


def test_without_a_burst_all_of_a_time_may_come_at_once() -> None:
    limited = Limited({"name": "a", "requests": 5, "per": 60})

    assert [limited.passes() for _ in range(6)] == [True] * 5 + [False]


def fields_of(excess: Excess | None) -> dict[bytes, bytes]:
    assert excess is not None
    response = excess.response()
    assert response.status == 429
    assert response.grpc_status == 8
    return dict(response.headers)


def test_who_is_refused_is_told_when_to_come_again() -> None:
    limited = Limited({"name": "per-client", "requests": 6, "per": 60, "burst": 1})
    limited.ask()
    limited.now += SECOND // 2

    assert fields_of(limited.ask()) == {
        b"Retry-After": b"10",
        b"RateLimit-Policy": b'"per-client";q=6;w=60',
        b"RateLimit": b'"per-client";r=0;t=10',
    }
    limited.now += 10 * SECOND  # as it was told
    assert limited.passes()


def test_what_is_told_are_lists_of_structured_fields() -> None:
    """As RFC 9651 writes them: a string, and parameters that are integers."""
    limited = Limited(
        {"name": "short.1", "requests": 3, "per": 0.5, "burst": 1},
        {"name": "long_2", "requests": 100, "per": 3600.5, "burst": 1, "by": "service"},
    )
    limited.ask()
    fields = fields_of(limited.ask())

    item = r'"[ !#-\[\]-~]+"(?:;[a-z*][a-z0-9_.*-]*=[0-9]{1,15})+'
    for name in (b"RateLimit-Policy", b"RateLimit"):
        assert re.fullmatch(rf"{item}, {item}", fields[name].decode())
    assert fields[b"RateLimit-Policy"] == b'"short.1";q=6;w=1, "long_2";q=100;w=3601'
    assert fields[b"RateLimit"] == b'"short.1";r=0;t=1, "long_2";r=0;t=37'
    assert fields[b"Retry-After"] == b"37"


def test_who_one_limit_refuses_counts_against_none() -> None:
    limited = Limited(
        {"name": "all", "requests": 10, "per": 60, "by": "service"},
        {"name": "each", "requests": 1, "per": 60},
    )
    assert [limited.passes("10.0.0.1") for _ in range(50)] == [True] + [False] * 49
    assert limited.counted("all") == (1, 0, 0)
    assert limited.counted("each") == (1, 49, 0)

    others = [limited.passes(f"10.0.1.{number}") for number in range(10)]
    assert others == [True] * 9 + [False]
    assert limited.counted("all") == (10, 1, 0)


def test_a_dry_run_refuses_nothing_and_counts_what_it_would() -> None:
    limited = Limited({"name": "a", "requests": 2, "per": 60, "dry_run": True})

    assert all(limited.passes() for _ in range(5))
    assert limited.counted("a") == (2, 0, 3)


def test_exempt_networks_are_not_counted() -> None:
    limited = Limited(
        {"name": "a", "requests": 1, "by": "service", "except": ["10.0.0.0/8"]}
    )

    assert all(limited.passes("10.1.1.1") for _ in range(5))
    assert limited.passes("192.0.2.1")
    assert not limited.passes("192.0.2.1")
    assert limited.passes("10.1.1.1")
    assert limited.counted("a") == (1, 1, 0)


def test_what_was_counted_survives_a_change_of_the_document() -> None:
    limited = Limited({"name": "a", "requests": 2, "per": 60})
    assert limited.passes()
    limited.change(
        {"name": "b", "requests": 1, "per": 60}, {"name": "a", "requests": 2, "per": 60}
    )
    assert limited.passes()
    limited.change({"name": "a", "requests": 2, "per": 60})
    assert not limited.passes()
    limited.change({"name": "a", "requests": 1000, "per": 1})  # it holds from now on
    assert not limited.passes()
    limited.now += SECOND // 500
    assert limited.passes()


def test_services_do_not_count_for_each_other() -> None:
    web = Limited({"name": "a", "requests": 1, "per": 60})
    shop = Limited({"name": "a", "requests": 1, "per": 60}, owner="shop")
    shop.cells = web.cells
    shop.change({"name": "a", "requests": 1, "per": 60})

    assert web.passes()
    assert shop.passes()
    assert not web.passes()


def test_how_a_client_stands_is_told_and_counts_nothing() -> None:
    limited = Limited(
        {"name": "a", "requests": 3, "per": 3},
        {"name": "b", "requests": 1, "per": 60, "dry_run": True},
        {"name": "c", "requests": 1, "except": ["192.0.2.0/24"]},
    )
    limited.passes()
    told = [
        [*limited.limiter.standings(head(), client, limited.now)]
        for client in ("192.0.2.1", "10.0.0.1")
        for _ in range(2)
    ]
    mine = [(one.limit, one.left, one.wait_s, one.dry_run) for one in told[0]]

    assert mine == [("a", 2, 0.0, False), ("b", 0, 60.0, True)]
    assert told[0] == told[1]
    assert [(one.limit, one.left) for one in told[2]] == [("a", 3), ("b", 1), ("c", 1)]
    assert limited.counted("a") == (1, 0, 0)
    assert "RateLimiter" in repr(limited.limiter)


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        ({"requests": 1000, "per": 1}, 1_000_000),
        ({"requests": 1, "per": 86400}, 86400 * NS),
        ({"requests": 3, "per": 1}, 333_333_333),
        ({"requests": 1_000_000}, 1000),
    ],
)
def test_the_rate_is_what_was_written(limit: dict[str, Any], found: int) -> None:
    limited = Limited({"name": "a", "burst": 1, **limit})
    assert limited.passes()

    excess = limited.ask()
    assert excess is not None
    assert excess.waits[0][1] == found
