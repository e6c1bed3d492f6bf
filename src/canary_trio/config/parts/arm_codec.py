"""The arms of a document: what may stand in each, and their servers. Pure.

One file, since a reader looks for the fields of an arm in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import attrs

from canary_trio.config.codec import (
    Codec,
    Fault,
    any_of,
    boolean,
    each,
    enumeration,
    integer,
    list_of,
    note_step,
    number,
    optional,
    show,
    table,
    word_or,
)
from canary_trio.config.model import (
    STABLE,
    Arm,
    Balance,
    Protocol,
    Server,
    ServerMode,
)
from canary_trio.config.parts.condition_codec import KEY
from canary_trio.config.parts.times import seconds
from canary_trio.config.policies import (
    ArmTimeouts,
    Coding,
    Compress,
    Ejection,
    HeaderRules,
    Health,
    Retries,
    ServerLimits,
    UpstreamTls,
)
from canary_trio.config.scalars import (
    ARM_NAME,
    FIELD_NAMES,
    FIELDS,
    FILE,
    GRPC_SERVICE,
    HOST,
    HOST_AND_PORT,
    MEDIA_TYPE,
    PATH,
    status_codes,
)
from canary_trio.config.url import SERVER_URL
from http_trio.hosts.introduction import ProxyVersion

DAY_S = 86400.0
"""The longest of most times."""

_WAIT = seconds(0.01, DAY_S)
_HEALTH = word_or(
    {False: None, True: Health()},
    table(
        Health,
        path=PATH,
        interval=seconds(0.1, 3600),
        timeout=seconds(0.01, 600),
        rise=integer(1, 100),
        fall=integer(1, 100),
        status=status_codes(least=1),
        jitter=number(0, 1),
        host=HOST_AND_PORT,
        grpc=optional(GRPC_SERVICE),
    ),
    "true, false, or a table",
)
_EJECTION = word_or(
    {False: Ejection(failures=0)},
    table(
        Ejection,
        failures=integer(0, 1_000_000),
        time=seconds(0.1, DAY_S),
        longest=seconds(0.1, DAY_S),
    ),
    "false, or a table",
)
_TIMEOUTS = table(
    ArmTimeouts,
    connect=_WAIT,
    response=_WAIT,
    idle=_WAIT,
    tunnel=_WAIT,
    request=optional(_WAIT),
)
_RETRIES = table(
    Retries,
    tries=integer(0, 5),
    budget=number(0, 1),
    per_second=number(0, 10_000),
    backoff=seconds(0, 60),
    longest_backoff=seconds(0, 60),
    status=status_codes(least=0),
)
_LIMITS = table(
    ServerLimits,
    in_flight=integer(1, 1_000_000),
    pending=integer(0, 1_000_000),
    wait=seconds(0, 600),
    client_share=number(0, 1),
)
_HEADERS = table(HeaderRules, add=FIELDS, set=FIELDS, remove=FIELD_NAMES)
TLS = table(
    UpstreamTls,
    verify=boolean(),
    ca=optional(FILE),
    server_name=optional(HOST),
    client_cert=optional(FILE),
    client_key=optional(FILE),
)
"""How servers with https:// are verified."""
_COMPRESS = word_or(
    {False: None, True: Compress()},
    table(
        Compress,
        types=list_of(MEDIA_TYPE, least=1, most=100, of="media types"),
        codings=list_of(enumeration(Coding), least=1, most=2, of="codings"),
        least=integer(0, 2**30),
        level=integer(1, 9),
    ),
    "true, false, or a table",
)
_SERVER_TABLE = table(
    Server,
    url=SERVER_URL,
    weight=integer(1, 1000),
    mode=enumeration(ServerMode),
    protocol=enumeration(Protocol),
    proxy_protocol=optional(enumeration(ProxyVersion)),
)
_PRIOR_KNOWLEDGE = "h2c:"


