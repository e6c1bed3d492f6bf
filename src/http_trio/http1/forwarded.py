"""What a proxy says of the client to the upstream.

`X-Forwarded-For`, `-Proto`, `-Host` (de facto) and `Forwarded` (RFC 7239) name the
client, and `Via` (RFC 9110 section 7.6.3) names us. What a client says of those
before it is dropped, since anybody can write it, unless its address is in a network
that the operator trusts; then ours is appended to it.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from http_trio.hosts.addresses import (
    Network,
    parse_address,
    parse_network,
    plain_network,
)
from http_trio.http1.request_head import RequestHead


def _networks(given: Iterable[Network | str]) -> tuple[Network, ...]:
    return tuple(
        parse_network(one) if isinstance(one, str) else plain_network(one)
        for one in given
    )


@attrs.frozen
class ForwardedPolicy:
    """The rules of one listener.

    Attributes:
        via: our name in `Via`, a token.
        proto: how clients reach us, `b"http"` or `b"https"`.
        trusted: networks whose word about those before them is kept; they may be given
            as text, see `addresses`.
        half_close: whether a client that ends its half of a connection may still wait
            for its response, for `Limits.half_closed_s`; else it has left.
    """

    via: bytes = b"canary-trio"
    proto: bytes = b"http"
    trusted: tuple[Network, ...] = attrs.field(default=(), converter=_networks)
    half_close: bool = False

    def trusts(self, client_address: str) -> bool:
        """Tell whether the client's own forwarding fields are kept."""
        if not self.trusted:
            return False
        address = parse_address(client_address)
        return address is not None and any(address in one for one in self.trusted)


def origin_of(rules: ForwardedPolicy, client_address: str, head: RequestHead) -> str:
    """Give the address of the client as those before us name it, whom we trust.

    The nearest in `X-Forwarded-For` that is not one of them; what stands before it,
    anybody can write. Whoever connected, if it is not trusted or says nothing of use.
    """
    origin = client_address
    if not head.forwarded or not rules.trusts(client_address):
        return origin
    said = [value for name, value in head.forwarded if name == b"x-forwarded-for"]
    for node in reversed(b",".join(said).split(b",")):
        address = _address(node.strip(b" \t").decode("latin-1"))
        if address is None:
            break
        origin = address
        if not rules.trusts(address):
            break
    return origin


def _address(node: str) -> str | None:
    """Give an address in one spelling, without its port; None if it is none."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    address = parse_address(node)
    return None if address is None else str(address)


def forwarded_fields(
    rules: ForwardedPolicy,
    client_address: str,
    head: RequestHead,
    *,
    trusted: bool,
    version: bytes = b"1.1",
) -> bytes:
    """Give the lines to add to a request, each led by CRLF.

    Args:
        rules: of the listener.
        client_address: the client's address as text, or "unix".
        head: the request.
        trusted: what `rules.trusts(client_address)` gave.
        version: of HTTP by which it came; 1.0 if the head says so.
    """
    said = dict[bytes, list[bytes]]()
    if trusted:
        for name, value in head.forwarded:
            said.setdefault(name, []).append(value)
    client = b"unknown" if client_address == "unix" else client_address.encode()
    chain = b", ".join([*said.get(b"x-forwarded-for", ()), client])
    proto = said.get(b"x-forwarded-proto", [rules.proto])[0]
    lines = [b"", b"X-Forwarded-For: " + chain, b"X-Forwarded-Proto: " + proto]
    host = said.get(b"x-forwarded-host", [head.host or b""])[0]
    if host:
        lines.append(b"X-Forwarded-Host: " + host)
    element = _element(client, head.host, rules.proto)
    elements = b", ".join([*said.get(b"forwarded", ()), element])
    via = b"Via: %b %b" % (b"1.0" if head.http10 else version, rules.via)
    lines += [b"Forwarded: " + elements, via]
    return b"\r\n".join(lines)


def _element(client: bytes, host: bytes | None, proto: bytes) -> bytes:
    node = b'"[%b]"' % client if b":" in client else client
    named = b'host="%b";' % host if host else b""
    return b"for=%b;%bproto=%b" % (node, named, proto)


class SaidOfClient:
    """What is said of one client, over a protocol whose requests share much.

    The fields are kept, since a client rarely asks for another host.
    """

    __slots__ = ("_address", "_fields", "_host", "_rules", "_trusted", "_version")

    def __init__(
        self, rules: ForwardedPolicy, client_address: str, version: bytes
    ) -> None:
        """Begin; the arguments are as of `forwarded_fields`."""
        self._rules = rules
        self._address = client_address
        self._version = version
        self._trusted = rules.trusts(client_address)
        self._host: bytes | None = b"\0"  # no host yet
        self._fields = b""

    def __repr__(self) -> str:
        return f"<SaidOfClient {self._address}>"

    @property
    def secure(self) -> bool:
        """Whether the client came over TLS."""
        return self._rules.proto == b"https"

    def fields(self, head: RequestHead) -> bytes:
        """Give the lines to add to a request, each led by CRLF."""
        trusted = self._trusted and bool(head.forwarded)
        if not trusted and head.host == self._host:
            return self._fields
        fields = forwarded_fields(
            self._rules, self._address, head, trusted=trusted, version=self._version
        )
        if not trusted:
            self._host, self._fields = head.host, fields
        return fields

    def origin(self, head: RequestHead) -> str:
        """Give the client's address as those before us name it, whom we trust."""
        return origin_of(self._rules, self._address, head)
