"""Whom a request means, and which page sent it: what keeps a browser from misuse.

A browser on a machine that reaches the store sends whatever a page of strangers asks
for. Two things tell such requests from others. A page that got here by DNS rebinding
names its own host in `Host`; so a request must name an address, a name that this server
is known by, or one without a dot, which nobody can register (`http://kv:8500`). A page from elsewhere may not read a response, but can cause a write;
the browser says so in `Sec-Fetch-Site` or `Origin`, and then the write is refused.
Programs send neither of these. A Unix socket is out of a browser's reach.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from http_trio import Exchange
from kv_trio.errors import BadQuery

_READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_OWN_SITE = frozenset({b"same-origin", b"none"})
_KNOWN = 1024  # hosts that were found right, and are not looked at again


class HostCheck:
    """The names of a server."""

    def __init__(self, names: Iterable[str]) -> None:
        """Let requests in that name one of these, an IP address, or a name without a dot."""
        self._names = {_name_of(name.encode()) for name in names}
        self._known: set[bytes | None] = {None}  # HTTP/1.0 has no Host, nor a browser

    def __repr__(self) -> str:
        return f"<HostCheck {', '.join(sorted(self._names))}>"

    def check(self, exchange: Exchange) -> None:
        """Check that a request means this server, and is none of a foreign page.

        Raises:
            BadQuery: it does not, or is one.
        """
        head = exchange.head
        if exchange.client == "unix":
            return
        if head.host not in self._known:
            self._check_host(head.host or b"")
        if head.method not in _READS:
            self._check_page(exchange)

    def _check_host(self, host: bytes) -> None:
        name = _name_of(host)
        if "." in name and name not in self._names and not _is_address(name):
            shown = name[:100]
            raise BadQuery(
                403,
                f"this store is not known as {shown}; start it with --host {shown} if it"
                " is to be",
            )
        if len(self._known) >= _KNOWN:
            self._known = {None}
        self._known.add(host)

    def _check_page(self, exchange: Exchange) -> None:
        site = exchange.header(b"sec-fetch-site")
        origin = exchange.header(b"origin")
        if site is not None and site.lower() not in _OWN_SITE:
            raise BadQuery(403, "a page of another site may not write to this store")
        own = (exchange.head.host or b"").lower()
        if origin is not None and origin.lower().partition(b"://")[2] != own:
            raise BadQuery(403, "a page of another origin may not write to this store")


def _name_of(authority: bytes) -> str:
    """Give the host of an authority, in lower case, without the port."""
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
