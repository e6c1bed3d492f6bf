"""The document of a gateway: JSON to a `GatewayConfig` and back. Pure.

It is read as a service's document is, by the same codecs: all faults are found at once,
each with its path. Two routes that match the same requests with the same rank are a
fault, which is told with both paths: nobody could tell which of them is meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from canary_trio.config.access import RateLimit
from canary_trio.config.codec import (
    Codec,
    Fault,
    Schema,
    note_step,
    problems,
    show,
    table,
)
from canary_trio.config.document import parse
from canary_trio.config.parts.checks import oddities
from canary_trio.config.parts.history_codec import HISTORY
from canary_trio.config.parts.schema_mark import marked
from canary_trio.config.parts.times import seconds
from canary_trio.config.policies import KeptHistory, described
from canary_trio.config.rules import Condition, MethodIs
from canary_trio.errors import InvalidConfig, Problem
from canary_trio.routing.edge.model import GatewayConfig, Route
from canary_trio.routing.edge.route_codec import ROUTE
from canary_trio.routing.request.paths import plain_path

ROUTES = 10_000
"""Routes of a table at most."""

SERVICES = 2_000
"""Services of a table at most."""


def _decode_routes(value: Any) -> tuple[Route, ...]:
    if not isinstance(value, list) or len(value) > ROUTES:
        found = f"{len(value)} of them" if isinstance(value, list) else show(value)
        raise Fault(found, f"a list of at most {ROUTES} routes")
    routes: dict[int, Route] = {}  # those that can be read, by their places
    faults: list[Exception] = []
    for place, given in enumerate(value):
        try:
            routes[place] = ROUTE.decode(given)
        except Exception as exc:
            faults.append(note_step(exc, f"[{place}]"))
    faults += _conflicts(routes)
    faults += _names_twice(routes, value)
    faults += _limits_apart(routes)
    services = {r.service for r in routes.values() if r.service is not None}
    if len(services) > SERVICES:
        faults.append(Fault(f"{len(services)} services", f"at most {SERVICES}"))
    if faults:
        raise ExceptionGroup("routes", faults)
    return tuple(routes.values())


def _conflicts(routes: Mapping[int, Route]) -> Iterator[Exception]:
    """Find routes that match the same with the same rank."""
    seen: dict[object, int] = {}
    for place, route in routes.items():
        conditions = frozenset(map(_unordered, route.conditions))
        for host in route.hosts or ("",):
            stem = plain_path(route.prefix.encode()).rstrip(b"/")
            key = (host, stem, conditions)
            first = seen.setdefault(key, place)
            if first != place:
                what = f"the same host, path and conditions as $.routes[{first}]"
                expected = "each kind of request in one route"
                yield note_step(Fault(what, expected), f"[{place}]")
                break


def _unordered(condition: Condition) -> object:
    if isinstance(condition, MethodIs):
        return frozenset(condition.methods)
    return condition


def _names_twice(routes: Mapping[int, Route], given: list[Any]) -> Iterator[Exception]:
    seen: dict[str, int] = {}
    for place, route in routes.items():
        if given[place].get("name") is None:
            continue
        first = seen.setdefault(route.name, place)
        if first != place:
            fault = Fault(f"the name of $.routes[{first}]", "each name once")
            yield note_step(fault, f"[{place}].name")


def _limits_apart(routes: Mapping[int, Route]) -> Iterator[Exception]:
    """Find limits of one name that are not the same: what would they count together?"""
    seen: dict[str, tuple[RateLimit, str]] = {}
    for place, route in routes.items():
        for number, limit in enumerate(route.rate_limits):
            step = f"[{place}].rate_limits[{number}]"
            first, where = seen.setdefault(limit.name, (limit, step))
            if first != limit:
                found = f"the name of $.routes{where}, which says something else"
                expected = "the same limit, or another name"
                yield note_step(Fault(found, expected), f"{step}.name")


ROUTE_LIST = Codec(
    _decode_routes,
    {"type": "array", "items": ROUTE.schema, "maxItems": ROUTES},
    lambda routes: [ROUTE.encode(route) for route in routes],
)


@attrs.frozen
class _Table:
    """The fields of the document; the value is a `GatewayConfig`."""

    routes: tuple[Route, ...] = described(
        "The routes; of those that match a request the most specific one is taken: by"
        " host, then the longest path, then the most conditions, then their order."
    )
    update_rate: float = described(
        "Seconds after which the store is asked again at the latest, 0.1 to 600.",
        default=30.0,
    )
    history: KeptHistory = described(
        "How many revisions of the table are kept; who writes clears older ones.",
        factory=KeptHistory,
    )


_DOCUMENT = marked(
    table(_Table, routes=ROUTE_LIST, update_rate=seconds(0.1, 600), history=HISTORY)
)

TABLE_SCHEMA: Schema = _DOCUMENT.schema
"""The whole document, in JSON Schema."""


def load_table(given: bytes | str) -> GatewayConfig:
    """Read the document of a gateway.

    Raises:
        InvalidConfig: with all of its faults.
    """
    return build_table(parse(given))


def build_table(document: Mapping[str, Any]) -> GatewayConfig:
    """Make a parsed document a value.

    Raises:
        InvalidConfig: with all of its faults.
    """
    odd = list(oddities(document))
    if odd:
        raise InvalidConfig(sorted(odd, key=lambda problem: problem.path))
    try:
        found: _Table = _DOCUMENT.decode(document)
    except Exception as exc:
        faults = [_of_service(problem) for problem in problems(exc)]
        raise InvalidConfig(sorted(faults, key=lambda problem: problem.path)) from exc
    return GatewayConfig(found.routes, found.update_rate, found.history)


def _of_service(problem: Problem) -> Problem:
    """Say what is the matter where somebody gives a service's document."""
    if problem.path != "$.arms":
        return problem
    return Problem(
        problem.path,
        "arms, as in the document of a service",
        "routes: a name with @ is a gateway's, whose routes name services",
    )


def dump_table(config: GatewayConfig) -> str:
    """Write a document so that `load_table` gives the same value."""
    shown = _DOCUMENT.encode(_Table(config.routes, config.update_rate, config.history))
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
