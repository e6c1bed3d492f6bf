"""Whom a request to the admin listener means: what keeps a browser's pages from it.

It says where the servers are, so a page of strangers may not even read it. What is looked
at is in `http_trio.KnownHosts` and `http_trio.is_foreign_page`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from http_trio import Exchange, Handler, KnownHosts, Response, is_foreign_page

_FORBIDDEN = 403


class AdminGuard:
    """A handler before the admin's."""

    def __init__(self, handler: Handler, names: Iterable[str] = ()) -> None:
        """Let requests pass that name one of these, the machine, or an IP address."""
        self._handler = handler
        self._hosts = KnownHosts((*names, socket.gethostname(), "localhost"))

    def __repr__(self) -> str:
        return f"<AdminGuard {self._hosts}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request, or refuse it."""
        why = "" if exchange.client == "unix" else self._why_not(exchange)
        if why:
            exchange.respond(Response(_FORBIDDEN, why.encode() + b"\n"))
        else:
            self._handler(exchange)

    def _why_not(self, exchange: Exchange) -> str:
        host = exchange.head.host
        if not self._hosts.is_meant(host):
            shown = (host or b"")[:100].decode("ascii", "backslashreplace")
            return f"this listener is not known as {shown}; see --admin-host"
        site, origin = exchange.header(b"sec-fetch-site"), exchange.header(b"origin")
        if is_foreign_page(host, site, origin):
            return "a page of another site or origin may not ask this listener"
        return ""
