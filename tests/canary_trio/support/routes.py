"""Routes and requests drawn for tests, and the slow, obvious answer to which one is taken."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from canary_trio.config.rules import MethodIs, ValueIs
from canary_trio.routing.edge.model import Route
from http_trio.http1.request_head import RequestHead, parse_request_head
from http_trio.limits import Limits
from tests.canary_trio.support.document_strategies import BASIC_AUTH, FORWARD_AUTH

HOSTS = ["a.org", "b.a.org", "c.b.a.org", "x.org"]
PREFIXES = ["/", "/api", "/api/", "/api/v1", "/apix", "/b//c", "/a%2Fb"]


def request(
    host: str, target: str = "/", method: str = "GET", **fields: str
) -> RequestHead:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    raw = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""])
    return parse_request_head(raw.encode(), Limits())


def is_match(route: Route, head: RequestHead, host: str) -> bool:
    """Tell whether a route matches, word for word as the docs say it."""
    assert head.host is not None
    name = host.lower()
    if route.hosts and not any(
        name.endswith(h[1:]) if h.startswith("*.") else name == h for h in route.hosts
    ):
        return False
    path = head.target.decode().split("?")[0]
    if path != route.prefix and not path.startswith(route.prefix + "/"):
        return False
    return all(_holds(condition, head) for condition in route.conditions)


def _holds(condition: object, head: RequestHead) -> bool:
    if isinstance(condition, MethodIs):
        return head.method.decode() in condition.methods
    assert isinstance(condition, ValueIs)
    line = f"\r\n{condition.key.name}: ".encode().lower()
    return line + condition.value.encode() + b"\r\n" in head.raw.lower()


def rank(route: Route, place: int, host: str) -> tuple[int, int, int, int]:
    """Give what the routes that match are compared by: the least is taken."""
    fitting = [
        len(h) if h.startswith("*.") else 1000
        for h in route.hosts
        if (host.endswith(h[1:]) if h.startswith("*.") else host == h)
    ]
    return (
        -max(fitting, default=0),
        -len(route.prefix),
        -len(route.conditions),
        place,
    )


def taken(routes: tuple[Route, ...], head: RequestHead, host: str) -> Route | None:
    """Look at all routes, and take the most specific one that matches."""
    found = [
        (rank(route, place, host.lower()), route)
        for place, route in enumerate(routes)
        if is_match(route, head, host)
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def route_tables() -> st.SearchStrategy[dict[str, Any]]:
    host = st.sampled_from([*HOSTS, *(f"*.{host}" for host in HOSTS)])
    hosts = st.one_of(host, st.lists(host, min_size=1, max_size=3, unique=True))
    return st.fixed_dictionaries(
        {"service": st.sampled_from(["one", "two", "three"])},
        optional={
            "host": hosts,
            "path_prefix": st.sampled_from(PREFIXES),
            "method": st.sampled_from(["GET", "POST", ["GET", "POST"]]),
            "strip_prefix": st.booleans(),
            "rate_limits": st.lists(
                st.sampled_from(
                    [
                        {"name": "a", "requests": 5},
                        {"name": "b", "requests": 1, "by": {"header": "X-Key"}},
                    ]
                ),
                unique_by=lambda limit: limit["name"],
            ),
            "basic_auth": BASIC_AUTH,
            "forward_auth": FORWARD_AUTH,
            "header": st.just("X-Beta"),
            "equals": st.sampled_from(["yes", "no"]),
        },
    ).filter(lambda table: ("header" in table) == ("equals" in table))
