"""Nodes as proxies write them of those before them (RFC 7239), read from the right. Pure.

`192.0.2.7`, `192.0.2.7:4711`, `[2001:db8::1]:4711`, `"[2001:db8::1]"`, `unknown`, `_hidden`;
`X-Forwarded-For` also has IPv6 without brackets. The rule that it obeys: the right end is
written by the nearest, so what anybody wrote further left changes nothing of how that is
read; and what is malformed is none, never half read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from http_trio.hosts.addresses import parse_address

NODE_SIZE = 128
"""Characters of a node at most; a longer one is malformed."""

_PORT = re.compile(r":(?:[0-9]{1,5}|_[A-Za-z0-9._-]+)", re.ASCII)
_HIDDEN = re.compile(r"_[A-Za-z0-9._-]+", re.ASCII)
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=
    (?:([!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+)|"((?:[^"\\]|\\.)*)")[ \t]*(;|\Z)""",
    re.VERBOSE | re.DOTALL,
)


def parse_node(text: str) -> str | None:
    """Give a node in one spelling, without its port; None for what is malformed.

    >>> parse_node("[2001:DB8::0:1]:80"), parse_node("192.0.2.7:80"), parse_node("UNKNOWN")
    ('2001:db8::1', '192.0.2.7', 'unknown')
    >>> parse_node("192.0.2.7x"), parse_node("[2001:db8::1"), parse_node("192.0.2.7:")
    (None, None, None)
    """
    if len(text) > NODE_SIZE or not text.isascii():
        return None
    if text.startswith("["):
        inner, bracket, port = text[1:].partition("]")
        is_good = bracket and ":" in inner
    else:
        name, colon, rest = text.partition(":")
        is_bare = ":" in rest  # IPv6 without brackets
        inner, port = (text, "") if is_bare else (name, colon + rest)
        is_good = True
    if not is_good or (port and _PORT.fullmatch(port) is None):
        return None
    if inner.lower() == "unknown":
        return "unknown"
    if _HIDDEN.fullmatch(inner):
        return inner
    address = parse_address(inner)
    return None if address is None else str(address)


def members_from_right(value: bytes) -> Iterator[str]:
    """Give the members of a list without quotes, from the right; empty ones are none."""
    end = len(value)
    while end >= 0:
        comma = value.rfind(b",", 0, end)
        member = value[comma + 1 : end].strip(b" \t")
        if member:
            yield member.decode("latin-1")
        end = comma if comma >= 0 else -1


def elements_from_right(value: bytes) -> Iterator[dict[str, str]]:
    """Give the elements of a Forwarded field, from the right, up to a malformed one.

    >>> list(elements_from_right(b'for=a, for="[::1]";proto=http'))
    [{'for': '[::1]', 'proto': 'http'}, {'for': 'a'}]
    >>> list(elements_from_right(b'for=evil;x=", for="[::1]";proto=http'))
    [{'for': '[::1]', 'proto': 'http'}]
    """
    text, end = value.decode("latin-1"), len(value)
    while end >= 0:
        comma = _comma_outside_quotes(text, end)
        element = text[comma + 1 : end].strip(" \t")
        if element:
            pairs = _pairs(element)
            if pairs is None:
                return
            yield pairs
        end = comma if comma >= 0 else -1


def _comma_outside_quotes(text: str, end: int) -> int:
    """Give where the last element before `end` begins, less one."""
    inside, at = False, end - 1
    while at >= 0:
        character = text[at]
        if character == '"':
            before = at
            while before and text[before - 1] == "\\":
                before -= 1
            if (at - before) % 2 == 0:
                inside = not inside
        elif character == "," and not inside:
            return at
        at -= 1
    return -1


def _pairs(element: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    at = 0
    while at < len(element):
        match = _PAIR.match(element, at)
        if match is None:
            return None
        name, token, quoted, _ = match.groups()
        if name.lower() in found:
            return None  # at most once in an element (RFC 7239 section 4)
        value = re.sub(r"\\(.)", r"\1", quoted) if token is None else token
        found[name.lower()] = value
        at = match.end()
    return found
