"""What a routing decision costs, and how that grows with rules and arms.

    python -m benchmarks.routing

Prints microseconds of CPU time per decision, the best of several runs, for a browser's
request of 620 bytes; and milliseconds that it takes to read and compile a document.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

from canary_trio.config.document import load
from canary_trio.routing.decision import Chance
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.routing.edge.table_codec import build_table
from canary_trio.routing.router import Router
from canary_trio.routing.sticky_cookie import CookieSigner
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits

SECRET = b"s" * 32
ARMS: dict[str, Any] = {
    "stable": {"servers": ["http://a"]},
    "canary": {"servers": ["http://b"]},
}
FIVE = [
    {"header": "X-Canary", "equals": "always", "arm": "canary"},
    {"header": "X-Canary", "equals": "never", "arm": "stable"},
    {"cookie": "beta", "present": True, "arm": "canary"},
    {"path_prefix": "/v2/preview", "arm": "canary"},
    {"network": "10.20.0.0/16", "method": "POST", "arm": "canary"},
]
BROWSER = (
    "Host: shop.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
    "\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://shop.example.org/articles/1234567?page=3\r\n"
    "Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n"
)
CLIENT = "192.0.2.7"


def routes_of(**fields: Any) -> Router:
    config = load(json.dumps({"arms": ARMS, "ratio": 0.05, **fields}))
    return Router(config, service="web", secrets=[SECRET])


def request(target: str = "/articles/7654321?page=2", **fields: str) -> bytes:
    more = "".join(f"{name.replace('_', '-')}: {v}\r\n" for name, v in fields.items())
    return f"GET {target} HTTP/1.1\r\n{BROWSER}{more}\r\n".encode()


def cost_us(routes: Router, raws: list[bytes]) -> float:
    """Give microseconds per decision over these requests, in turn."""
    heads = [parse_request_head(raw, Limits()) for raw in raws]
    sequence = WeightedSequence()
    chance = Chance(random.random, secrets.token_bytes)
    heads *= max(1, 200 // len(heads))
    choose = routes.choose
    best = float("inf")
    for _ in range(25):
        begun = time.process_time_ns()
        for head in heads:
            choose(head, CLIENT, sequence, chance, secure=False)
        best = min(best, (time.process_time_ns() - begun) / len(heads))
    return best / 1e3


def session_cookies(count: int) -> list[str]:
    sessions = CookieSigner(SECRET, 0)
    return [sessions.mint(secrets.token_bytes)[1].decode() for _ in range(count)]


def with_cookies(count: int) -> list[bytes]:
    return [
        request(Cookie=f"session=0123456789abcdef; canary={value}; theme=dark")
        for value in session_cookies(count)
    ]


# === how many rules ===

KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "header equals": lambda n: {"header": "X-User", "equals": f"user{n}"},
    "cookie equals": lambda n: {"cookie": "uid", "equals": f"user{n}"},
    "query equals": lambda n: {"query": "user", "equals": f"user{n}"},
    "header prefix": lambda n: {"header": "X-User", "prefix": f"user{n}/"},
    "path prefix": lambda n: {"path_prefix": f"/articles/{n}"},
    "host": lambda n: {"host": f"s{n}.example.org"},
    "network": lambda n: {"network": f"10.{n // 256}.{n % 256}.0/24"},
    "method and path": lambda n: {"method": "POST", "path_prefix": f"/a/{n}"},
    "other headers": lambda n: {"header": f"X-User-{n}", "equals": "a"},
    "header regex": lambda n: {"header": "X-User", "regex": f"^user{n}$"},
    "percent": lambda n: {"header": "X-User", "percent": (n % 100) / 100},
}
COUNTS = (5, 10, 100, 1000)
SHOWS = request(X_User="someone", Cookie="uid=someone; theme=dark")


def main() -> None:
    print("us per decision (CPU):")
    for name, routes, raws in (
        ("nothing but a ratio", routes_of(), [request()]),
        ("five rules, ratio", routes_of(rules=FIVE), [request()]),
        ("sticky, user known", routes_of(sticky_sessions=True), with_cookies(100)),
        (
            "sticky, user known, five rules",
            routes_of(sticky_sessions=True, rules=FIVE),
            with_cookies(100),
        ),
        (
            "sticky, user not seen lately, five rules",
            routes_of(sticky_sessions=True, rules=FIVE),
            with_cookies(8192),
        ),
        ("sticky, new user", routes_of(sticky_sessions=True), [request()]),
        (
            "sticky by header",
            routes_of(sticky_sessions={"header": "X-User"}),
            [request(X_User=f"user{n}") for n in range(100)],
        ),
        (
            "hash by address",
            routes_of(style="hash"),
            [request()],
        ),
        ("a rule of the five", routes_of(rules=FIVE), [request(X_Canary="always")]),
    ):
        print(f"  {name:42}{cost_us(routes, raws):7.2f}")
    print(f"\n  {'rules':18}" + "".join(f"{count:9,}" for count in COUNTS))
    for name, make in KINDS.items():
        costs = []
        for count in COUNTS:
            rules = [{**make(n), "arm": "canary"} for n in range(count)]
            costs.append(cost_us(routes_of(rules=rules), [SHOWS]))
        print(f"  {name:18}" + "".join(f"{cost:9.2f}" for cost in costs))
    print(f"\n  {'arms':18}" + "".join(f"{count:9,}" for count in (2, 10, 100)))
    for name, fields in (("exact", {}), ("sticky", {"sticky_sessions": True})):
        costs = [cost_us(*of_arms(count, fields)) for count in (2, 10, 100)]
        print(f"  {name:18}" + "".join(f"{cost:9.2f}" for cost in costs))
    print(f"\n  {'routes of a gateway':34}" + "".join(f"{n:9,}" for n in ROUTES))
    for name, make_route in ROUTE_KINDS.items():
        costs = [index_us(*of_routes(make_route, count)) for count in ROUTES]
        print(f"  {name:34}" + "".join(f"{cost:9.2f}" for cost in costs))
    print("\nms to read and to compile:")
    for name, document in documents():
        read, compiled = times_ms(document)
        print(f"  {name:42}{read:7.2f}{compiled:7.2f}")


# === how many routes ===

ROUTES = (10, 100, 1000)
ROUTE_KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "a host each": lambda n: {"host": f"s{n}.example.org"},
    "a wildcard each": lambda n: {"host": f"*.s{n}.example.org"},
    "a path each, of one host": lambda n: {"host": "s.org", "path_prefix": f"/v1/a{n}"},
    "a path each, of 5 depths": lambda n: {"path_prefix": f"/{n}" + "/a" * (n % 5)},
    "a path each, and a header": lambda n: {
        "path_prefix": f"/v1/a{n}",
        "header": "X-Beta",
        "equals": "yes",
    },
}


def of_routes(
    make: Callable[[int], dict[str, Any]], count: int
) -> tuple[RouteIndex[str], list[bytes]]:
    """Give an index, and one request for each of its routes."""
    tables = [{**make(n), "service": "web"} for n in range(count)]
    requests = []
    for table in tables:
        host = table.get("host", "shop.example.org").replace("*.", "www.")
        target = table.get("path_prefix", "") + "/articles/7654321?page=2"
        fields = BROWSER.partition("\r\n")[2] + "X-Beta: yes\r\n"
        raw = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
        requests.append(raw.encode())
    routes = build_table({"routes": tables}).routes
    return RouteIndex((route, "web") for route in routes), requests


def index_us(index: RouteIndex[str], raws: list[bytes]) -> float:
    """Give microseconds that finding the route of a request adds, over all of them."""
    heads = [parse_request_head(raw, Limits()) for raw in raws]
    heads *= max(1, 200 // len(heads))
    find = index.find
    assert all(find(head, CLIENT) is not None for head in heads)
    best = float("inf")
    for _ in range(25):
        begun = time.process_time_ns()
        for head in heads:
            find(head, CLIENT)
        best = min(best, (time.process_time_ns() - begun) / len(heads))
    return best / 1e3


def of_arms(count: int, fields: dict[str, Any]) -> tuple[Router, list[bytes]]:
    others = {f"arm{n}": {"servers": [f"http://a{n}"]} for n in range(count - 2)}
    ratio = dict.fromkeys(["canary", *others], 0.0099)
    routes = routes_of(arms={**ARMS, **others}, ratio=ratio, **fields)
    return routes, with_cookies(100)


def documents() -> list[tuple[str, dict[str, Any]]]:
    servers = [f"http://10.0.{n // 250}.{n % 250}:8000" for n in range(1000)]
    rules = [{**KINDS["header equals"](n), "arm": "canary"} for n in range(1000)]
    arms = {"stable": {"servers": servers[:500]}, "canary": {"servers": servers[500:]}}
    return [
        ("two servers", {"arms": ARMS}),
        ("1,000 servers", {"arms": arms}),
        ("1,000 rules", {"arms": ARMS, "rules": rules}),
    ]


def times_ms(document: dict[str, Any]) -> tuple[float, float]:
    text = json.dumps(document).encode()
    read = compiled = float("inf")
    for _ in range(15):
        begun = time.process_time_ns()
        config = load(text)
        between = time.process_time_ns()
        Router(config, service="web", secrets=[SECRET])
        read = min(read, (between - begun) / 1e6)
        compiled = min(compiled, (time.process_time_ns() - between) / 1e6)
    return read, compiled


if __name__ == "__main__":
    main()
