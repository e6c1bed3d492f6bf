"""The index of routes beside a slow and obvious one, and what each word of a route means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.errors import InvalidConfig
from canary_trio.routing.edge.route_index import HOSTS_KEPT, RouteIndex
from canary_trio.routing.edge.table_codec import build_table
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits
from tests.canary_trio.support.routes import HOSTS, request, route_tables, taken


def index_of(*routes: dict[str, Any]) -> RouteIndex[str]:
    config = build_table({"routes": list(routes)})
    return RouteIndex((route, str(route.service)) for route in config.routes)


def service_of(index: RouteIndex[str], *asked: str, **fields: str) -> str | None:
    entry = index.find(request(*asked, **fields), "192.0.2.1")
    return None if entry is None else entry.leads_to


SHOP = (
    {"host": "shop.org", "service": "shop"},
    {"host": "shop.org", "path_prefix": "/api", "service": "api"},
    {"host": "shop.org", "path_prefix": "/api/v2", "service": "api2"},
    {"host": "*.shop.org", "service": "below"},
    {"host": "*.eu.shop.org", "service": "europe"},
    {"path_prefix": "/health", "service": "health"},
)


@pytest.mark.parametrize(
    ("host", "target", "service"),
    [
        ("shop.org", "/", "shop"),
        ("SHOP.org:8443", "/x", "shop"),
        ("shop.org.", "/x?/api", "shop"),
        ("shop.org", "/api", "api"),
        ("shop.org", "/api?x", "api"),
        ("shop.org", "/api/x", "api"),
        ("shop.org", "/apix", "shop"),
        ("shop.org", "/api/v2/x/y/z", "api2"),
        ("shop.org", "/api/v22", "api"),
        ("shop.org", "//api", "api"),
        ("a.shop.org", "/api", "below"),
        ("b.a.shop.org", "/", "below"),
        ("a.eu.shop.org", "/", "europe"),
        ("eu.shop.org", "/", "below"),
        ("other.org", "/health/x", "health"),
        ("shop.org", "/health", "shop"),
        ("other.org", "/", None),
        ("myshop.org", "/", None),
    ],
)
def test_which_service_a_request_is_for(
    host: str, target: str, service: str | None
) -> None:
    assert service_of(index_of(*SHOP), host, target) == service


def test_a_host_whose_routes_do_not_match_leaves_it_to_wider_ones() -> None:
    index = index_of(
        {"host": "a.org", "path_prefix": "/x", "service": "exact"},
        {"host": "*.org", "service": "below"},
    )

    assert service_of(index, "a.org", "/x") == "exact"
    assert service_of(index, "a.org", "/y") == "below"


def test_more_conditions_win_then_the_order() -> None:
    beta = {"header": "X-Beta", "equals": "yes"}
    index = index_of(
        {"service": "plain"},
        {"method": "POST", "service": "post"},
        {**beta, "service": "beta"},
        {**beta, "method": "POST", "service": "both"},
    )

    assert service_of(index, "a") == "plain"
    assert service_of(index, "a", "/", X_Beta="yes") == "beta"
    assert service_of(index, "a", "/", X_Beta="no") == "plain"
    assert service_of(index, "a", "/", "POST") == "post"
    assert service_of(index, "a", "/", "POST", X_Beta="yes") == "both"
    assert service_of(index, "a", "*", "OPTIONS") == "plain"


def test_whether_a_host_is_known() -> None:
    index = index_of(
        {"host": ["a.org", "*.b.org"], "path_prefix": "/x", "service": "s"}
    )

    assert index.knows_host(request("A.org:1"))
    assert index.knows_host(request("c.b.org"))
    assert not index.knows_host(request("b.org"))
    assert index_of({"service": "s"}).knows_host(request("any"))


def test_hosts_that_strangers_make_up_do_not_pile_up() -> None:
    index = index_of(*SHOP)
    for number in range(HOSTS_KEPT + 10):
        service_of(index, f"{number}.shop.org")

    assert len(index._kept) <= HOSTS_KEPT
    assert service_of(index, "shop.org", "/api") == "api"


TARGETS = ["/", "/api", "/api/", "/api/v1", "/api/v1/x", "/apix", "/b//c/d", "/b", "//"]


@given(
    tables=st.lists(route_tables(), max_size=8),
    hosts=st.lists(st.sampled_from([*HOSTS, "y.c.b.a.org", "z"]), min_size=1),
    target=st.sampled_from(TARGETS),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    beta=st.sampled_from(["yes", "no", "other"]),
)
def test_the_index_takes_what_the_definition_says(
    tables: list[dict[str, Any]], hosts: list[str], target: str, method: str, beta: str
) -> None:
    try:
        config = build_table({"routes": tables})
    except InvalidConfig:  # a conflict
        return
    index = RouteIndex((route, place) for place, route in enumerate(config.routes))
    for host in hosts:
        head = request(host, target, method, X_Beta=beta)
        entry = index.find(head, "192.0.2.1")
        expected = taken(config.routes, head, host)

        assert (entry.route if entry else None) == expected


VALUES = st.sampled_from(["", "yes", "no", "YES"])


@given(
    st.lists(st.tuples(st.sampled_from(["/", "/a"]), VALUES | st.none()), max_size=4),
    st.sampled_from(["/", "/a", "/a/b"]),
    st.lists(VALUES, max_size=2),
)
def test_one_field_for_all_routes_is_read_as_any_conditions_are(
    routes: list[tuple[str, str | None]], target: str, sent: list[str]
) -> None:
    """Of a table with another condition somewhere, a whole view of the request is made."""
    tables: list[dict[str, Any]] = [
        {"path_prefix": path, "service": f"s{n}"}
        | ({} if value is None else {"header": "X-Beta", "equals": value})
        for n, (path, value) in enumerate(routes)
    ]
    other = {"path_prefix": "/other", "method": "GET", "service": "other"}
    try:
        quick, slow = index_of(*tables), index_of(*tables, other)
    except InvalidConfig:  # two alike
        return
    lines = "".join(f"x-beta:  {value} \r\n" for value in sent)
    raw = f"GET {target} HTTP/1.1\r\nHost: a.org\r\n{lines}\r\n".encode()
    head = parse_request_head(raw, Limits())
    found, expected = (one.find(head, "192.0.2.1") for one in (quick, slow))
    assert (found and found.leads_to) == (expected and expected.leads_to)
