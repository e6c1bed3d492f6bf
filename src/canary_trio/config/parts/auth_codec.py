"""Who a client must show to be: JSON to values and back. Pure."""

from __future__ import annotations

from typing import Any

from canary_trio.config.auth import AuthCache, BasicAuth, ForwardAuth, OnFailure
from canary_trio.config.codec import (
    Codec,
    Fault,
    boolean,
    enumeration,
    integer,
    list_of,
    note_step,
    optional,
    show,
    table,
    text,
)
from canary_trio.config.parts.arm_codec import DAY_S, TLS
from canary_trio.config.parts.times import seconds
from canary_trio.config.scalars import CHANGED_NAME
from canary_trio.config.url import SERVER_URL

_MOST_FIELDS = 50
_ENTRIES = 1_000_000
_OURS = frozenset(
    [
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-method",
        "x-forwarded-uri",
    ]
)


def _decode_name(value: Any) -> str:
    name: str = CHANGED_NAME.decode(value)
    if name.lower().replace("_", "-") in _OURS:
        raise Fault(show(name), "another field: this one the proxy itself writes")
    return name


_NAME = Codec(_decode_name, CHANGED_NAME.schema)
_NAME_LIST = list_of(_NAME, most=_MOST_FIELDS, of="names of fields")


def _decode_names(value: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = _NAME_LIST.decode(value)
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name.lower() in seen:
            raise note_step(Fault(show(name), "each field once"), f"[{place}]")
        seen.add(name.lower())
    return names


_NAMES = Codec(_decode_names, _NAME_LIST.schema, _NAME_LIST.encode)
_REALM = text(
    r"[ !#-\[\]-~]{1,200}",
    "a name of letters, digits and spaces, without quotes and backslashes, at most 200",
)
_PASSWORD_FILE = text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}",
    "the name of a file in the directory of --passwords: letters, digits, - _ and ., no"
    " slash",
)
_TARGET = text(
    r"(?:/[!\"$->@-~]{0,2000}(?:\?[!\"$-~]{0,2000})?)?",
    "a path that begins with /, perhaps with a query, without #",
)

BASIC_AUTH = table(
    BasicAuth,
    file=_PASSWORD_FILE,
    realm=_REALM,
    user_header=optional(_NAME),
    keep_authorization=boolean(),
)
"""Users by name and password."""

FORWARD_AUTH = table(
    ForwardAuth,
    url=SERVER_URL,
    path=_TARGET,
    request_headers=_NAMES,
    copy_headers=_NAMES,
    user_header=optional(_NAME),
    set_cookies=boolean(),
    timeout=seconds(0.01, 600),
    on_failure=enumeration(OnFailure),
    cache=optional(
        table(
            AuthCache,
            time=seconds(0, DAY_S),
            by=optional(_NAMES),
            refusals=seconds(0, DAY_S),
            entries=integer(1, _ENTRIES),
        )
    ),
    tls=TLS,
)
"""A server that is asked."""
