"""From a server of the document to the upstream that the engine connects to. Pure but TLS.

One server may be in several arms; they share its upstream, and so its warm connections,
unless they verify its certificate in different ways.
"""

from __future__ import annotations

import ipaddress
import socket

import attrs

from canary_trio.config import Server
from canary_trio.policy import UpstreamTls
from http_trio import Upstream, client_context
from http_trio.upstream import Address

_DEFAULT_PORT = {False: 80, True: 443}


@attrs.frozen
class Target:
    """Whom to connect to, and how.

    Attributes:
        url: the server's.
        tls: how its certificate is verified; None where there is none.
    """

    url: str
    tls: UpstreamTls | None

    @classmethod
    def of(cls, server: Server, tls: UpstreamTls) -> Target:
        """Give the target of a server in an arm with these settings."""
        return cls(server.url, tls if server.is_tls else None)


def make_upstream(server: Server, target: Target) -> Upstream:
    """Make a server's upstream; without addresses if its name is still to be resolved.

    Raises:
        http_trio.BadCertificate: the authorities to trust cannot be read.
    """
    tls = target.tls
    return Upstream(
        server.url,
        known_addresses(server) or (),
        host_field(server),
        prefix=server.prefix.encode(),
        tls=None if tls is None else client_context(verify=tls.verify, ca=tls.ca),
        server_name=None if tls is None else tls.server_name,
    )


def known_addresses(server: Server) -> tuple[Address, ...] | None:
    """Give the addresses of a server that needs no resolving; None for a name.

    >>> from canary_trio.config import Server
    >>> known_addresses(Server("http://[::1]:8000"))[0][1]
    ('::1', 8000)
    """
    if server.path:
        return ((socket.AF_UNIX, server.path),)
    try:
        version = ipaddress.ip_address(server.host).version
    except ValueError:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return ((family, (server.host, server.port)),)


def host_field(server: Server) -> bytes:
    """Give the Host that names a server (RFC 9110 section 7.2).

    >>> from canary_trio.config import Server
    >>> host_field(Server("https://[::1]:8443/base")), host_field(Server("unix:/run/a"))
    (b'[::1]:8443', b'localhost')
    """
    if server.path:
        return b"localhost"
    host = f"[{server.host}]" if ":" in server.host else server.host
    if server.port == _DEFAULT_PORT[server.is_tls]:
        return host.encode()
    return f"{host}:{server.port}".encode()
