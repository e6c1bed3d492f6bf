"""Which route of a gateway a described request would take, and what comes of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from canary_trio.routing.access.explain import checks_of, limits_of
from canary_trio.routing.access.rate_limiter import Standing
from canary_trio.routing.edge.model import Route
from canary_trio.routing.edge.rewriting import location_of, rewritten_target
from canary_trio.routing.edge.route_index import RouteIndex
from canary_trio.routing.request.paths import with_one_slash
from canary_trio.routing.request.request_spec import RequestSpec


def explain_route(
    spec: RequestSpec,
    routes: Sequence[Route],
    standings: Callable[[Route], Iterable[Standing]] | None = None,
) -> tuple[str | None, RequestSpec, dict[str, object]]:
    """Find the route of a request.

    Gives the service that it is for, None if it is answered by the gateway; the request
    as the service is asked; and what is shown of the route.

    Args:
        spec: the request.
        routes: of the table.
        standings: how it stands with the limits of a route of a gateway that runs; None
            where none is asked.

    Raises:
        BadRequestSpec: it could not be sent so.
    """
    head = spec.head()
    index = RouteIndex((route, None) for route in routes)
    entry = index.find(head, spec.client)
    if entry is None:
        refused = index.is_refused(head.target)
        if refused:
            why = "the path has a .. or a NUL, and can be read in two ways"
        elif not index.knows_host(head):
            why = "no route is for this host"
        else:
            why = "no route is for this path"
        shown: dict[str, object] = {
            "route": None,
            "service": None,
            "status": 400 if refused else 404,
            "why": why,
        }
        return None, spec, shown
    route, prefix = entry.route, entry.route.prefix.encode()
    shown = {"route": route.name, "service": route.service}
    if route.rate_limits:
        told = limits_of(spec, route.rate_limits)
        if standings is not None:
            told = list(standings(route))
        shown["route_rate_limits"] = [attrs.asdict(one) for one in told]
    if checks := checks_of(route):
        shown["route_auth"] = [dict(one) for one in checks]
    if route.redirect is not None:
        location = location_of(route.redirect, prefix, head.target)
        shown |= {"status": route.redirect.status, "location": location.decode()}
    elif route.response is not None:
        shown["status"] = route.response.status
    elif (asked := _asked_target(head.target, route)) != head.target:
        text = asked.decode("ascii", "backslashreplace")
        shown["target"] = text
        host = (head.host or b"localhost").decode("ascii", "backslashreplace")
        others = [pair for pair in spec.headers if pair[0].lower() != "host"]
        headers = (("Host", host), *others)
        spec = attrs.evolve(spec, target=text, headers=headers)
    return route.service, spec, shown


def _asked_target(target: bytes, route: Route) -> bytes:
    """Give what the service of a route is asked for."""
    target = with_one_slash(target)
    if route.rewrite is None:
        return target
    return rewritten_target(target, route.prefix.encode(), route.rewrite.encode())
