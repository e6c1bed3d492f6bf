"""Where a limit finds whose request it is: a header, a cookie, a query parameter. Pure.

The rule that it obeys: a value counts only where it is the only one of its name. Servers
differ in which of two they take; who may send a second one could show the limit a new name
each time, and the server the old one. For the same reason `_` in the name of a field is
`-`, as many servers read it, and a field that Connection names, so that no server gets it,
is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from canary_trio.config.rules import Key, Source
from canary_trio.routing.request.request_view import name_of
from http_trio.http1.request_head import RequestHead

_NOT_KEPT = frozenset(
    b"connection content-length host transfer-encoding te trailer expect upgrade keep-alive"
    b" proxy-connection x-forwarded-for x-forwarded-proto x-forwarded-host forwarded".split()
)
"""Fields that go on, if at all, in words of the proxy's own; so Connection hides none."""

GetValue = Callable[[RequestHead], bytes | None]
"""Finds the one value in a request's head; None where there is none, or several."""


def value_getter(key: Key) -> GetValue:
    """Give what finds the value of a key in the head."""
    name = name_of(key)
    match key.source:
        case Source.HEADER:
            return _header_getter(name)
        case Source.COOKIE:
            return _cookie_getter(name)
        case Source.QUERY:
            return lambda head: _of_query(head.target, name)
        case _:
            raise AssertionError(f"{key.source} is not in the head")


def _header_getter(name: bytes) -> GetValue:
    find = _lines_of(name).findall
    if name.lower().replace(b"_", b"-") in _NOT_KEPT:
        return lambda head: _only(find(head.raw))
    return lambda head: _only(find(head.kept))


def _cookie_getter(name: bytes) -> GetValue:
    find_lines = _lines_of(b"cookie").findall
    find = re.compile(rb"(?:^|;)[ \t]*%b[ \t]*=([^;]*)" % re.escape(name)).findall

    def get(head: RequestHead) -> bytes | None:
        lines = find_lines(head.kept)
        return _only(find(b";".join(lines)), b' \t\r"') if lines else None

    return get


def _of_query(target: bytes, name: bytes) -> bytes | None:
    _, _, query = target.partition(b"?")
    found = []
    for pair in query.split(b"&"):
        its_name, _, value = pair.replace(b"+", b" ").partition(b"=")
        if its_name == name or unquote_to_bytes(its_name) == name:
            found.append(unquote_to_bytes(value))
    return _only(found, b"")


def _only(values: list[bytes], outer: bytes = b" \t\r") -> bytes | None:
    """Give the value that is there alone, perhaps several times; an empty one is none."""
    if not values:
        return None
    first = values[0].strip(outer)
    if len(values) > 1 and any(other.strip(outer) != first for other in values):
        return None
    return first or None


def _lines_of(name: bytes) -> re.Pattern[bytes]:
    # The look at the first letter passes most lines by; what ends a line is stripped later.
    first = b"-_" if name[:1] in b"-_" else re.escape(name[:1])
    either = b"[-_]".join(map(re.escape, re.split(b"[-_]", name)))
    return re.compile(rb"\n(?=[%b])%b:[ \t]*(.*)" % (first, either), re.IGNORECASE)
