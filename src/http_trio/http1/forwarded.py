"""What a proxy says of the client to the upstream.

`X-Forwarded-For`, `-Proto`, `-Host` (de facto) and `Forwarded` (RFC 7239) name the
client, and `Via` (RFC 9110 section 7.6.3) names us. What a client says of those
before it is dropped, since anybody can write it, unless its address is in a network
that the operator trusts; then ours is appended to it, or replaces it. The rule that it
obeys: who the client is, is decided in `identify` and nowhere else. One file, since what is
read of those before us is what is said behind us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import attrs

from http_trio.hosts.addresses import (
    Network,
    parse_address,
    parse_network,
    plain_network,
)
from http_trio.hosts.host_field import is_host
from http_trio.hosts.nodes import elements_from_right, members_from_right, parse_node
from http_trio.hosts.proxy_protocol import ProxyHeader
from http_trio.http1.request_head import RequestHead

HOPS = 32
"""Proxies before us that are looked at; the client is the last of them at most."""

UNIX = "unix"
"""Stands among networks for those who connect to a Unix socket."""

_SCHEMES = {"http": b"http", "ws": b"http", "https": b"https", "wss": b"https"}


def _network(given: Network | str) -> Network | str:
    if given == UNIX:
        return UNIX
    return parse_network(given) if isinstance(given, str) else plain_network(given)


def _networks(given: Iterable[Network | str]) -> tuple[Network | str, ...]:
    return tuple(_network(one) for one in given)


@attrs.frozen
class ForwardedPolicy:
    """The rules of one listener.

    Attributes:
        via: our name in `Via`, a token.
        proto: how clients reach us, `b"http"` or `b"https"`.
        trusted: networks whose word about those before them is kept; they may be given
            as text, see `addresses`. `unix` is for those who come by a Unix socket.
        replaces: whether servers are told of the client only, and not of those between.
        proxy_protocol: whether each connection begins with a header of the PROXY
            protocol, and those that are not trusted are closed.
        half_close: whether a client that ends its half of a connection may still wait
            for its response, for `Limits.half_closed_s`; else it has left.
        introduced: of one connection: what its balancer said of it by the PROXY protocol.
    """

    via: bytes = b"canary-trio"
    proto: bytes = b"http"
    trusted: tuple[Network | str, ...] = attrs.field(default=(), converter=_networks)
    replaces: bool = False
    proxy_protocol: bool = False
    half_close: bool = False
    introduced: ProxyHeader | None = attrs.field(default=None, repr=False)

    def trusts(self, client_address: str) -> bool:
        """Tell whether the client's own forwarding fields are kept."""
        if not self.trusted:
            return False
        if client_address == UNIX:
            return UNIX in self.trusted
        address = parse_address(client_address)
        return address is not None and any(
            address in one for one in self.trusted if not isinstance(one, str)
        )


@attrs.frozen
class ClientIdentity:
    """Who a client is, as those before us say, whom we trust.

    Attributes:
        address: its address; `unknown`, or a name that begins with `_`, where they hide it.
        proto: how it reached them, `b"http"` or `b"https"`.
        host: what it asked them for; None if they do not say.
        hops: it and those after it, up to ours, by address.
        replaces: as of the policy, for this request; None for what that says.
    """

    address: str
    proto: bytes
    host: bytes | None
    hops: tuple[str, ...]
    replaces: bool | None = None


def identify(
    rules: ForwardedPolicy, client_address: str, head: RequestHead
) -> ClientIdentity | None:
    """Give the client as those before us name it, whom we trust; None if nobody does.

    It is the nearest that is not one of them: what stands further left, anybody can
    write. What is malformed ends the walk. `Forwarded` is read only where there is no
    `X-Forwarded-For`: a proxy that writes one of them may well pass the other on.
    """
    if not head.forwarded or not rules.trusts(client_address):
        return None
    said = _said(head)
    if b"x-forwarded-for" in said or b"forwarded" not in said:
        return _by_x_forwarded(rules, client_address, said)
    return _by_forwarded(rules, client_address, said[b"forwarded"])


def _by_x_forwarded(
    rules: ForwardedPolicy, client_address: str, said: dict[bytes, bytes]
) -> ClientIdentity:
    hops: list[str] = []
    for member in islice(members_from_right(said.get(b"x-forwarded-for", b"")), HOPS):
        node = parse_node(member)
        if node is None:
            break
        hops.append(node)
        if not rules.trusts(node):
            break
    place = max(len(hops) - 1, 0)
    protos = _some_from_right(said.get(b"x-forwarded-proto", b""), place)
    hosts = _some_from_right(said.get(b"x-forwarded-host", b""), place)
    return _identity(rules, client_address, hops, protos, hosts)


def _by_forwarded(
    rules: ForwardedPolicy, client_address: str, said: bytes
) -> ClientIdentity:
    hops: list[str] = []
    proto = host = ""
    for element in islice(elements_from_right(said), HOPS):
        node = parse_node(element.get("for", ""))
        if node is None:
            break
        hops.append(node)
        proto, host = element.get("proto", proto), element.get("host", host)
        if not rules.trusts(node):
            break
    return _identity(rules, client_address, hops, proto, host)


