"""The names that a certificate holds, and which certificate a name is shown. Pure.

A name is compared as RFC 9525 says: without regard to case, a wildcard stands for exactly
the first label, an address is an address and never a name. Looking one up is one or two
look-ups in a table, however many names there are. The subject's common name counts only
where a certificate names nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Generic, TypeVar

import attrs

from http_trio.net.certificates.x509 import Certificate

T = TypeVar("T")


_KNOWN = 1000  # spellings that a certificate remembers; clients use few


def host_of(authority: bytes) -> str:
    """Give the host of an `:authority` or a `Host`, as names are compared.

    It is empty where there is none, or none that a certificate could hold.

    >>> host_of(b"WWW.Example.org.:8443"), host_of(b"[0::1]:443"), host_of(b"a b")
    ('www.example.org', '::1', '')
    """
    text = authority.decode("latin-1")
    if text[:1] == "[":
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)) or ":" not in host:
            return ""
        return _address(host)
    host, colon, port = text.partition(":")
    if colon and not _is_port(colon + port):
        return ""
    return plain_name(host)


def plain_name(host: str) -> str:
    """Give a name or an address as it is compared; empty if it is neither."""
    host = host.removesuffix(".")
    if ":" in host or host[-1:].isdigit():
        return _address(host)
    return host.lower() if host.isascii() and not set(host) & _NEVER else ""


class NameTable(Generic[T]):
    """What is found by a name: exactly, or else by a wildcard."""

    __slots__ = ("_exact", "_wildcards")

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]] = ()) -> None:
        """Take entries, each with its names; the first that has a name keeps it."""
        self._exact: dict[str, T] = {}
        self._wildcards: dict[str, T] = {}
        for names, entry in entries:
            for name in names:
                if name.startswith("*."):
                    self._wildcards.setdefault(name[2:], entry)
                else:
                    self._exact.setdefault(name, entry)

    def find(self, host: str) -> T | None:
        """Give what a name, as `host_of` gives it, stands for."""
        found = self._exact.get(host)
        if found is None and self._wildcards:
            label, _, parent = host.partition(".")
            found = self._wildcards.get(parent) if label else None
        return found


@attrs.frozen(eq=False)
class HeldNames:
    """The names of one certificate.

    Attributes:
        names: in the order in which they stand there, as they are compared.
    """

    names: tuple[str, ...]
    _table: NameTable[bool] = attrs.field(repr=False)
    _known: set[bytes] = attrs.field(init=False, factory=set, repr=False)

    @classmethod
    def of(cls, certificate: Certificate) -> HeldNames:
        """Give those of a certificate."""
        found = [*map(_dns_name, certificate.dns), *certificate.addresses]
        if not found and certificate.common_name is not None:
            found = [_dns_name(certificate.common_name) or ""]
        names = tuple(dict.fromkeys(filter(None, found)))
        return cls(names, NameTable([(names, True)]))

    def holds(self, authority: bytes) -> bool:
        """Tell whether it is for the host of an `:authority` or a `Host` (RFC 9110, 4.3.3)."""
        if authority in self._known:
            return True
        host = host_of(authority)
        held = bool(host) and self._table.find(host) is not None
        if held and len(self._known) < _KNOWN:
            self._known.add(authority)
        return held


_NEVER = frozenset(" \t\r\n\0/\\@[]*?#%,:")


def _dns_name(name: str) -> str:
    """Give a name of a certificate as it is compared; empty if it can match nothing."""
    if name.startswith("*."):
        rest = plain_name(name[2:])
        return f"*.{rest}" if rest else ""
    return plain_name(name)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _is_port(text: str) -> bool:
    return text[0] == ":" and (
        not text[1:] or (text.isascii() and text[1:].isdecimal())
    )
