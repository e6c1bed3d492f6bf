"""From a server of the document to the upstream that the engine connects to. Pure but TLS.

One server may be in several arms; they share its upstream, and so its warm connections,
unless they verify its certificate in different ways.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from canary_trio.config.model import Server
from canary_trio.config.policies import UpstreamTls
from canary_trio.config.url import UrlParts
from http_trio import Address, BadCertificate, Upstream, client_context

AUTHORITIES_LIMIT = 16 * 1024 * 1024
"""Bytes of a file of authorities at most; the system's have a quarter of a million."""

Target = tuple[str, UpstreamTls | None]
"""Whom to connect to: a URL, and how its certificate is verified, where it has one."""


def target_of(server: Server, tls: UpstreamTls) -> Target:
    """Give the target of a server in an arm with these settings."""
    return server.url, tls if server.is_tls else None


def make_upstream(server: Server, target: Target) -> Upstream:
    """Make a server's upstream; without addresses if its name is still to be resolved.

    Raises:
        http_trio.BadCertificate: the authorities to trust cannot be read.
    """
    parts = server.parts
    _, tls = target
    if tls is not None and tls.ca is not None:
        _check_file(tls.ca)
    name = None if tls is None else tls.server_name
    return Upstream(
        server.url,
        known_addresses(parts) or (),
        host_field(parts, secure=tls is not None),
        prefix=parts.prefix.encode(),
        tls=None if tls is None else client_context(verify=tls.verify, ca=tls.ca),
        server_name=name or parts.host.strip("[]"),
    )


def _check_file(path: str) -> None:
    """Refuse what would keep the event loop: a pipe, a device, a file without an end."""
    try:
        found = os.stat(path)  # noqa: PTH116  # no object for each change of a document
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or str(exc)
        raise BadCertificate(f"cannot use the authorities {path}: {why}") from exc
    if not stat.S_ISREG(found.st_mode) or found.st_size > AUTHORITIES_LIMIT:
        raise BadCertificate(
            f"cannot use the authorities {path}: expected a file of at most"
            f" {AUTHORITIES_LIMIT} bytes"
        )


def known_addresses(parts: UrlParts) -> tuple[Address, ...] | None:
    """Give the addresses of a server that needs no resolving; None for a name.

    >>> known_addresses(UrlParts("[::1]", 8000))[0][1]
    ('::1', 8000)
    >>> known_addresses(UrlParts("example.org", 80)) is None
    True
    """
    if parts.path:
        return ((socket.AF_UNIX, parts.path),)
    host = parts.host.strip("[]")
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # it is a name, or of the other family
            socket.inet_pton(family, host)
            return ((family, (host, parts.port)),)
    return None


def host_field(parts: UrlParts, *, secure: bool) -> bytes:
    """Give the Host that names a server (RFC 9110 section 7.2).

    >>> host_field(UrlParts("[::1]", 8443), secure=True)
    b'[::1]:8443'
    >>> host_field(UrlParts("example.org", 443), secure=True)
    b'example.org'
    >>> host_field(UrlParts(path="/run/a"), secure=False)
    b'localhost'
    """
    if parts.path:
        return b"localhost"
    if parts.port == (443 if secure else 80):
        return parts.host.encode()
    return f"{parts.host}:{parts.port}".encode()
