"""What a server is told of an exchange's client by the PROXY protocol.

It is the client that rules and logs see. Where trusted balancers name it over HTTP, its
address is all that is known of it, and whether it came by TLS; who connected to them, and
with what handshake, they do not say. The rule that it obeys: nothing of a balancer's own
connection is told as its client's.
"""

from __future__ import annotations

from http_trio.hosts.addresses import plain_address
from http_trio.hosts.introduction import (
    LOCAL,
    Introduction,
    ProxyVersion,
    render_introduction,
)
from http_trio.hosts.proxy_protocol import Endpoint
from http_trio.http1.forwarded import SaidOfClient
from http_trio.net.tls_socket import TlsSocket
from http_trio.server.exchange import Exchange


def introduce(exchange: Exchange, version: ProxyVersion) -> bytes:
    """Give the header with which a connection for this client begins."""
    connection = exchange.connection
    if connection is None:
        return LOCAL[version]
    said = connection.said
    destination = _destination(said)
    if is_named_by_balancer(exchange):
        source = (exchange.client, 0)
        met = Introduction(source, destination, exchange.secure)
        return render_introduction(version, met)
    introduced, certificate = said.introduced, exchange.client_certificate
    alpn = authority = tls_version = b""
    if isinstance(said.wire, TlsSocket):
        alpn = (said.wire.alpn or "").encode()
        authority = said.wire.asked_name.encode()
        tls_version = said.wire.version.encode()
    elif introduced is not None:
        alpn, authority = introduced.alpn, introduced.authority
    name = None if certificate is None else (certificate.common_name or "").encode()
    met = Introduction(
        (exchange.client, _port(said)),
        destination,
        exchange.secure,
        alpn,
        authority,
        tls_version,
        name,
    )
    return render_introduction(version, met)


def is_named_by_balancer(exchange: Exchange) -> bool:
    """Tell whether the client is another one than who connected, or was introduced."""
    connection = exchange.connection
    return connection is not None and exchange.client != connection.client_address


def _port(said: SaidOfClient) -> int:
    if said.introduced is not None and said.introduced.address is not None:
        return said.introduced.port
    found = None if said.wire is None else _endpoint(said.wire.getpeername)
    return 0 if found is None else found[1]


def _destination(said: SaidOfClient) -> Endpoint | None:
    if said.introduced is not None and said.introduced.destination is not None:
        return said.introduced.destination
    return None if said.wire is None else _endpoint(said.wire.getsockname)


def _endpoint(ask: object) -> Endpoint | None:
    try:
        name = ask() if callable(ask) else None
    except OSError:  # it is gone
        return None
    if not isinstance(name, tuple):
        return None
    return plain_address(str(name[0])), int(name[1])
