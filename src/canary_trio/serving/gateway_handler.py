"""The handler of a gateway: the route of a request, and what becomes of it.

A route leads to a handler: that of a service, or one that answers here. The table is
looked at once, so a request is routed by one revision.
"""

from __future__ import annotations

from time import monotonic_ns

from canary_trio.proxy.fields.path_prefix import leaves_root
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.routing.access.gate import RefusalKind
from canary_trio.routing.access.rate_limiter import RateLimiter
from canary_trio.routing.edge.model import FixedResponse, Redirect, Route
from canary_trio.routing.edge.rewriting import (
    judged_target,
    location_of,
    rewritten_target,
)
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.routing.request.paths import rest_of, with_one_slash
from canary_trio.serving.rewritten_head import with_target
from canary_trio.telemetry.decision_labels import DecisionLabels, Whose, unrouted
from canary_trio.telemetry.observer import Observer
from http_trio import Exchange, Handler, Response, error_response
from http_trio.http1.request_head import RequestHead

HEADS_KEPT = 1024
"""Heads that are kept as a route rewrites them; then all are forgotten."""

_KEPT_SIZE = 2048  # bytes of a head that is kept
_HTTP2 = "HTTP/2"
_SLASHES = (b"/", b"\\")


class GatewayHandler:
    """The handler of a gateway's listeners."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.index: RouteIndex[Handler] | None = None
        self._not_ready = error_response(
            503, "this gateway has no table yet", retry_after_s=1
        )
        self._no_route = error_response(404, "no route leads from this host and path")
        self._misdirected = error_response(421, "no route is for this host")
        self._refused = error_response(400, "the path has a .. or a NUL")
        self._answer = _LocalAnswer(observer, observer.unrouted)

    def __repr__(self) -> str:
        return f"<GatewayHandler {self.index}>"

    def __call__(self, exchange: Exchange) -> None:
        """Give a request to its route's handler."""
        index = self.index
        if index is None:
            self._answer.respond(exchange, self._not_ready)
            return
        head = exchange.head
        entry = index.find(head, exchange.client)
        if entry is not None:
            if head.target[1:2] in _SLASHES:
                plain = with_one_slash(head.target)
                exchange.head = with_target(head, plain, plain)
            entry.leads_to(exchange)
        elif index.is_refused(head.target):
            self._answer.respond(exchange, self._refused)
        elif exchange.protocol == _HTTP2 and not index.knows_host(head):
            self._answer.respond(exchange, self._misdirected)
        else:
            self._answer.respond(exchange, self._no_route)

    def limited(
        self, handler: Handler, limiter: RateLimiter | None, whose: Whose
    ) -> Handler:
        """Give a handler of what passes a route's limits; the same where it has none."""
        if limiter is None:
            return handler
        return Limited(handler, limiter, self._observer, whose)

    def local(self, route: Route, name: str) -> Handler:
        """Give the handler of a route that is answered here.

        Args:
            route: a redirect or a fixed response.
            name: of the gateway.
        """
        labels = unrouted(self._observer.counters, Whose(name, route.name), "route")
        answer = _LocalAnswer(self._observer, labels)
        if route.redirect is not None:
            return _Redirecting(route.redirect, route.prefix.encode(), answer)
        assert route.response is not None, "it leads to no service"
        return _Fixed(route.response, answer)


class Limited:
    """The handler of a route with limits: those that pass are given to another one.

    Args:
        handler: of what passes.
        limiter: the route's limits.
        observer: of the gateway.
        whose: the gateway and the route.
    """

    def __init__(
        self, handler: Handler, limiter: RateLimiter, observer: Observer, whose: Whose
    ) -> None:
        self._handler, self._limiter = handler, limiter
        self._observer, self._whose = observer, whose
        self._labels: dict[str, DecisionLabels] = {}

    def __call__(self, exchange: Exchange) -> None:
        """Give a request on, or respond that there are too many."""
        excess = self._limiter.check(exchange.head, exchange.client, monotonic_ns())
        if excess is None:
            self._handler(exchange)
            return
        kind, limit = RefusalKind.RATE_LIMITED.value, excess.limit
        counters = self._observer.counters
        counters.refused(kind)
        labels = self._labels.get(limit)
        if labels is None:
            labels = unrouted(counters, self._whose, kind, limit)
            self._labels[limit] = labels
        self._observer.respond(exchange, labels, excess.response())


def of_service(route: Route, handler: ProxyHandler, refuse: Handler) -> Handler:
    """Give the handler of a route to a service: rewriting, if the route does."""
    if route.rewrite is None:
        return handler
    return _Rewriting(route.prefix.encode(), route.rewrite.encode(), handler, refuse)


class _LocalAnswer:
    """Answers, and notes it."""

    def __init__(self, observer: Observer, labels: DecisionLabels) -> None:
        self._observer = observer
        self._labels = labels

    def respond(self, exchange: Exchange, response: Response) -> None:
        self._observer.respond(exchange, self._labels, response)


class _Fixed:
    def __init__(self, given: FixedResponse, answer: _LocalAnswer) -> None:
        self._response = Response(
            given.status, given.body.encode(), given.content_type.encode() or None
        )
        self._answer = answer

    def __call__(self, exchange: Exchange) -> None:
        self._answer.respond(exchange, self._response)


class _Redirecting:
    def __init__(self, to: Redirect, prefix: bytes, answer: _LocalAnswer) -> None:
        self._to, self._prefix, self._answer = to, prefix, answer

    def __call__(self, exchange: Exchange) -> None:
        location = location_of(self._to, self._prefix, exchange.head.target)
        response = Response(self._to.status, headers=((b"Location", location),))
        self._answer.respond(exchange, response)


class _Rewriting:
    """Asks a service with another prefix."""

    def __init__(
        self, prefix: bytes, rewrite: bytes, handler: ProxyHandler, refuse: Handler
    ) -> None:
        self._prefix, self._rewrite = prefix, rewrite
        self._handler, self._refuse = handler, refuse
        self._kept: dict[bytes, RequestHead] = {}

    def __call__(self, exchange: Exchange) -> None:
        head = exchange.head
        rewritten = self._kept.get(head.raw)
        if rewritten is None:
            if leaves_root(rest_of(head.target, self._prefix)):
                self._refuse(exchange)
                return
            how = head.target, self._prefix, self._rewrite
            rewritten = with_target(head, rewritten_target(*how), judged_target(*how))
            if len(head.raw) <= _KEPT_SIZE:
                if len(self._kept) >= HEADS_KEPT:
                    self._kept.clear()
                self._kept[head.raw] = rewritten
        exchange.head = rewritten
        self._handler(exchange)
