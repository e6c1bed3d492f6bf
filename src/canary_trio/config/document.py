"""The document: JSON to a `Config` and back, at the border, once.

What may stand where is said by shapes (`shapes`, `leaves`, `rule_tables`), put together
here. All faults of a document are found at once, each with its path; what several
fields must agree on is checked last, on what could be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from canary_trio.config.codec import (
    Fault,
    Shape,
    any_of,
    at,
    choice,
    each,
    either,
    flag,
    is_number,
    listed,
    number,
    optional,
    problems,
    seconds,
    show,
    table,
    whole,
)
from canary_trio.config.model import (
    CANARY,
    STABLE,
    WHOLE,
    Arm,
    Balance,
    Config,
    SameSite,
    Server,
    ServerMode,
    Sticky,
    Style,
    format_share,
)
from canary_trio.config.policies import (
    Connections,
    Ejection,
    HeaderChanges,
    Health,
    Mirror,
    OnChange,
    Retries,
    ServerLimits,
    Timeouts,
    UpstreamTls,
    may_lack,
)
from canary_trio.config.rule_codec import (
    ADDRESS_BITS,
    KEY,
    RULE_LIST,
    AddressBits,
    key_of,
    write_key,
)
from canary_trio.config.rules import Source
from canary_trio.config.scalars import (
    ARM_NAME,
    CHANGED_NAME,
    CONFIG_SERVER,
    COOKIE_NAME,
    DOMAIN,
    FIELD_NAMES,
    FIELDS,
    FILE,
    HEADER_NAME,
    HOST,
    HOST_AND_PORT,
    METHOD,
    PATH,
    RATIO,
    SERVER_URL,
    SHARE,
    status_codes,
)
from canary_trio.errors import InvalidConfig, Problem

SIZE_LIMIT = 512 * 1024
"""Bytes of a document: what the store takes."""


def load(text: bytes | str) -> Config:
    """Read a document.

    Raises:
        InvalidConfig: with all of its faults.
    """
    return build(parse(text))


def parse(text: bytes | str) -> dict[str, Any]:
    """Read JSON, of which nothing is known yet but that it is one object.

    Raises:
        InvalidConfig: it is not.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > SIZE_LIMIT:
        raise _invalid("$", f"{len(data)} bytes", f"at most {SIZE_LIMIT}")
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_object, parse_constant=_no_constant
        )
    except UnicodeDecodeError as exc:
        raise _invalid("$", f"a bad byte at {exc.start}", "UTF-8") from exc
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise _invalid("$", f"{exc.msg} at {place}", "JSON") from exc
    except RecursionError as exc:
        raise _invalid("$", "values nested too deeply", "a plain document") from exc
    except Fault as exc:
        raise _invalid("$", exc.found, exc.expected) from exc
    except ValueError as exc:  # a number of thousands of digits
        raise _invalid("$", str(exc).partition(";")[0], "a plain document") from exc
    if not isinstance(document, dict):
        raise _invalid("$", show(document), 'an object, such as {"arms": {...}}')
    return document


def build(document: Mapping[str, Any]) -> Config:
    """Make a parsed document a value.

    Raises:
        InvalidConfig: with all of its faults.
    """
    try:
        config: Config = DOCUMENT.read(document)
    except Exception as exc:
        found = [*problems(exc), *_disagreements(document)]
        raise InvalidConfig(sorted(found, key=lambda one: one.path)) from exc
    found = list(_disagreements(document))
    if found:
        raise InvalidConfig(found)
    return config


def dump(config: Config) -> str:
    """Write a document so that `load` gives the same value; defaults are left out."""
    return json.dumps(DOCUMENT.write(config), indent=2, ensure_ascii=False) + "\n"


# === arms ===

_DAY_S = 86400.0
_WAIT = seconds(0.01, _DAY_S)

_HEALTH = either(
    {False: None, True: Health()},
    table(
        Health,
        path=PATH,
        interval=seconds(0.1, 3600),
        timeout=seconds(0.01, 600),
        rise=whole(1, 100),
        fall=whole(1, 100),
        status=status_codes(least=1),
        jitter=number(0, 1),
        host=HOST_AND_PORT,
    ),
    "true, false, or a table",
)
_EJECTION = either(
    {False: Ejection(failures=0)},
    table(
        Ejection,
        failures=whole(0, 1_000_000),
        time=seconds(0.1, _DAY_S),
        longest=seconds(0.1, _DAY_S),
    ),
    "false, or a table",
)
_TIMEOUTS = table(
    Timeouts,
    connect=_WAIT,
    answer=_WAIT,
    idle=_WAIT,
    tunnel=_WAIT,
    request=optional(_WAIT),
)
_RETRIES = table(
    Retries,
    tries=whole(0, 5),
    budget=number(0, 1),
    per_second=number(0, 10_000),
    backoff=seconds(0, 60),
    longest_backoff=seconds(0, 60),
    status=status_codes(least=0),
)
_LIMITS = table(
    ServerLimits,
    in_flight=whole(1, 1_000_000),
    pending=whole(0, 1_000_000),
    wait=seconds(0, 600),
)
_HEADERS = table(HeaderChanges, add=FIELDS, set=FIELDS, remove=FIELD_NAMES)
_TLS = table(UpstreamTls, verify=flag(), ca=optional(FILE), server_name=optional(HOST))