def _decode_server(value: Any) -> Server:
    if isinstance(value, str):
        return _settled(Server(SERVER_URL.decode(value)), None)
    if not isinstance(value, dict):
        expected = "a URL such as http://10.0.0.1:8000, or a table with url"
        raise Fault(show(value), expected)
    return _settled(_SERVER_TABLE.decode(value), value.get("protocol"))


def _settled(server: Server, given: str | None) -> Server:
    """Let the URL and the protocol, if one is given, say the same."""
    named = server.proxy_protocol
    if named is not None and (
        server.speaks_http2 or server.url.startswith(_PRIOR_KNOWLEDGE)
    ):
        expected = "null: over h2 many clients share a connection, which names one"
        raise note_step(Fault(show(named.value), expected), ".proxy_protocol")
    if server.url.startswith(_PRIOR_KNOWLEDGE):
        if given not in (None, Protocol.HTTP2.value):
            expected = "h2, which h2c:// means; or an http:// URL"
            raise note_step(Fault(show(given), expected), ".protocol")
        return attrs.evolve(server, protocol=Protocol.HTTP2)
    if server.speaks_http2 and server.url.startswith("http:"):
        expected = "http/1.1, which http:// means; or an h2c:// or https:// URL"
        raise note_step(Fault(show(given), expected), ".protocol")
    return server


def _encode_server(server: Server) -> Any:
    written = _SERVER_TABLE.encode(server)
    if server.url.startswith(_PRIOR_KNOWLEDGE):
        del written["protocol"]
    return server.url if len(written) == 1 else written


_SERVERS = list_of(
    Codec(
        _decode_server,
        cache(lambda: any_of(SERVER_URL.schema, _SERVER_TABLE.schema)),
        _encode_server,
    ),
    least=1,
    most=10_000,
    of="servers",
)


def _decode_servers(value: Any) -> tuple[Server, ...]:
    servers: tuple[Server, ...] = _SERVERS.decode(value)
    seen: set[str] = set()
    for place, server in enumerate(servers):
        if server.url in seen:
            raise note_step(Fault(show(server.url), "each server once"), f"[{place}]")
        seen.add(server.url)
    return servers


_ARM = table(
    Arm,
    servers=Codec(_decode_servers, lambda: _SERVERS.schema, _SERVERS.encode),
    balance=enumeration(Balance),
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
    response_headers=_HEADERS,
    compress=_COMPRESS,
    tls=TLS,
)


def _decode_arms(value: Any) -> Mapping[str, Arm]:
    if not isinstance(value, dict) or len(value) > _MOST_ARMS:
        found = f"{len(value)} arms" if isinstance(value, dict) else show(value)
        raise Fault(found, 'a table such as {"stable": {"servers": [...]}}')
    arms = each(
        lambda name: _decode_arm(name, value[name]), ((n, n) for n in value), ".{}"
    )
    return MappingProxyType(dict(zip(value, arms, strict=True)))


def _decode_arm(name: str, given: Any) -> Arm:
    ARM_NAME.decode(name)
    if not isinstance(given, dict):
        raise Fault(show(given), 'a table such as {"servers": [...]}')
    arm: Arm = _ARM.decode(given)
    if name == STABLE and "fallback" not in given:
        return attrs.evolve(arm, fallback=None)
    return arm


def _encode_arms(arms: Mapping[str, Arm]) -> dict[str, Any]:
    written = {name: _ARM.encode(arm) for name, arm in arms.items()}
    for name, arm in arms.items():
        if name == STABLE:
            written[name].pop("fallback", None)
            if arm.fallback is not None:
                written[name]["fallback"] = arm.fallback
    return written


_MOST_ARMS = 1000
ARMS = Codec(
    _decode_arms,
    cache(
        lambda: {
            "type": "object",
            "propertyNames": ARM_NAME.schema,
            "additionalProperties": _ARM.schema,
            "required": [STABLE],
            "maxProperties": _MOST_ARMS,
        }
    ),
    _encode_arms,
)