def _identity(
    rules: ForwardedPolicy, client_address: str, hops: list[str], proto: str, host: str
) -> ClientIdentity:
    address = hops[-1] if hops else client_address
    scheme = _SCHEMES.get(proto.lower(), rules.proto)
    name = host.encode("latin-1")
    known = name if name and is_host(name) else None
    return ClientIdentity(address, scheme, known, tuple(reversed(hops)))


def _some_from_right(value: bytes, place: int) -> str:
    """Give the member at a place from the right, or the last there is before it."""
    members = list(islice(members_from_right(value), place + 1))
    return members[-1] if members else ""


def _said(head: RequestHead) -> dict[bytes, bytes]:
    said: dict[bytes, bytes] = {}
    for name, value in head.forwarded:
        said[name] = b", ".join((said[name], value)) if name in said else value
    return said


def forwarded_fields(
    rules: ForwardedPolicy,
    client_address: str,
    head: RequestHead,
    *,
    identity: ClientIdentity | None = None,
    version: bytes = b"1.1",
) -> bytes:
    """Give the lines to add to a request, each led by CRLF.

    Args:
        rules: of the listener.
        client_address: the address of whoever connected as text, or "unix".
        head: the request.
        identity: what `identify` gave.
        version: of HTTP by which it came; 1.0 if the head says so.
    """
    peer = b"unknown" if client_address == "unix" else client_address.encode()
    own = _element(peer, head.host, rules.proto)
    if identity is None:
        chain, elements, host, proto = peer, own, head.host, rules.proto
    else:
        host, proto = identity.host or head.host, identity.proto
        said = _said(head)
        hops = [hop.encode() for hop in identity.hops] or [peer]
        client = _element(hops[0], host, proto)
        if rules.replaces if identity.replaces is None else identity.replaces:
            chain, elements = hops[0], client
        else:
            after = [b"for=" + _node(hop) for hop in hops[1:]]
            ours = [own] if identity.hops else []
            before = said.get(b"x-forwarded-for") or b", ".join(hops)
            chain = b", ".join([before, peer]) if identity.hops else peer
            if b"x-forwarded-for" not in said and b"forwarded" in said:
                elements = b", ".join([said[b"forwarded"], own])
            else:
                elements = b", ".join([client, *after, *ours])
    lines = [b"", b"X-Forwarded-For: " + chain, b"X-Forwarded-Proto: " + proto]
    if host:
        lines.append(b"X-Forwarded-Host: " + host)
    via = b"Via: %b %b" % (b"1.0" if head.http10 else version, rules.via)
    lines += [b"Forwarded: " + elements, via]
    return b"\r\n".join(lines)


def _element(client: bytes, host: bytes | None, proto: bytes) -> bytes:
    named = b'host="%b";' % host if host else b""
    return b"for=%b;%bproto=%b" % (_node(client), named, proto)


def _node(client: bytes) -> bytes:
    return b'"[%b]"' % client if b":" in client else client


class Wire(Protocol):
    """What a client is connected by: its socket."""

    def getpeername(self) -> object:
        """Give the client's address and port."""

    def getsockname(self) -> object:
        """Give the address and port that it connected to."""


class SaidOfClient:
    """What is said of one client, over a protocol whose requests share much.

    The fields are kept, since a client rarely asks for another host.

    Attributes:
        secure: whether the client came over TLS.
        trusted: whether its word about those before it is kept.
        host: which it asked for last, where nobody before it is named.
        lines: what was said then.
        wire: what it is connected by.
        introduced: what its balancer said of the connection by the PROXY protocol.
        on_gone: by whom is told once it is gone, what they are told; None for nobody.
    """

    __slots__ = (
        "_address",
        "_rules",
        "_version",
        "host",
        "introduced",
        "lines",
        "on_gone",
        "secure",
        "trusted",
        "wire",
    )

    def __init__(
        self,
        rules: ForwardedPolicy,
        client_address: str,
        version: bytes,
        wire: Wire | None = None,
    ) -> None:
        """Begin; the arguments are as of `forwarded_fields`."""
        self.wire = wire
        self.introduced = rules.introduced
        self.on_gone: dict[Callable[[bytes], None], bytes] | None = None
        self._rules = rules
        self._address = client_address
        self._version = version
        self.secure = rules.proto == b"https"
        self.trusted = rules.trusts(client_address)
        self.host: bytes | None = b"\0"  # no host yet
        self.lines = b""

    def __repr__(self) -> str:
        return f"<SaidOfClient {self._address}>"

    def fields(self, head: RequestHead, identity: ClientIdentity | None) -> bytes:
        """Give the lines to add to a request, each led by CRLF."""
        fields = forwarded_fields(
            self._rules, self._address, head, identity=identity, version=self._version
        )
        if identity is None and not head.http10:
            self.host, self.lines = head.host, fields
        return fields

    def gone(self) -> None:
        """Tell those who wait for that: the client is gone."""
        told, self.on_gone = self.on_gone or {}, None
        for tell, what in told.items():
            tell(what)

    def identify(self, head: RequestHead) -> ClientIdentity | None:
        """Give the client of a request that says who it is, as `identify`."""
        if not self.trusted:
            return None
        return identify(self._rules, self._address, head)
