"""Whom a request to the store means, and which page may write: a browser's misuse.

A page of strangers may not read a response of another origin, but can cause a write; so
only writes of foreign pages are refused, and whoever names another host. What is looked at
is in `http_trio.KnownHosts` and `http_trio.is_foreign_page`.
"""

from __future__ import annotations

from collections.abc import Iterable

from http_trio import Exchange, KnownHosts, is_foreign_page
from kv_trio.errors import BadQuery

_READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class HostCheck:
    """The names of a server."""

    def __init__(self, names: Iterable[str]) -> None:
        """Let requests in that name one of these, an IP address, or a name without a dot."""
        self._hosts = KnownHosts(names)

    def __repr__(self) -> str:
        return f"<HostCheck {self._hosts}>"

    def check(self, exchange: Exchange) -> None:
        """Check that a request means this server, and is none of a foreign page.

        Raises:
            BadQuery: it does not, or is one.
        """
        head = exchange.head
        if exchange.client == "unix":
            return
        if not self._hosts.is_meant(head.host):
            shown = (head.host or b"").decode("latin-1").partition(":")[0][:100]
            raise BadQuery(
                403,
                f"this store is not known as {shown}; start it with --host {shown} if it"
                " is to be",
            )
        if head.method not in _READS and is_foreign_page(
            head.host, exchange.header(b"sec-fetch-site"), exchange.header(b"origin")
        ):
            raise BadQuery(
                403, "a page of another site or origin may not write to this store"
            )
