"""Reading a document: JSON to a `Config`, at the border, once.

All faults of a document are found at once, each with its path. cattrs takes the
structure apart; the hooks below know the leaves and never convert one type into
another; rules over several fields are checked last, on what could be read.
"""

from __future__ import annotations

import difflib
import enum
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import attrs
import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from canary_trio.config import (
    CANARY,
    STABLE,
    WHOLE,
    Arm,
    Balance,
    Config,
    Server,
    Sticky,
    Style,
    format_share,
)
from canary_trio.errors import InvalidConfig, Problem
from canary_trio.rules import Key, Source

SIZE_LIMIT = 512 * 1024
"""Bytes of a document: what the store takes."""

_UPDATE_RATE_S = (0.1, 600.0)
_WEIGHTS = (1, 1000)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]+\])\Z")


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
        at = f"line {exc.lineno}, column {exc.colno}"
        raise _invalid("$", f"{exc.msg} at {at}", "JSON") from exc
    except RecursionError as exc:
        raise _invalid("$", "values nested too deeply", "a plain document") from exc
    except _Fault as exc:
        raise _invalid("$", exc.found, exc.expected) from exc
    if not isinstance(document, dict):
        raise _invalid("$", _show(document), 'an object, such as {"arms": {...}}')
    return document


def build(document: Mapping[str, Any]) -> Config:
    """Make a parsed document a value.

    Raises:
        InvalidConfig: with all of its faults.
    """
    try:
        config = _converter.structure(document, Config)
    except Exception as exc:
        problems = [*_problems(exc, "$"), *_check_raw(document)]
        raise InvalidConfig(sorted(problems, key=lambda one: one.path)) from exc
    problems = list(_check_raw(document))
    if problems:
        raise InvalidConfig(problems)
    return config


# === the leaves ===


