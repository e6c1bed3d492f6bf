"""What a proxy says of the client to the upstream.

`X-Forwarded-For`, `-Proto`, `-Host` (de facto) and `Forwarded` (RFC 7239) name the
client, and `Via` (RFC 9110 section 7.6.3) names us. What a client says of those
before it is dropped, since anybody can write it, unless its address is in a network
that the operator trusts; then ours is appended to it.
"""

from __future__ import annotations

import ipaddress

import attrs

from http_trio.http1.request_head import RequestHead

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class ForwardedPolicy:
    """The rules of one listener.

    Attributes:
        via: our name in `Via`, a token.
        proto: how clients reach us, `b"http"` or `b"https"`.
        trusted: networks whose word about those before them is kept.
    """

    via: bytes = b"canary-trio"
    proto: bytes = b"http"
    trusted: tuple[Network, ...] = ()

    def trusts(self, client_address: str) -> bool:
        """Tell whether the client's own forwarding fields are kept."""
        if not self.trusted:
            return False
        try:
            address = ipaddress.ip_address(client_address)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)


def forwarded_fields(
    rules: ForwardedPolicy, client_address: str, head: RequestHead, *, trusted: bool
) -> bytes:
    """Give the lines to add to a request, each led by CRLF.

    Args:
        rules: of the listener.
        client_address: the client's address as text, or "unix".
        head: the request.
        trusted: what `rules.trusts(client_address)` gave.
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
    lines += [b"Forwarded: " + elements, b"Via: 1.1 " + rules.via]
    return b"\r\n".join(lines)


def _element(client: bytes, host: bytes | None, proto: bytes) -> bytes:
    node = b'"[%b]"' % client if b":" in client else client
    named = b'host="%b";' % host if host else b""
    return b"for=%b;%bproto=%b" % (node, named, proto)
