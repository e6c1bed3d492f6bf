"""The scalars of a document: shares, names, fields, networks, patterns. Pure.

Each is a `Codec` whose value may go where it is meant to go without another look: what
is a header's value here can be written into a head. One file, since each is a few lines,
and a reader looks for one of them by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from canary_trio.config.codec import (
    Codec,
    Fault,
    any_of,
    boolean,
    checked,
    integer,
    is_number,
    list_of,
    map_of,
    note_step,
    show,
    table,
    text,
)
from canary_trio.config.model import CANARY, WHOLE
from canary_trio.config.policies import StrictTransport
from canary_trio.config.rules import PATTERN_SIZE, BadPattern, Network, compile_pattern
from http_trio.hosts.addresses import parse_network

_HOP_BY_HOP = (
    "connection content-length expect host keep-alive proxy-connection te trailer"
    " transfer-encoding upgrade"
)
FRAMING_FIELDS = frozenset(_HOP_BY_HOP.split())
"""What the proxy itself decides, and no document may change (RFC 9110 section 7.6.1)."""

_NAME_CHARACTERS = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}"


# === shares ===


def read_share(value: Any) -> int:
    """Read a share as ten-thousandths."""
    share = round(value * WHOLE) if is_number(value) and 0 <= value <= 1 else -1
    if not 0 <= share <= WHOLE:
        raise Fault(show(value), "a number from 0 to 1")
    if abs(value * WHOLE - share) > 1e-6:
        raise Fault(show(value), "steps of 0.0001")
    return share


SHARE = Codec(
    read_share,
    {
        "title": "0 to 1 in steps of 0.0001",
        "type": "number",
        "minimum": 0,
        "maximum": 1,
    },
    lambda share: share / WHOLE,
)


def _decode_percent(value: Any) -> int:
    usable = is_number(value) and 0 <= value <= 100
    share = round(value * (WHOLE // 100)) if usable else -1
    if not 0 <= share <= WHOLE:
        raise Fault(show(value), "a number from 0 to 100")
    if abs(value * (WHOLE // 100) - share) > 1e-6:
        raise Fault(show(value), "steps of 0.01")
    return share


PERCENT = Codec(
    _decode_percent,
    {
        "title": "0 to 100 in steps of 0.01",
        "type": "number",
        "minimum": 0,
        "maximum": 100,
    },
    lambda share: share / (WHOLE // 100),
)


def _decode_ratio(value: Any) -> Mapping[str, int]:
    if isinstance(value, dict):
        shares: Mapping[str, int] = _SHARES.decode(value)
        return shares
    share = read_share(value)
    return MappingProxyType({CANARY: share} if share else {})


def _encode_ratio(ratio: Mapping[str, int]) -> float | dict[str, float]:
    if not ratio or (set(ratio) == {CANARY} and ratio[CANARY]):
        return ratio.get(CANARY, 0) / WHOLE
    return {name: share / WHOLE for name, share in ratio.items()}


_ANY_NAME = checked(lambda v: isinstance(v, str), "a name", type="string")
_SHARES = map_of(_ANY_NAME, SHARE, most=1000, expected="a table of shares by arm")
RATIO = Codec(_decode_ratio, any_of(SHARE.schema, _SHARES.schema), _encode_ratio)


# === names ===

ARM_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "a name of letters, digits, - _ and ."
)
GRPC_SERVICE = text(
    r"[A-Za-z0-9_.-]{0,200}",
    "a name of letters, digits, _ . and -, such as pkg.Service",
)
NAME_SIZE = 100
"""Characters of a rule's name at most."""

RULE_NAME = text(
    rf"[A-Za-z0-9](?:[A-Za-z0-9_. -]{{0,{NAME_SIZE - 2}}}[A-Za-z0-9_.-])?",
    f"a name of letters, digits, - _ . and spaces within, at most {NAME_SIZE}",
)
COOKIE_NAME = text(r"[A-Za-z0-9_-]{1,64}", "a name of letters, digits, - and _")
ANY_COOKIE_NAME = text(_NAME_CHARACTERS, "the name of a cookie (RFC 6265), such as uid")
HEADER_NAME = text(
    _NAME_CHARACTERS, "the name of a header field (RFC 9110), such as X-User"
)
QUERY_NAME = text(r"[^\x00-\x1f\x7f]{1,200}", "the name of a query parameter")
METHOD = text(r"[A-Z][A-Z-]{0,31}", "a method in capitals, such as GET")
DOMAIN = text(
    r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})", "a domain, such as example.org"
)
PATH = text(r"/[!-~]{0,2000}", "a path that begins with / (percent-encoded)")
MEDIA_TYPE = text(
    r"[A-Za-z0-9!#$&^_.+-]{1,127}/(?:\*|(?:\*\+)?[A-Za-z0-9!#$&^_.+-]{1,127})",
    "a media type without parameters, such as application/json, text/* or"
    " application/*+json",
)
FILE = text(r"[^\x00]{1,4096}", "the path of a file")
VALUE = text(r"[^\x00-\x1f\x7f]{0,4000}", "text without control characters")

_HOST_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]+\]"
HOST = text(_HOST_NAME, "a host, such as example.org, 10.0.0.1 or [::1]")
HOST_AND_PORT = text(rf"(?:(?:{_HOST_NAME})(?::[0-9]{{1,5}})?)?", "HOST or HOST:PORT")
HOST_PATTERN = text(
    rf"(?:\*\.)?(?:{_HOST_NAME})", "a host without its port, or *.example.org"
)


