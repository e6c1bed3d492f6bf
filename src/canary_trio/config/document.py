"""The document: JSON to a `Config` and back, at the border, once.

What may stand where is said by the codecs of its parts, put together here. All faults of
a document are found at once, each with its path; what several fields must agree on is
checked last (`checks`), on what could be read. One file, since it is the one border: what
comes in by it goes out by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import attrs

from canary_trio.config.codec import (
    Codec,
    Fault,
    boolean,
    enumeration,
    integer,
    list_of,
    note_step,
    number,
    optional,
    problems,
    show,
    table,
    word_or,
)
from canary_trio.config.model import Config, SameSite, Sticky, Style
from canary_trio.config.parts.arm_codec import ARMS, DAY_S
from canary_trio.config.parts.checks import disagreements, oddities
from canary_trio.config.parts.condition_codec import (
    ADDRESS_BITS,
    KEY,
    AddressBits,
    key_of,
    write_key,
)
from canary_trio.config.parts.history_codec import HISTORY
from canary_trio.config.parts.schema_mark import marked
from canary_trio.config.parts.times import seconds
from canary_trio.config.policies import (
    CertificateHeader,
    Connections,
    Forwarded,
    MirrorRule,
    OnChange,
    may_lack,
)
from canary_trio.config.rules import Source
from canary_trio.config.scalars import (
    ARM_NAME,
    CHANGED_NAME,
    COOKIE_NAME,
    DOMAIN,
    HEADER_NAME,
    METHOD,
    RATIO,
    SHARE,
    STRICT_TRANSPORT,
)
from canary_trio.config.url import CONFIG_SERVER
from canary_trio.errors import InvalidConfig, Problem

SIZE_LIMIT = 512 * 1024
"""Bytes of a document: what the store takes."""


def load(text: bytes | str) -> Config:
    """Read a document.

    Raises:
        InvalidConfig: with all of its faults.
    """
    return build(parse(text))


def parse(text: bytes | str, *, most: int = SIZE_LIMIT) -> dict[str, Any]:
    """Read JSON, of which nothing is known yet but that it is one object.

    Args:
        text: of it.
        most: bytes that it may have.

    Raises:
        InvalidConfig: it is not.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > most:
        raise _invalid("$", f"{len(data)} bytes", f"at most {most}")
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
    _refuse_oddities(document)
    if not isinstance(document, dict):
        raise _invalid("$", show(document), 'an object, such as {"arms": {...}}')
    return document


def build(document: Mapping[str, Any], *, service: str | None = None) -> Config:
    """Make a parsed document a value.

    Args:
        document: parsed JSON.
        service: whose document it is, for what follows from the name; None if that is
            not known.

    Raises:
        InvalidConfig: with all of its faults.
    """
    _refuse_oddities(document)
    try:
        config: Config = DOCUMENT.decode(document)
    except Exception as exc:
        found = [*problems(exc), *disagreements(document, service)]
        raise InvalidConfig(sorted(found, key=lambda problem: problem.path)) from exc
    found = list(disagreements(document, service))
    if found:
        raise InvalidConfig(found)
    return config


def dump(config: Config) -> str:
    """Write a document so that `load` gives the same value; defaults are left out."""
    return json.dumps(DOCUMENT.encode(config), indent=2, ensure_ascii=False) + "\n"


# === its parts ===


@attrs.frozen
class StickyTable(Sticky):
    """`Sticky` with its key in one of three fields."""

    cookie: str | None = may_lack(
        "The key is in a cookie of this name, which we sign. So it is by default, and"
        " the name is `canary-SERVICE`."
    )
    header: str | None = may_lack("The key is this header.")
    address: AddressBits | None = may_lack(
        "The key is the client's network: true, or the bits that count."
    )


_STICKY_FIELDS = {
    "epoch": integer(0, 2**31 - 1),
    "server": boolean(),
    "forward": boolean(),
    "max_age": optional(integer(1, 400 * 86400)),
    "domain": optional(DOMAIN),
    "same_site": enumeration(SameSite),
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


def _decode_sticky(value: Any) -> Sticky:
    given: StickyTable = _STICKY_TABLE.decode(value)
    named = [name for name in ("cookie", "header", "address") if name in value]
    if len(named) > 1:
        raise Fault(" and ".join(named), "one of cookie, header and address")
    key = key_of(given) or Sticky().key
    if key.source is not Source.COOKIE:
        for name in _OF_COOKIES:
            if name in value:
                raise note_step(
                    Fault(show(value[name]), "no such field: it is for cookies"),
                    f".{name}",
                )
    return Sticky(key, **{name: getattr(given, name) for name in _STICKY_FIELDS})


def _encode_sticky(sticky: Sticky) -> Any:
    key = {} if sticky.key == Sticky().key else write_key(sticky.key)
    return {**key, **_STICKY.encode(sticky)}


def _rules() -> Codec:
    from canary_trio.config.parts.rule_codec import RULE_LIST  # noqa: PLC0415

    return RULE_LIST


def _access() -> Codec:
    from canary_trio.config.parts.access_codec import ACCESS  # noqa: PLC0415

    return ACCESS


def _rollout() -> Codec:
    from canary_trio.config.parts.rollout_codec import ROLLOUT  # noqa: PLC0415

    return ROLLOUT


def _later(load: Callable[[], Codec]) -> Codec:
    """Import what a part may be when a document has it: most do without."""
    part = cache(load)
    return Codec(
        lambda value: part().decode(value),
        lambda: part().schema,
        lambda value: part().encode(value),
    )


_CONNECTIONS_TABLE = table(
    Connections, change=enumeration(OnChange), time=seconds(0, DAY_S)
)

DOCUMENT = marked(
    table(
        Config,
        style=enumeration(Style),
        hash_by=KEY,
        ratio=RATIO,
        sticky_sessions=word_or(
            {False: None, True: Sticky()},
            Codec(_decode_sticky, lambda: _STICKY_TABLE.schema, _encode_sticky),
            'true, false, or a table such as {"cookie": "canary", "epoch": 1}',
        ),
        rules=_later(_rules),
        mirror=optional(
            table(
                MirrorRule,
                arm=ARM_NAME,
                share=SHARE,
                methods=list_of(METHOD, least=1, most=20, of="methods"),
                body=integer(0, 64 * 1024 * 1024),
                concurrency=integer(1, 10_000),
                timeout=seconds(0.01, 600),
            )
        ),
        connections=word_or(
            {change.value: Connections(change) for change in OnChange},
            _CONNECTIONS_TABLE,
            "keep, drain, recall, or a table with change and time",
        ),
        request_id=optional(CHANGED_NAME),
        start_traces=optional(number(0, 1)),
        decision_header=optional(CHANGED_NAME),
        forwarded=optional(enumeration(Forwarded)),
        client_cert_header=optional(enumeration(CertificateHeader)),
        strict_transport_security=optional(STRICT_TRANSPORT),
        access=_later(_access),
        rollout=optional(_later(_rollout)),
        history=HISTORY,
        config_server=CONFIG_SERVER,
        update_rate=seconds(0.1, 600),
        arms=ARMS,
    )
)
"""The whole document."""


# === JSON ===


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Fault(f"the field {twice!r} twice in one table", "each field once")
    return found


def _refuse_oddities(document: object) -> None:
    odd = list(oddities(document))
    if odd:
        raise InvalidConfig(sorted(odd, key=lambda problem: problem.path))


def _no_constant(text: str) -> Any:
    raise Fault(text, "a number that JSON knows")


def _invalid(path: str, found: str, expected: str) -> InvalidConfig:
    return InvalidConfig([Problem(path, found, expected)])
