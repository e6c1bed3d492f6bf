"""One route of a gateway's table: JSON to a `Route` and back. Pure.

A table says whom the route is for (host, path, method, tests of values, all of which must
hold), and what becomes of a request: a service, a redirect or a fixed response. One file,
since a table's fields, how they are read and how they are written are one thing.
"""

from __future__ import annotations

from typing import Any

import attrs

from canary_trio.config.access import RateLimit
from canary_trio.config.auth import BasicAuth, ForwardAuth
from canary_trio.config.codec import (
    Codec,
    Fault,
    boolean,
    integer,
    list_of,
    note_step,
    show,
    table,
    text,
)
from canary_trio.config.parts.auth_codec import BASIC_AUTH, FORWARD_AUTH
from canary_trio.config.parts.condition_codec import (
    CONDITIONS,
    ConditionTable,
    conditions_of,
    in_order,
    write_condition,
)
from canary_trio.config.parts.rate_limit_codec import RATE_LIMITS
from canary_trio.config.policies import described, may_lack
from canary_trio.config.rules import Condition, HostIs, MethodIs, PathPrefix
from canary_trio.config.scalars import RULE_NAME, VALUE
from canary_trio.routing.edge.model import FixedResponse, Redirect, Route
from canary_trio.routing.request.paths import is_ambiguous

_MOST_INNER = 20  # tables in one `all`
_BODY = 16 * 1024
_BESIDE_SERVICE = ("strip_prefix", "rewrite_prefix", "basic_auth", "forward_auth")
_STATUSES = (301, 302, 303, 307, 308)

SERVICE = text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
    "the name of a service: letters, digits, - _ and ., at most 63",
)
_PREFIX = text(r"/[!\"$->@-~]{0,2000}", "a path that begins with /, without ? and #")
_TO = text(
    r"(?:https?://[A-Za-z0-9\[][!\"$->@-\[\]-~]{0,1990}|/(?:[!\"$-.0->@-\[\]-~][!\"$->@-\[\]-~]{0,1990})?)",
    "http://..., https://... or a path such as /new, without ? and #",
)
_WORDS_OF_CONDITIONS = (
    "header",
    "cookie",
    "query",
    "equals",
    "prefix",
    "regex",
    "present",
)
_TESTS = {name: CONDITIONS[name] for name in (*_WORDS_OF_CONDITIONS, "network")}


@attrs.frozen
class RouteConditions:
    """Tests of values, as rules have them."""

    header: str | None = may_lack("The header whose value is tested.")
    cookie: str | None = may_lack("The cookie whose value is tested.")
    query: str | None = may_lack("The query parameter whose value is tested.")
    equals: str | None = may_lack("The value is this.")
    prefix: str | None = may_lack("The value begins with this.")
    regex: str | None = may_lack("The value has this in it: an RE2 pattern.")
    present: bool | None = may_lack(
        "true: it is there, with whatever value; false: it is not."
    )
    network: tuple[Any, ...] | None = may_lack(
        "The client's address is in one of these networks."
    )

    def read(self) -> list[Condition]:
        """Give the conditions, each by itself; raises Fault where they disagree."""
        named = {name: getattr(self, name) for name in _TESTS}
        return conditions_of(ConditionTable(**named))


@attrs.frozen
class RouteTable(RouteConditions):
    """The fields of one route."""

    name: str | None = may_lack(
        "How it is called in logs and commands; by default its host and its path."
    )
    host: tuple[str, ...] | None = may_lack(
        "The host, without its port, is one of these; `*.example.org` matches below it."
    )
    path_prefix: str | None = may_lack(
        "The path is this, or goes on behind it with a slash."
    )
    method: tuple[str, ...] | None = may_lack("The method is one of these.")
    all: tuple[RouteConditions, ...] = described(
        "Further conditions, for tests of several values.", default=()
    )
    service: str | None = may_lack("The service that serves these requests.")
    strip_prefix: bool = described(
        "Whether the service is asked without `path_prefix`.", default=False
    )
    rewrite_prefix: str | None = may_lack(
        "What the service is asked for in place of `path_prefix`."
    )
    to: str | None = may_lack(
        "Where the client is redirected, in place of a service: a URL or a path."
    )
    status: int | None = may_lack(
        "The status of that redirect: 301, 302, 303, 307 or 308, which is the default."
    )
    keep_path: bool | None = may_lack(
        "Whether a redirect takes along what follows `path_prefix`, and the query; true"
        " by default."
    )
    respond: FixedResponse | None = may_lack(
        "A fixed response, in place of a service: status, body, content_type."
    )
    rate_limits: tuple[RateLimit, ...] = described(
        "How many requests may pass in a time; beyond it 429 with Retry-After. Routes with"
        " a limit of the same name share it.",
        default=(),
    )
    basic_auth: BasicAuth | None = may_lack(
        "A name and a password that a client must have, as in a service's `access`."
    )
    forward_auth: ForwardAuth | None = may_lack(
        "A server that is asked whether a request may pass, as in a service's `access`."
    )


def _read_status(value: Any) -> int:
    if type(value) is not int or value not in _STATUSES:
        raise Fault(show(value), f"one of {', '.join(map(str, _STATUSES))}")
    return value


def _read_body(value: Any) -> str:
    if not isinstance(value, str) or len(value.encode()) > _BODY:
        raise Fault(show(value), f"text of at most {_BODY} bytes")
    return value


