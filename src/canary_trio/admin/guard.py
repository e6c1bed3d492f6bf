"""Whom a request to the admin listener means: what keeps a browser's pages from it.

A browser on a machine that reaches the listener sends whatever a page of strangers asks
for. A page that got here by DNS rebinding names its own host in `Host`; so a request must
name an address, a name that this listener is known by, or one without a dot, which nobody
can register. A page from elsewhere is told by the browser's `Sec-Fetch-Site` or `Origin`.
Programs send neither of these, and a Unix socket is out of a browser's reach.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

from http_trio import Exchange, Handler, Response

_OWN_SITE = (b"same-origin", b"none")
_FORBIDDEN = 403


class AdminGuard:
    """A handler before the admin's."""

    def __init__(self, handler: Handler, names: Iterable[str] = ()) -> None:
        """Let requests pass that name one of these, the machine, or an IP address."""
        self._handler = handler
        known = (*names, socket.gethostname(), "localhost")
        self._names = {_name_of(name.encode()) for name in known}

    def __repr__(self) -> str:
        return f"<AdminGuard {', '.join(sorted(self._names))}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request, or refuse it."""
        why = "" if exchange.client == "unix" else self._why_not(exchange)
        if why:
            exchange.respond(Response(_FORBIDDEN, why.encode() + b"\n"))
        else:
            self._handler(exchange)

    def _why_not(self, exchange: Exchange) -> str:
        host = exchange.head.host or b""
        name = _name_of(host)
        if "." in name and name not in self._names and not _is_address(name):
            shown = name[:100].encode("ascii", "backslashreplace").decode()
            return f"this listener is not known as {shown}; see --admin-host"
        site = exchange.header(b"sec-fetch-site")
        origin = exchange.header(b"origin")
        if site is not None and site.lower() not in _OWN_SITE:
            return "a page of another site may not ask this listener"
        if origin is not None and origin.lower().partition(b"://")[2] != host.lower():
            return "a page of another origin may not ask this listener"
        return ""


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