class _Fault(ValueError):
    """A value that may not stand where it stands."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected)
        self.found = found
        self.expected = expected


def _share(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Fault(_show(value), "a number from 0 to 1")
    share = round(value * WHOLE) if math.isfinite(value) else -1
    if not 0 <= share <= WHOLE:
        raise _Fault(_show(value), "a number from 0 to 1")
    if abs(value * WHOLE - share) > 1e-6:
        raise _Fault(_show(value), "steps of 0.0001")
    return share


def _ratio(value: object, _: object) -> Mapping[str, int]:
    if isinstance(value, dict):
        faults: list[Exception] = []
        shares: dict[str, int] = {}
        for name, share in value.items():
            try:
                shares[name] = _share(share)
            except _Fault as exc:
                faults.append(_at(exc, f".{name}"))
        if faults:
            raise ExceptionGroup("ratio", faults)
        return MappingProxyType(shares)
    share = _share(value)
    return MappingProxyType({CANARY: share} if share else {})


def _sticky(value: object, _: object) -> Sticky | None:
    if isinstance(value, bool):
        return Sticky() if value else None
    if not isinstance(value, dict):
        raise _Fault(_show(value), "true, false, or a table with cookie and epoch")
    if "cookie" in value:
        try:
            name = _cookie_name(value["cookie"], None)
        except _Fault as exc:
            raise ExceptionGroup("sticky", [_at(exc, ".cookie")]) from None
        value = {**value, "key": Key(Source.COOKIE, name)}
        del value["cookie"]
    sticky: Sticky = _structure_sticky(value, Sticky)
    return sticky


def _server(value: object, _: object) -> Server:
    if isinstance(value, str):
        return Server(_server_url(value))
    if not isinstance(value, dict):
        raise _Fault(
            _show(value), "a URL such as http://10.0.0.1:8000, or a table with url"
        )
    server: Server = _structure_server(value, Server)
    return server


def _server_url(value: object) -> str:
    expected = "http://HOST or http://HOST:PORT, such as http://10.0.0.1:8000"
    if not isinstance(value, str) or len(value) > 300:
        raise _Fault(_show(value), expected)
    if value.startswith("https://"):
        raise _Fault(_show(value), "http://: upstreams over TLS are not supported yet")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as exc:
        raise _Fault(_show(value), expected) from exc
    named = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    ok = parts.scheme == "http" and _HOST.match(named) and parts.path in ("", "/")
    if not ok or parts.query or parts.fragment or port == 0:
        raise _Fault(_show(value), expected)
    return f"http://{parts.netloc}"


def _config_server(value: object, _: object) -> str | None:
    if value is None:
        return None
    expected = "a URL such as http://127.0.0.1:8500"
    if not isinstance(value, str):
        raise _Fault(_show(value), expected)
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError as exc:
        raise _Fault(_show(value), expected) from exc
    if not usable:
        raise _Fault(_show(value), expected)
    return value.rstrip("/")


def _whole(low: int, high: int) -> Callable[[object, object], int]:
    def check(value: object, _: object = None) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not low <= value <= high
        ):
            raise _Fault(_show(value), f"a whole number from {low} to {high}")
        return value

    return check


def _update_rate(value: object, _: object) -> float:
    low, high = _UPDATE_RATE_S
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # type: ignore[operator]
        raise _Fault(_show(value), f"seconds from {low:g} to {high:g}")
    return float(value)  # type: ignore[arg-type]


def _cookie_name(value: object, _: object) -> str:
    if not isinstance(value, str) or not _COOKIE_NAME.match(value):
        raise _Fault(_show(value), "a name of letters, digits, - and _")
    return value


def _servers(value: object, _: object) -> tuple[Server, ...]:
    if not isinstance(value, list) or not value:
        raise _Fault(_show(value), "a list of at least one server")
    servers: list[Server] = []
    faults: list[Exception] = []
    seen: set[str] = set()
    for at, given in enumerate(value):
        try:
            server = _server(given, Server)
            if server.url in seen:
                raise _Fault(_show(server.url), "each server once")
            seen.add(server.url)
            servers.append(server)
        except Exception as exc:
            faults.append(_at(exc, f"[{at}]"))
    if faults:
        raise ExceptionGroup("servers", faults)
    return tuple(servers)


def _arms(value: object, _: object) -> Mapping[str, Arm]:
    if not isinstance(value, dict):
        raise _Fault(_show(value), 'a table such as {"stable": {"servers": [...]}}')
    arms: dict[str, Arm] = {}
    faults: list[Exception] = []
    for name, given in value.items():
        try:
            if not _NAME.match(name):
                raise _Fault(_show(name), "a name of letters, digits, - _ and .")
            if not isinstance(given, dict):
                raise _Fault(_show(given), 'a table such as {"servers": [...]}')
            arms[name] = _structure_arm(given, Arm)
        except Exception as exc:
            faults.append(_at(exc, f".{name}"))
    if faults:
        raise ExceptionGroup("arms", faults)
    return MappingProxyType(arms)


def _choice(kind: type[enum.Enum]) -> Callable[[object, object], enum.Enum]:
    choices = [member.value for member in kind]

    def check(value: object, _: object = None) -> enum.Enum:
        if value not in choices:
            hint = _nearest(value, choices) if isinstance(value, str) else ""
            raise _Fault(_show(value), f"one of {', '.join(choices)}{hint}")
        return kind(value)

    return check


# === putting it together ===


def _make(converter: cattrs.Converter, kind: type, **hooks: Any) -> Callable[..., Any]:
    overrides = {
        field.name: cattrs.override(struct_hook=hooks[field.name])
        if field.name in hooks
        else cattrs.override(omit=True)
        for field in attrs.fields(kind)
    }
    make: Any = make_dict_structure_fn  # its overrides are keywords of any name
    structure: Callable[..., Any] = make(
        kind,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,
    )
    converter.register_structure_hook(kind, structure)
    return structure


_converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
_structure_sticky = _make(
    _converter, Sticky, key=lambda value, _: value, epoch=_whole(0, 2**31 - 1)
)
_structure_server = _make(
    _converter,
    Server,
    url=lambda value, _: _server_url(value),
    weight=_whole(*_WEIGHTS),
)
_structure_arm = _make(_converter, Arm, servers=_servers, balance=_choice(Balance))
_make(
    _converter,
    Config,
    arms=_arms,
    style=_choice(Style),
    ratio=_ratio,
    sticky_sessions=_sticky,
    config_server=_config_server,
    update_rate=_update_rate,
)


def _check_raw(document: Mapping[str, Any]) -> Iterator[Problem]:
    """The rules over several fields, as far as the fields can be read."""
    arms = document.get("arms")
    if not isinstance(arms, dict):
        return
    if STABLE not in arms:
        yield Problem("$.arms", _names(arms), f"an arm named {STABLE}")
    try:
        ratio = _ratio(document.get("ratio", 0), None)
    except (_Fault, ExceptionGroup):
        return
    where = "$.ratio" + (".{}" if isinstance(document.get("ratio"), dict) else "")
    for name, share in ratio.items():
        path = where.format(name)
        if name == STABLE:
            yield Problem(path, f"a share for {STABLE}", "shares for the others only")
        elif name not in arms and share:
            yield Problem(path, f"no arm {name!r}", f"an arm of $.arms: {_names(arms)}")
    if sum(ratio.values()) > WHOLE:
        total = format_share(sum(ratio.values()))
        yield Problem("$.ratio", f"shares that add up to {total}", "at most 1")


def _problems(exc: BaseException, path: str) -> Iterator[Problem]:
    """Take a tree of errors apart into faults with their paths."""
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            path += f".{note.name}"
        elif isinstance(note, str) and note.startswith(_AT):
            path += note.removeprefix(_AT)
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _problems(inner, path)
    elif isinstance(exc, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(exc.cl)]
        for name in sorted(exc.extra_fields):
            hint = _nearest(name, known)
            expected = f"one of {', '.join(known)}{hint}"
            yield Problem(f"{path}.{name}", "an unknown field", expected)
    elif isinstance(exc, _Fault):
        yield Problem(path, exc.found, exc.expected)
    elif isinstance(exc, KeyError):
        yield Problem(path, "nothing", "a value: this field is required")
    else:
        yield Problem(path, str(exc), "what the schema says")


_AT = "at "


def _at(exc: Exception, step: str) -> Exception:
    exc.add_note(_AT + step)
    return exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Fault(f"the field {twice!r} twice in one table", "each field once")
    return found


def _no_constant(text: str) -> Any:
    raise _Fault(text, "a number that JSON knows")


def _invalid(path: str, found: str, expected: str) -> InvalidConfig:
    return InvalidConfig([Problem(path, found, expected)])


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _names(table: Mapping[str, Any]) -> str:
    return ", ".join(table) or "none"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