_SERVER_TABLE = table(
    Server, url=SERVER_URL, weight=whole(1, 1000), mode=choice(ServerMode)
)


def _read_server(value: Any, _: object = None) -> Server:
    if isinstance(value, str):
        return Server(SERVER_URL.read(value))
    if not isinstance(value, dict):
        expected = "a URL such as http://10.0.0.1:8000, or a table with url"
        raise Fault(show(value), expected)
    server: Server = _SERVER_TABLE.read(value)
    return server


def _write_server(server: Server) -> Any:
    written = _SERVER_TABLE.write(server)
    return server.url if len(written) == 1 else written


_SERVERS = listed(
    Shape(_read_server, any_of(SERVER_URL.schema, _SERVER_TABLE.schema), _write_server),
    least=1,
    most=10_000,
    of="servers",
)


def _read_servers(value: Any, _: object = None) -> tuple[Server, ...]:
    servers: tuple[Server, ...] = _SERVERS.read(value)
    seen: set[str] = set()
    for place, server in enumerate(servers):
        if server.url in seen:
            raise at(Fault(show(server.url), "each server once"), f"[{place}]")
        seen.add(server.url)
    return servers


_ARM = table(
    Arm,
    servers=Shape(_read_servers, _SERVERS.schema, _SERVERS.write),
    balance=choice(Balance),
    hash_by=KEY,
    health=_HEALTH,
    ejection=_EJECTION,
    panic_threshold=number(0, 1),
    slow_start=seconds(0, 3600),
    fallback=optional(ARM_NAME),
    timeouts=_TIMEOUTS,
    retries=_RETRIES,
    limits=_LIMITS,
    request_headers=_HEADERS,
    answer_headers=_HEADERS,
    tls=_TLS,
)


def _read_arms(value: Any, _: object = None) -> Mapping[str, Arm]:
    if not isinstance(value, dict) or len(value) > _ARMS:
        found = f"{len(value)} arms" if isinstance(value, dict) else show(value)
        raise Fault(found, 'a table such as {"stable": {"servers": [...]}}')
    arms = each(
        lambda name: _read_arm(name, value[name]), ((n, n) for n in value), ".{}"
    )
    return MappingProxyType(dict(zip(value, arms, strict=True)))


def _read_arm(name: str, given: Any) -> Arm:
    ARM_NAME.read(name)
    if not isinstance(given, dict):
        raise Fault(show(given), 'a table such as {"servers": [...]}')
    arm: Arm = _ARM.read(given)
    if name == STABLE and "fallback" not in given:
        return attrs.evolve(arm, fallback=None)
    return arm


def _write_arms(arms: Mapping[str, Arm]) -> dict[str, Any]:
    written = {name: _ARM.write(arm) for name, arm in arms.items()}
    for name, arm in arms.items():
        if name == STABLE:
            written[name].pop("fallback", None)
            if arm.fallback is not None:
                written[name]["fallback"] = arm.fallback
    return written


_ARMS = 1000
_ARM_TABLE = Shape(
    _read_arms,
    {
        "type": "object",
        "propertyNames": ARM_NAME.schema,
        "additionalProperties": _ARM.schema,
        "required": [STABLE],
        "maxProperties": _ARMS,
    },
    _write_arms,
)


# === the rest ===


@attrs.frozen
class StickyTable(Sticky):
    """`Sticky` with its key in one of three fields."""

    cookie: str | None = may_lack(
        "The key is in a cookie of this name, which we sign. So it is by default, and"
        " the name is `canary`."
    )
    header: str | None = may_lack("The key is this header.")
    address: AddressBits | None = may_lack(
        "The key is the client's network: true, or the bits that count."
    )


_STICKY_FIELDS = {
    "epoch": whole(0, 2**31 - 1),
    "server": flag(),
    "forward": flag(),
    "max_age": optional(whole(1, 400 * 86400)),
    "domain": optional(DOMAIN),
    "same_site": choice(SameSite),
}
_OF_COOKIES = ("forward", "max_age", "domain", "same_site")
_STICKY = table(Sticky, **_STICKY_FIELDS)
_STICKY_TABLE = table(
    StickyTable,
    cookie=COOKIE_NAME,
    header=HEADER_NAME,
    address=ADDRESS_BITS,
    **_STICKY_FIELDS,
)