_ROUTE_TABLE = table(
    RouteTable,
    name=RULE_NAME,
    host=CONDITIONS["host"],
    path_prefix=_PREFIX,
    method=CONDITIONS["method"],
    **_TESTS,
    all=list_of(
        table(RouteConditions, **_TESTS), most=_MOST_INNER, of="tables of conditions"
    ),
    service=SERVICE,
    strip_prefix=boolean(),
    rewrite_prefix=_PREFIX,
    to=_TO,
    status=Codec(_read_status, {"enum": list(_STATUSES)}),
    keep_path=boolean(),
    respond=table(
        FixedResponse,
        status=integer(200, 599),
        body=Codec(
            _read_body,
            {
                "title": f"text of at most {_BODY} bytes",
                "type": "string",
                "maxLength": _BODY,
            },
        ),
        content_type=VALUE,
    ),
    rate_limits=RATE_LIMITS,
    basic_auth=BASIC_AUTH,
    forward_auth=FORWARD_AUTH,
)

# === reading ===


def _decode_route(value: Any) -> Route:
    if not isinstance(value, dict):
        raise Fault(show(value), 'a table such as {"host": ..., "service": ...}')
    given: RouteTable = _ROUTE_TABLE.decode(value)
    _check_target(given)
    conditions = given.read()
    for place, inner in enumerate(given.all):
        try:
            found = inner.read()
            if not found:
                raise Fault("no condition", "at least one")
        except Exception as exc:
            raise note_step(exc, f".all[{place}]") from None
        conditions += found
    if given.method is not None:
        conditions.append(MethodIs(tuple(dict.fromkeys(given.method))))
    hosts = tuple(dict.fromkeys(_plain_host(host) for host in given.host or ()))
    prefix = (given.path_prefix or "").rstrip("/")
    if is_ambiguous(prefix.encode()):
        fault = Fault(
            show(prefix), "a path without .. and NUL, which no request may have"
        )
        raise note_step(fault, ".path_prefix")
    redirect = None
    if given.to is not None:
        keep_path = True if given.keep_path is None else given.keep_path
        redirect = Redirect(given.to, given.status or 308, keep_path)
    return Route(
        name=given.name or default_name(hosts, prefix),
        hosts=hosts,
        prefix=prefix,
        conditions=in_order(conditions),
        rewrite=_rewrite_of(given),
        service=given.service,
        redirect=redirect,
        response=given.respond,
        rate_limits=given.rate_limits,
        basic_auth=given.basic_auth,
        forward_auth=given.forward_auth,
    )


def default_name(hosts: tuple[str, ...], prefix: str) -> str:
    """Give the name of a route that was given none.

    >>> default_name(("shop.example.org",), "/api"), default_name((), "")
    ('shop.example.org/api', '*/')
    """
    return (hosts[0] if hosts else "*") + (prefix or "/")


def _plain_host(host: str) -> str:
    return host.lower().rstrip(".")


def _check_target(given: RouteTable) -> None:
    """Check that there is one target, and nothing that belongs to another one."""
    targets = [
        name
        for name in ("service", "to", "respond")
        if getattr(given, name) is not None
    ]
    if len(targets) != 1:
        found = " and ".join(targets) or "none of them"
        raise Fault(found, "one of service, to (a redirect) and respond")
    strays = {
        "service": ("status", "keep_path"),
        "to": _BESIDE_SERVICE,
        "respond": ("status", "keep_path", *_BESIDE_SERVICE),
    }
    for name in strays[targets[0]]:
        value = getattr(given, name)
        if value is not None and value is not False:
            other = "service" if name in _BESIDE_SERVICE else "to"
            found = show(value) if isinstance(value, str | int) else "a table"
            raise note_step(
                Fault(found, f"no such field: it is beside `{other}`"), f".{name}"
            )
    if given.strip_prefix and given.rewrite_prefix is not None:
        raise Fault("strip_prefix and rewrite_prefix", "one of the two")


def _rewrite_of(given: RouteTable) -> str | None:
    if given.strip_prefix:
        return ""
    if given.rewrite_prefix is None:
        return None
    return given.rewrite_prefix.rstrip("/")


# === writing ===


def _encode_route(route: Route) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if route.name != default_name(route.hosts, route.prefix):
        shown["name"] = route.name
    if route.hosts:
        shown |= write_condition(HostIs(route.hosts))
    if route.prefix:
        shown |= {"path_prefix": route.prefix}
    further = []
    kinds: set[type] = set()
    for condition in route.conditions:
        assert not isinstance(condition, PathPrefix | HostIs), "they have fields"
        if type(condition) in kinds:
            further.append(write_condition(condition))
        else:
            shown |= write_condition(condition)
        kinds.add(type(condition))
    if further:
        shown["all"] = further
    if route.rate_limits:
        shown["rate_limits"] = RATE_LIMITS.encode(route.rate_limits)
    if route.basic_auth is not None:
        shown["basic_auth"] = BASIC_AUTH.encode(route.basic_auth)
    if route.forward_auth is not None:
        shown["forward_auth"] = FORWARD_AUTH.encode(route.forward_auth)
    return {**shown, **_encode_target(route)}


def _encode_target(route: Route) -> dict[str, Any]:
    if route.redirect is not None:
        shown: dict[str, Any] = {"to": route.redirect.to}
        if route.redirect.status != Redirect("").status:
            shown["status"] = route.redirect.status
        if not route.redirect.keep_path:
            shown["keep_path"] = False
        return shown
    if route.response is not None:
        return {"respond": attrs.asdict(route.response)}
    shown = {"service": route.service}
    if route.rewrite == "":
        shown["strip_prefix"] = True
    elif route.rewrite is not None:
        shown["rewrite_prefix"] = route.rewrite
    return shown


_TARGETS = [{"required": [name]} for name in ("service", "to", "respond")]
ROUTE = Codec(_decode_route, {**_ROUTE_TABLE.schema, "anyOf": _TARGETS}, _encode_route)
"""A route."""
