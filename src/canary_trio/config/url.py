"""The URLs of a document: a server's, taken apart, and the store's. Pure.

A server's URL is taken apart by one expression, so what passes here is what is connected
to: user information, queries and dot segments are no part of it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any

import attrs

from canary_trio.config.codec import Codec, Fault, any_of, show


@attrs.frozen
class UrlParts:
    """The parts of a server's URL.

    Attributes:
        host: an IPv6 address in its brackets; empty for a Unix socket.
        path: of the Unix socket.
    """

    host: str = ""
    port: int = 0
    prefix: str = ""
    path: str = ""


_URL = re.compile(
    r"""(http|https|h2c)://([A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]+\])
    (?::([0-9]{1,5}))?
    ((?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*)/?\Z""",
    re.VERBOSE,
)
_LABELS = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_UNIX = re.compile(r"unix:(/[^\x00-\x1f?#]{1,106})\Z")  # sun_path has 108 bytes


@functools.lru_cache(maxsize=4096)  # each change names the same servers again
def split_url(url: str) -> UrlParts | None:
    """Take a server's URL apart; None if it is none.

    >>> split_url("https://[::1]/base/")
    UrlParts(host='[::1]', port=443, prefix='/base', path='')
    """
    match = _URL.match(url)
    if match is not None:
        scheme, host, port, prefix = match.groups()
        usual = 443 if scheme == "https" else 80
        return UrlParts(host, int(port) if port else usual, prefix)
    match = _UNIX.match(url)
    return UrlParts(path=match[1]) if match else None


_SERVER_URL = "http://HOST[:PORT][/PREFIX], https://..., h2c://... or unix:/PATH"


def _read_server_url(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 300:
        raise Fault(show(value), _SERVER_URL)
    parts = split_url(value)
    if parts is None:
        raise Fault(show(value), _SERVER_URL)
    if parts.path:
        return value
    _check_host_and_port(value, parts)
    return value.rstrip("/")


def _check_host_and_port(value: str, parts: UrlParts) -> None:
    """Refuse what no resolver and no socket takes."""
    if parts.host.startswith("["):
        try:
            ipaddress.IPv6Address(parts.host[1:-1])
        except ValueError as exc:
            raise Fault(show(value), "an IPv6 address in its brackets") from exc
    elif not _LABELS.match(parts.host):
        raise Fault(
            show(value),
            "a host whose parts between its dots have 1 to 63 characters (RFC 1035)",
        )
    if not 0 < parts.port < 65536:
        raise Fault(show(value), "a port from 1 to 65535")


SERVER_URL = Codec(
    _read_server_url,
    {
        "title": _SERVER_URL,
        "type": "string",
        "pattern": r"^(?:(?:https?|h2c)://[A-Za-z0-9\[][^\s?#@]*|unix:/[^\x00-\x1f?#]+)$",
        "maxLength": 300,
    },
)


# === of single requests ===


def _request_url(expected: str, tail: str) -> Codec:
    """Give the codec of a URL that is asked now and then, such as a gate's."""
    pattern = rf"(https?)://([A-Za-z0-9][A-Za-z0-9_.-]{{0,252}}|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?{tail}"
    matches = re.compile(pattern + r"\Z").match

    def read(value: Any) -> str:
        match = matches(value) if isinstance(value, str) else None
        if match is None or len(value) > _LONGEST_REQUEST_URL:
            raise Fault(show(value), expected)
        scheme, host, port = match.groups()
        usual = 443 if scheme == "https" else 80
        _check_host_and_port(value, UrlParts(host, int(port) if port else usual))
        return match[0]

    schema = {"type": "string", "maxLength": _LONGEST_REQUEST_URL, "title": expected}
    return Codec(read, {**schema, "pattern": f"^{pattern}$"})


_LONGEST_REQUEST_URL = 2000

REQUEST_URL = _request_url(
    "http(s)://HOST[:PORT][/PATH][?QUERY] in ASCII, without a user and a fragment",
    r"(?:[/?][!-\"$-~]*)?",
)
"""A URL that is asked as it stands."""

BASE_URL = _request_url(
    "http(s)://HOST[:PORT][/PREFIX] in ASCII, without a user, a query and a fragment",
    r"(?:/[!\"$->@-~]*)?",
)
"""A URL that a path is put behind."""


# === of a store ===

_CONFIG_SERVER_URL = "a URL such as http://127.0.0.1:8500, or etcd://HOST,HOST"

_ETCD = re.compile(r"etcds?://([A-Za-z0-9_.:,\[\]-]+)/?\Z")

_MOST_MEMBERS = 16


def _read_config_server(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 300:
        raise Fault(show(value), _CONFIG_SERVER_URL)
    etcd = _ETCD.match(value)
    urls = [f"http://{member}" for member in etcd[1].split(",")] if etcd else [value]
    for url in urls:
        parts = split_url(url)
        if parts is None or parts.path or url.startswith("h2c:"):
            raise Fault(show(value), _CONFIG_SERVER_URL)
        _check_host_and_port(value, parts)
        if "xn--" in parts.host.lower():  # whose rules the client has its own of
            raise Fault(show(value), "a host in ASCII (no xn--), or its address")
    if len(urls) > _MOST_MEMBERS:
        raise Fault(show(value), f"an etcd of at most {_MOST_MEMBERS} members")
    return value.rstrip("/")


CONFIG_SERVER = Codec(
    _read_config_server,
    any_of(
        {
            "title": _CONFIG_SERVER_URL,
            "type": "string",
            "pattern": r"^(?:https?|etcds?)://[A-Za-z0-9\[][^\s?#@]*$",
            "maxLength": 300,
        },
        {"type": "null"},
    ),
)
