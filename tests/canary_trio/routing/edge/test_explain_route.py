"""What is told of a request's route before the request is sent."""

from __future__ import annotations

import pytest

from canary_trio.routing.access.rate_limiter import Standing
from canary_trio.routing.edge.explain_route import explain_route
from canary_trio.routing.edge.table_codec import build_table
from canary_trio.routing.request.request_spec import RequestSpec

LIMITS = [
    {"name": "a", "requests": 5, "per": 60, "burst": 2, "by": {"header": "X-Key"}},
    {"name": "b", "requests": 1, "by": "service", "except": ["192.0.2.0/24"]},
]
ROUTES = build_table(
    {
        "routes": [
            {"path_prefix": "/x", "service": "one", "rate_limits": LIMITS},
            {"path_prefix": "/y", "service": "two"},
        ]
    }
).routes


def test_the_limits_of_its_route_that_it_counts_against_are_told() -> None:
    spec = RequestSpec("GET", "/x", (("Host", "h"),), "192.0.2.1")
    service, _, shown = explain_route(spec, ROUTES)

    assert service == "one"
    assert shown["route_rate_limits"] == [
        {
            "limit": "a",
            "by": "address, without header X-Key",
            "rule": "5 in 60 s, 2 at once",
            "dry_run": False,
            "left": None,
            "wait_s": 0.0,
        }
    ]


def test_what_a_client_must_show_for_its_route_is_told() -> None:
    rules = {"basic_auth": {"file": "staff"}, "forward_auth": {"url": "http://auth"}}
    routes = build_table({"routes": [{"service": "one", **rules}]}).routes
    spec = RequestSpec("GET", "/x", (("Host", "h"),), "10.0.0.1")
    _, _, shown = explain_route(spec, routes)

    assert shown["route_auth"] == [
        {"check": "basic_auth", "by": "the file staff"},
        {"check": "forward_auth", "by": "http://auth"},
    ]


def test_a_gateway_that_runs_says_what_is_left() -> None:
    told = Standing("a", "service", "1 in 1 s", dry_run=False, left=0, wait_s=0.5)
    spec = RequestSpec("GET", "/x", (("Host", "h"),), "10.0.0.1")
    _, _, shown = explain_route(spec, ROUTES, lambda _: [told])

    (limit,) = shown["route_rate_limits"]  # type: ignore[misc]
    assert (limit["left"], limit["wait_s"]) == (0, 0.5)  # type: ignore[has-type]


def test_a_route_without_limits_says_nothing_of_them() -> None:
    spec = RequestSpec("GET", "/y", (("Host", "h"),), "10.0.0.1")

    assert "route_rate_limits" not in explain_route(spec, ROUTES)[2]


@pytest.mark.parametrize(
    ("target", "route", "asked"),
    [
        ("/x/a", "*/x", "/x/a"),
        ("//x//a", "*/x", "/x//a"),
        ("/%78/a", "*/x", "/%78/a"),
        ("/old/a%20b", "*/old", "/new/a%20b"),
        ("//%6fld/a%20b?c", "*/old", "/new/a%20b?c"),
        ("/x/../old", None, "/x/../old"),
    ],
)
def test_however_a_path_is_spelled_its_service_is_asked_as_the_gateway_asks_it(
    target: str, route: str | None, asked: str
) -> None:
    tables = [
        {"path_prefix": "/x", "service": "one"},
        {"path_prefix": "/old", "service": "two", "rewrite_prefix": "/new"},
    ]
    spec = RequestSpec("GET", target, (("Host", "h"),), "10.0.0.1")
    _, as_asked, shown = explain_route(spec, build_table({"routes": tables}).routes)
    assert (shown["route"], as_asked.target) == (route, asked)
    assert shown.get("status") == (None if route else 400)
