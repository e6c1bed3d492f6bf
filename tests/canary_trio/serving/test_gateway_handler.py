"""What a gateway answers itself: where no route leads on, and for routes without a service."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.routing.edge.table_codec import build_table
from canary_trio.serving.gateway_handler import GatewayHandler, Limited, of_service
from canary_trio.telemetry.counters import RouteLabels
from canary_trio.telemetry.decision_labels import Whose
from canary_trio.telemetry.observer import Observer
from http_trio import Response
from http_trio.http1.request_head import RequestHead
from tests.canary_trio.support.routes import request


@attrs.define
class FakeExchange:
    """What a handler sees of a request, and what it responds."""

    head: RequestHead
    protocol: str = "HTTP/1.1"
    client: str = "192.0.2.1"
    is_grpc: bool = False
    response_bytes: int = 0
    responses: list[Response] = attrs.field(factory=list)

    def respond(self, response: Response) -> None:
        self.responses.append(response)


def answered(handler: GatewayHandler, *asked: str, protocol: str) -> Response:
    exchange: Any = FakeExchange(request(*asked), protocol)
    handler(exchange)
    (response,) = exchange.responses
    found: Response = response
    return found


def handler_of(*routes: dict[str, Any]) -> GatewayHandler:
    handler = GatewayHandler(Observer(service="@edge"))
    config = build_table({"routes": list(routes)})
    pairs = [(route, handler.local(route, "@edge")) for route in config.routes]
    handler.index = RouteIndex(pairs)
    return handler


KNOWN = {"host": "a.org", "path_prefix": "/x", "respond": {"body": "hi"}}


@pytest.mark.parametrize(
    ("host", "target", "protocol", "status"),
    [
        ("a.org", "/x", "HTTP/2", 200),
        ("a.org", "/y", "HTTP/2", 404),
        ("b.org", "/x", "HTTP/2", 421),
        ("b.org", "/x", "HTTP/1.1", 404),
    ],
)
def test_an_unknown_host_is_misdirected_over_http2_only(
    host: str, target: str, protocol: str, status: int
) -> None:
    handler = handler_of(KNOWN)

    assert answered(handler, host, target, protocol=protocol).status == status


def test_without_a_table_it_says_so() -> None:
    handler = GatewayHandler(Observer(service="@edge"))
    response = answered(handler, "a", protocol="HTTP/1.1")

    assert response.status == 503
    assert b"no table yet" in response.body


def test_a_redirect_keeps_the_path_and_leads_to_no_stranger() -> None:
    handler = handler_of({"path_prefix": "/old", "to": "/"})

    def location(target: str) -> bytes:
        response = answered(handler, "a", target, protocol="HTTP/1.1")
        assert response.status == 308
        return dict(response.headers)[b"Location"]

    assert location("/old/x?y=1") == b"/x?y=1"
    assert location("/old//evil.org/") == b"/evil.org/"
    assert location("/old/\\\\evil.org") == b"/evil.org"


def test_what_is_answered_here_is_counted_with_its_reason() -> None:
    observer = Observer(service="@edge")
    handler = GatewayHandler(observer)
    config = build_table({"routes": [KNOWN]})
    pairs = [(route, handler.local(route, "@edge")) for route in config.routes]
    handler.index = RouteIndex(pairs)
    answered(handler, "a.org", "/x", protocol="HTTP/1.1")
    answered(handler, "z", "/x", protocol="HTTP/1.1")

    counted = {route.reason: sum(n) for route, n in observer.counters.routes.items()}
    assert counted == {"route": 1, "none": 1}


def limited_by(*routes: dict[str, Any]) -> tuple[GatewayHandler, Runtime]:
    """Give a gateway of local routes with their limits."""
    runtime = Runtime("@edge")
    handler = GatewayHandler(runtime.observer)
    pairs = []
    for route in build_table({"routes": list(routes)}).routes:
        limiter, leads_to = (
            runtime.limiter_of(route.rate_limits),
            handler.local(route, "@edge"),
        )
        if limiter is not None:
            whose = Whose("@edge", route.name)
            leads_to = Limited(leads_to, limiter, runtime.observer, whose)
        pairs.append((route, leads_to))
    handler.index = RouteIndex(pairs)
    return handler, runtime


def statuses(handler: GatewayHandler, *targets: str) -> list[int]:
    asked = [answered(handler, "a.org", one, protocol="HTTP/1.1") for one in targets]
    return [response.status for response in asked]


def limited_route(path: str, *limits: dict[str, Any]) -> dict[str, Any]:
    return {"path_prefix": path, "respond": {}, "rate_limits": list(limits)}


ONE = {"name": "one", "requests": 1, "per": 3600}


def test_a_route_has_limits_of_its_own() -> None:
    handler, runtime = limited_by(
        limited_route("/a", ONE),
        limited_route("/b", {**ONE, "name": "other"}),
        {"path_prefix": "/c", "respond": {}},
    )

    assert statuses(handler, "/a", "/a", "/b", "/c", "/c") == [200, 429, 200, 200, 200]
    assert runtime.observer.counters.refusals == {"rate_limited": 1}
    routes = runtime.observer.counters.routes
    assert routes[RouteLabels("", "", "rate_limited", "one")][4] == 1


def test_routes_share_a_limit_of_one_name() -> None:
    two = {**ONE, "requests": 2}
    handler, runtime = limited_by(limited_route("/a", two), limited_route("/b", two))

    assert statuses(handler, "/a", "/b", "/a", "/b") == [200, 200, 429, 429]
    counts = runtime.observer.counters.limits["one"]
    assert (counts.passed, counts.refused) == (2, 2)


@pytest.mark.parametrize(
    ("strip", "target", "asked", "judged"),
    [
        (True, "/api/x", "/x", "/api/x"),
        (True, "/./%61pi/x", "/x", "/api/x"),
        (True, "//api//x?a", "/x?a", "/api/x?a"),
        (False, "/api//x", "/api//x", "/api//x"),
        (False, "//api/x", "/api/x", "/api/x"),
        (False, "/./api/x", "/./api/x", "/./api/x"),
    ],
)
def test_a_request_is_judged_by_what_its_service_gets(
    strip: bool, target: str, asked: str, judged: str
) -> None:
    heads: list[RequestHead] = []
    route = {"path_prefix": "/api", "service": "a", "strip_prefix": strip}
    (made,) = build_table({"routes": [route]}).routes
    handler = GatewayHandler(Observer(service="@edge"))
    served: Any = lambda exchange: heads.append(exchange.head)  # noqa: E731
    handler.index = RouteIndex([(made, of_service(made, served, served))])

    exchange: Any = FakeExchange(request("a.org", target))
    handler(exchange)

    (head,) = heads
    assert (head.target, head.judged) == (asked.encode(), judged.encode())
    assert head.asked == target.encode()
