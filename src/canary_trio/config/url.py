"""The URLs of a document: a server's, taken apart, and the store's. Pure.

A server's URL is taken apart by one expression, so what passes here is what is connected
to: user information, queries and dot segments are no part of it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

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
    r"""http(s)?://([A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]+\])
    (?::([0-9]{1,5}))?
    ((?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*)/?\Z""",
    re.VERBOSE,
)
_UNIX = re.compile(r"unix:(/[^\x00-\x1f?#]{1,106})\Z")  # sun_path has 108 bytes


@functools.lru_cache(maxsize=4096)  # each change names the same servers again
def split_url(url: str) -> UrlParts | None:
    """Take a server's URL apart; None if it is none.

    >>> split_url("https://[::1]/base/")
    UrlParts(host='[::1]', port=443, prefix='/base', path='')
    """
    match = _URL.match(url)
    if match is not None:
        secure, host, port, prefix = match.groups()
        return UrlParts(host, int(port) if port else 443 if secure else 80, prefix)
    match = _UNIX.match(url)
    return UrlParts(path=match[1]) if match else None


_SERVER_URL = "http://HOST[:PORT][/PREFIX], https://... or unix:/PATH"


def _read_server_url(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 300:
        raise Fault(show(value), _SERVER_URL)
    parts = split_url(value)
    if parts is None:
        raise Fault(show(value), _SERVER_URL)
    if parts.path:
        return value
    if parts.host.startswith("["):
        try:
            ipaddress.IPv6Address(parts.host[1:-1])
        except ValueError as exc:
            raise Fault(show(value), "an IPv6 address in its brackets") from exc
    if not 0 < parts.port < 65536:
        raise Fault(show(value), "a port from 1 to 65535")
    return value.rstrip("/")


SERVER_URL = Codec(
    _read_server_url,
    {
        "title": _SERVER_URL,
        "type": "string",
        "pattern": r"^(?:https?://[A-Za-z0-9\[][^\s?#@]*|unix:/[^\x00-\x1f?#]+)$",
        "maxLength": 300,
    },
)


def _read_config_server(value: Any) -> str | None:
    if value is None:
        return None
    expected = "a URL such as http://127.0.0.1:8500"
    if not isinstance(value, str):
        raise Fault(show(value), expected)
    try:
        parts = urlsplit(value)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError as exc:
        raise Fault(show(value), expected) from exc
    if not usable:
        raise Fault(show(value), expected)
    return value.rstrip("/")


CONFIG_SERVER = Codec(
    _read_config_server,
    any_of(
        {
            "title": "a URL such as http://127.0.0.1:8500",
            "type": "string",
            "pattern": "^https?://",
        },
        {"type": "null"},
    ),
)