def _may_change(name: str) -> bool:
    return name.lower() not in FRAMING_FIELDS


def _decode_changed_name(value: Any) -> str:
    name: str = HEADER_NAME.decode(value)
    if not _may_change(name):
        raise Fault(
            show(name),
            "another field: the proxy itself decides Host, the framing and the hop-by-hop"
            " fields",
        )
    return name


CHANGED_NAME = Codec(_decode_changed_name, HEADER_NAME.schema)
_FIELD_VALUE = text(
    r"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]{0,7998}[^\x00-\x20\x7f])?)?",
    "a field's value: text without control characters, without space at its ends",
)


def _once(names: Any) -> None:
    """Allow each field once: names are the same in any case (RFC 9110 section 5.1)."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise note_step(Fault(show(name), "each field once"), f".{name}")
        seen.add(name.lower())


def _fields() -> Codec:
    codec = map_of(
        CHANGED_NAME,
        _FIELD_VALUE,
        most=100,
        expected='a table of at most 100 fields, such as {"X-Arm": "canary"}',
    )

    def decode(value: Any) -> Any:
        fields = codec.decode(value)
        _once(fields)
        return fields

    return Codec(decode, codec.schema, codec.encode)


FIELDS = _fields()
FIELD_NAMES = list_of(CHANGED_NAME, most=100, of="names of fields")


# === numbers of HTTP and IP ===

_RANGE = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\Z")


def _decode_range(value: Any) -> tuple[int, int]:
    if type(value) is int and 100 <= value <= 599:
        return value, value
    match = _RANGE.match(value) if isinstance(value, str) else None
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise Fault(show(value), 'a status code such as 502, or a range, "502-504"')
    return low, high


def _encode_range(codes: tuple[int, int]) -> int | str:
    low, high = codes
    return low if low == high else f"{low}-{high}"


def status_codes(*, least: int) -> Codec:
    """A list of status codes and ranges of status codes."""
    code_or_range = Codec(
        _decode_range,
        any_of(
            {
                "title": "a code such as 502",
                "type": "integer",
                "minimum": 100,
                "maximum": 599,
            },
            {
                "title": 'a range such as "502-504"',
                "type": "string",
                "pattern": "^[1-5][0-9]{2}(?:-[1-5][0-9]{2})?$",
            },
        ),
        _encode_range,
    )
    return list_of(code_or_range, least=least, most=100, of="status codes and ranges")


def _decode_network(value: Any) -> Network:
    if isinstance(value, str):
        try:
            return parse_network(value)
        except ValueError as exc:
            expected = f"a network such as 10.0.0.0/8 or 2001:db8::/32 ({exc})"
            raise Fault(show(value), expected) from exc
    raise Fault(show(value), "a network such as 10.0.0.0/8 or 2001:db8::/32")


NETWORK = Codec(
    _decode_network,
    {
        "title": "a network such as 10.0.0.0/8 or 2001:db8::/32",
        "type": "string",
        "pattern": "^[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?$",
    },
    str,
)
V4_BITS = integer(1, 32)
V6_BITS = integer(1, 128)


def _decode_pattern(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= PATTERN_SIZE:
        most = PATTERN_SIZE
        raise Fault(show(value), f"a pattern (RE2) of at most {most} characters")
    try:
        compile_pattern(value)
    except BadPattern as exc:
        raise Fault(show(value), f"a pattern that RE2 takes ({exc})") from exc
    return value


PATTERN = Codec(
    _decode_pattern,
    {
        "title": f"an RE2 pattern of at most {PATTERN_SIZE} characters",
        "type": "string",
        "minLength": 1,
        "maxLength": PATTERN_SIZE,
    },
)


# === Strict-Transport-Security ===

YEAR_S = 31_536_000
_STRICT_TABLE = table(
    StrictTransport,
    max_age=integer(0, 100 * YEAR_S),
    include_subdomains=boolean(),
    preload=boolean(),
)
_STRICT_VALUE = text(
    r'[Mm][Aa][Xx]-[Aa][Gg][Ee] *= *(?:[0-9]{1,10}|"[0-9]{1,10}")'
    r"(?: *; *(?:[Ii]nclude[Ss]ub[Dd]omains|preload))*",
    "a value such as max-age=31536000; includeSubDomains, or a table with max_age",
)


def _decode_strict(value: Any) -> StrictTransport:
    if isinstance(value, dict):
        found: StrictTransport = _STRICT_TABLE.decode(value)
    else:
        age, *words = _STRICT_VALUE.decode(value).lower().replace(" ", "").split(";")
        named = {
            "max_age": int(age.partition("=")[2].strip('"')),
            "include_subdomains": "includesubdomains" in words,
            "preload": "preload" in words,
        }
        found = _STRICT_TABLE.decode(named)
    if found.preload and not (found.include_subdomains and found.max_age >= YEAR_S):
        raise Fault(found.value, f"preload with subdomains, and at least {YEAR_S} s")
    return found


STRICT_TRANSPORT = Codec(
    _decode_strict,
    cache(lambda: any_of(_STRICT_VALUE.schema, _STRICT_TABLE.schema)),
    _STRICT_TABLE.encode,
)
