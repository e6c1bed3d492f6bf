"""The admin listener: status, health, metrics, and what would become of a request.

It is for the operator's network, not for clients: it says where the servers are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from time import monotonic_ns

import attrs
import trio

from canary_trio.admin.certificates import describe_certificates
from canary_trio.admin.event_pages import EventPages, follow_events
from canary_trio.admin.exposition import CONTENT_TYPE
from canary_trio.admin.metrics import rendering as metrics
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.rehearsal_page import (
    REHEARSAL_BYTES,
    RehearsalPage,
    no_service,
)
from canary_trio.admin.status import describe, describe_service
from canary_trio.config.access import Access
from canary_trio.config.model import Balance
from canary_trio.proxy.changing.trial import Trial
from canary_trio.proxy.live import LiveConfig
from canary_trio.routing.access.explain import with_refusal
from canary_trio.routing.access.rate_limiter import Standing
from canary_trio.routing.edge.explain_route import explain_route
from canary_trio.routing.edge.model import Route
from canary_trio.routing.explain import Explanation, explain
from canary_trio.routing.request.request_spec import (
    BadRequestSpec,
    RequestSpec,
    read_description,
)
from canary_trio.routing.request.request_view import read_query
from http_trio import Exchange, Response

EXPLAIN_BYTES = 64 * 1024
"""Of a request that is described to /explain at most."""

_PAGES = (
    b"there are /status, /metrics, /events, /identity, /live, /ready, POST /explain"
    b" and POST /rehearse\n"
)
_JSON = b"application/json"
_ALLOWED = {b"/explain": b"POST", b"/rehearse": b"POST"}


class AdminHandler:
    """The handler of the admin listener."""

    def __init__(self, view: ProxyView) -> None:
        self._view = view
        events = view.runtime.observer.events
        self._rehearsal = RehearsalPage(view)
        self._events = EventPages(follow_events(events, view.control.instance))

    def __repr__(self) -> str:
        return f"<Admin of {self._view.service}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request by its path."""
        allowed = _ALLOWED.get(exchange.path, b"GET, HEAD")
        if exchange.method.encode() not in allowed.split(b", "):
            exchange.respond(Response(405, _PAGES, headers=((b"Allow", allowed),)))
            return
        match exchange.path:
            case b"/status":
                exchange.spawn(partial(_respond_status, self._view))
            case b"/explain":
                exchange.collect(EXPLAIN_BYTES, self._explain)
            case b"/rehearse":
                exchange.collect(REHEARSAL_BYTES, self._rehearsal)
            case b"/metrics":
                exchange.spawn(partial(_respond_metrics, self._view))
            case b"/events":
                self._events(exchange)
            case b"/identity":
                exchange.respond(_json(200, identity(self._view)))
            case b"/live" | b"/healthz":
                exchange.respond(Response(200, b"ok\n"))
            case b"/ready":
                exchange.respond(self._readiness())
            case _:
                exchange.respond(Response(404, _PAGES))

    def _readiness(self) -> Response:
        view = self._view
        if view.server is not None and view.server.leaving:
            return Response(503, b"draining\n")
        gateway_waits = view.gateway is not None and not view.control.ready.is_set()
        if gateway_waits or (view.gateway is None and view.runtime.live is None):
            return Response(503, b"no configuration yet\n")
        return Response(200, b"ready\n")

    def _explain(self, exchange: Exchange, body: bytes) -> None:
        try:
            exchange.respond(self._explanation(read_description(body)))
        except BadRequestSpec as exc:
            problems = [attrs.asdict(problem) for problem in exc.problems]
            exchange.respond(_json(400, {"problems": problems}))

    def _explanation(self, spec: RequestSpec) -> Response:
        view = self._view
        routed: dict[str, object] = {}
        if view.gateway is not None:
            service, spec, routed = explain_route(
                spec, view.gateway.routes, partial(_standings, view, spec)
            )
            part = view.gateway.parts.get(service or "")
            if part is None:
                return _json(200, routed)
            view = part
        live = view.runtime.live
        if live is None:
            return Response(503, f"{view.service} has no configuration yet\n".encode())
        trial, tries = live.trial, None
        if isinstance(trial, Trial):
            tries = trial.split.sure(spec.head(), spec.client, spec.certificate)
            if tries and trial.runtime.live is not None:
                live = trial.runtime.live
        found, key = explain(spec, live.router, live.revision, view.runtime.chance)
        told = _standings(view, spec, live.config.access)
        found = with_refusal(found, spec, live.config, told)
        if isinstance(trial, Trial):
            found = attrs.evolve(found, trial=trial.told(tries))
        return _json(200, {**routed, **attrs.asdict(_served(found, key, live))})


def _standings(
    view: ProxyView, spec: RequestSpec, of: Access | Route
) -> Iterable[Standing]:
    """Tell how a request stands with limits at this moment; it is not counted."""
    limiter = view.runtime.limiter_of(of.rate_limits)
    if limiter is None:
        return ()
    return limiter.standings(spec.head(), spec.client, monotonic_ns())


def _served(found: Explanation, key: bytes | None, live: LiveConfig) -> Explanation:
    """Add the servers that can serve it at this moment; no server's turn is taken."""
    if found.arm is None:
        return found
    arm, sticky = live.arms[found.arm], live.config.sticky_sessions
    usable = tuple(server.name for server in arm.state.server_set.usable)
    server = None
    if key is not None:
        by_user = sticky is not None and sticky.server
        if by_user or arm.config.balance is Balance.HASH:
            server = arm.pick(key)
    return attrs.evolve(
        found, servers=usable, server=None if server is None else server.name
    )


def _json(status: int, shown: dict[str, object]) -> Response:
    return Response(status, json.dumps(shown, indent=2).encode() + b"\n", _JSON)


def identity(view: ProxyView) -> dict[str, object]:
    """Say which proxies are here: what tells one life of a name from another."""
    own = {
        "service": view.service,
        "id": view.proxy_id,
        "instance": view.control.instance,
    }
    return {"proxies": [own]}


async def _respond_status(view: ProxyView, exchange: Exchange) -> None:
    """Respond with the status; between two services others have their turn."""
    name = read_query(exchange.query).get(b"service", b"").decode("utf-8", "replace")
    if name not in ("", view.service):
        exchange.respond(_status_of(view, name))
        return
    table = describe(view, with_services=False)
    parts = []
    served = view.gateway.parts if view.gateway and not name else {}
    for part_name, part in served.items():
        shown = json.dumps({part_name: describe_service(part)}, indent=2)
        parts.append(shown[1:-1])
        await trio.lowlevel.checkpoint()
    shown = json.dumps(table, indent=2).removesuffix("\n}")
    text = f'{shown},\n  "services": {{{",".join(parts)}}}\n}}\n'
    exchange.respond(Response(200, text.encode(), _JSON))


def _status_of(view: ProxyView, service: str) -> Response:
    """Respond with the status of one service of a gateway alone."""
    part = view.gateway.parts.get(service) if view.gateway else None
    if part is None:
        return Response(404, no_service(view, service).encode("utf-8", "replace"))
    certificates = describe_certificates(view)
    return _json(200, {**describe_service(part), "certificates": certificates})


async def _respond_metrics(view: ProxyView, exchange: Exchange) -> None:
    exchange.respond(Response(200, await metrics.render(view), CONTENT_TYPE))
