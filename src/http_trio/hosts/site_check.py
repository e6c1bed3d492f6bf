"""Whom a request means, and which page sent it: what keeps a browser from misuse. Pure.

A browser on a machine that reaches a server of ours sends whatever a page of strangers asks
for. Two things tell such requests from others. A page that got here by DNS rebinding names
its own host in `Host`; so a request must name an address, a name that the server is known
by, or one without a dot, which nobody can register (`http://kv:8500`). A page from elsewhere
is told by the browser's `Sec-Fetch-Site` or `Origin`. Programs send neither of these, and a
Unix socket is out of a browser's reach.
"""

from __future__ import annotations

from collections.abc import Iterable

from http_trio.hosts.addresses import parse_address

_OWN_SITE = frozenset({b"same-origin", b"none"})
_KEPT = 1024  # hosts that were found right, and are not looked at again


class KnownHosts:
    """The names of a server."""

    def __init__(self, names: Iterable[str]) -> None:
        """Know these names; each may have a port."""
        self._names = {host_name(name.encode()) for name in names}
        self._right: set[bytes | None] = {None}  # HTTP/1.0 has no Host, nor a browser

    def __repr__(self) -> str:
        return f"<KnownHosts {', '.join(sorted(self._names))}>"

    def is_meant(self, host: bytes | None) -> bool:
        """Tell whether a request with this `Host` means the server."""
        if host in self._right:
            return True
        name = host_name(host or b"")
        if "." in name and name not in self._names and not _is_address(name):
            return False
        if len(self._right) >= _KEPT:
            self._right = {None}
        self._right.add(host)
        return True


def is_foreign_page(
    host: bytes | None, site: bytes | None, origin: bytes | None
) -> bool:
    """Tell whether a page of another site or origin sent a request.

    Args:
        host: its `Host`.
        site: its `Sec-Fetch-Site` (W3C Fetch Metadata).
        origin: its `Origin` (RFC 6454).
    """
    if site is not None and site.lower() not in _OWN_SITE:
        return True
    if origin is None:
        return False
    return origin.lower().partition(b"://")[2] != (host or b"").lower()


def host_name(authority: bytes) -> str:
    """Give the host of an authority, in lower case, without the port.

    >>> host_name(b"KV.example.:8500"), host_name(b"[::1]:8500")
    ('kv.example', '[::1]')
    """
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    return parse_address(name.strip("[]")) is not None