def _read_sticky(value: Any, _: object = None) -> Sticky:
    given: StickyTable = _STICKY_TABLE.read(value)
    named = [name for name in ("cookie", "header", "address") if name in value]
    if len(named) > 1:
        raise Fault(" and ".join(named), "one of cookie, header and address")
    key = key_of(given) or Sticky().key
    if key.source is not Source.COOKIE:
        for name in _OF_COOKIES:
            if name in value:
                raise at(
                    Fault(show(value[name]), "no such field: it is for cookies"),
                    f".{name}",
                )
    return Sticky(key, **{name: getattr(given, name) for name in _STICKY_FIELDS})


def _write_sticky(sticky: Sticky) -> Any:
    key = {} if sticky.key == Sticky().key else write_key(sticky.key)
    return {**key, **_STICKY.write(sticky)}


_CONNECTIONS_TABLE = table(
    Connections, change=choice(OnChange), time=seconds(0, _DAY_S)
)

DOCUMENT = table(
    Config,
    style=choice(Style),
    hash_by=KEY,
    ratio=RATIO,
    sticky_sessions=either(
        {False: None, True: Sticky()},
        Shape(_read_sticky, _STICKY_TABLE.schema, _write_sticky),
        'true, false, or a table such as {"cookie": "canary", "epoch": 1}',
    ),
    rules=RULE_LIST,
    mirror=optional(
        table(
            Mirror,
            arm=ARM_NAME,
            share=SHARE,
            methods=listed(METHOD, least=1, most=20, of="methods"),
            body=whole(0, 64 * 1024 * 1024),
            concurrency=whole(1, 10_000),
            timeout=seconds(0.01, 600),
        )
    ),
    connections=either(
        {change.value: Connections(change) for change in OnChange},
        _CONNECTIONS_TABLE,
        "keep, drain, recall, or a table with change and time",
    ),
    request_id=optional(CHANGED_NAME),
    start_traces=optional(number(0, 1)),
    decision_header=optional(CHANGED_NAME),
    config_server=CONFIG_SERVER,
    update_rate=seconds(0.1, 600),
    arms=_ARM_TABLE,
)
"""The whole document."""


# === what several fields must agree on ===


def _disagreements(document: Mapping[str, Any]) -> Iterator[Problem]:
    """As far as the fields can be read."""
    arms = document.get("arms")
    if not isinstance(arms, dict):
        return
    if STABLE not in arms:
        yield Problem("$.arms", _names(arms), f"an arm named {STABLE}")
    yield from _bad_shares(document.get("ratio", 0), arms)
    for path, name in _named_arms(document, arms):
        if isinstance(name, str) and name not in arms:
            yield _no_arm(path, name, arms)
    for name, arm in arms.items():
        if isinstance(arm, dict):
            yield from _bad_arm(name, arm)


def _bad_shares(given: Any, arms: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        ratio = RATIO.read(given)
    except (Fault, ExceptionGroup):
        return
    where = "$.ratio" + (".{}" if isinstance(given, dict) else "")
    for name, share in ratio.items():
        path = where.format(name)
        if name == STABLE:
            yield Problem(path, f"a share for {STABLE}", "shares for the others only")
        elif name not in arms and share:
            yield _no_arm(path, name, arms)
    if sum(ratio.values()) > WHOLE:
        total = format_share(sum(ratio.values()))
        yield Problem("$.ratio", f"shares that add up to {total}", "at most 1")


def _named_arms(
    document: Mapping[str, Any], arms: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Give where arms are named, and the name: (path, name)."""
    rules = document.get("rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            words = any(
                word in rule for word in ("canary-by-header", "canary-by-cookie")
            )
            yield f"$.rules[{place}].arm", rule.get("arm", CANARY if words else None)
    mirror = document.get("mirror")
    if isinstance(mirror, dict):
        yield "$.mirror.arm", mirror.get("arm")
    for name, arm in arms.items():
        if isinstance(arm, dict):
            yield f"$.arms.{name}.fallback", arm.get("fallback")


def _bad_arm(name: str, arm: Mapping[str, Any]) -> Iterator[Problem]:
    if arm.get("fallback") == name:
        yield Problem(f"$.arms.{name}.fallback", show(name), "another arm, or null")
    for field, short, long, kind in (
        ("ejection", "time", "longest", Ejection()),
        ("retries", "backoff", "longest_backoff", Retries()),
    ):
        given = arm.get(field)
        if not isinstance(given, dict):
            continue
        least = given.get(short, getattr(kind, short))
        most = given.get(long, getattr(kind, long))
        if is_number(least) and is_number(most) and most < least:
            path = f"$.arms.{name}.{field}.{long}"
            yield Problem(path, f"{most:g}", f"at least {short}, {least:g}")


def _no_arm(path: str, name: str, arms: Mapping[str, Any]) -> Problem:
    return Problem(path, f"no arm {name!r}", f"an arm of $.arms: {_names(arms)}")


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(table) or "none"


# === JSON ===


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(f"the field {twice!r} twice in one table", "each field once")
    return found


def _no_constant(text: str) -> Any:
    raise Fault(text, "a number that JSON knows")


def _invalid(path: str, found: str, expected: str) -> InvalidConfig:
    return InvalidConfig([Problem(path, found, expected)])
