"""Whom a request to the admin listener means, and whether who sends it may ask that.

It says where the servers are, so a page of strangers may not even read it: what is looked at
is in `http_trio.KnownHosts` and `http_trio.is_foreign_page`. Who asks from this machine may
read, as may whoever has a token or a certificate; to write, only a role will do. What tells
nothing but that a proxy lives, and its name, is for everyone: balancers have no token.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import attrs

from canary_trio.admin.asking.tokens import AdminRole, Caller, RoleFile
from http_trio import Exchange, Handler, KnownHosts, Response, is_foreign_page

FOR_EVERYONE = frozenset((b"/live", b"/healthz", b"/ready", b"/identity"))
"""The pages that need no role."""

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_READING = (b"/explain", b"/rehearse")  # asked by POST, and changes nothing

ANYBODY = Caller("", AdminRole.READ)
"""Somebody without a name, who may read."""


@attrs.define(eq=False)
class AdminAccess:
    """Who may do what.

    Attributes:
        roles: of tokens and certificates.
        is_open: whether whoever reaches it may read.
    """

    roles: RoleFile = attrs.field(factory=lambda: RoleFile(None))
    is_open: bool = False

    def caller_of(self, exchange: Exchange) -> Caller | None:
        """Give who asks; None for somebody who shows a token that is not known."""
        roles = self.roles.roles
        kind, _, value = (exchange.header(b"authorization") or b"").partition(b" ")
        if kind.lower() == b"bearer":
            return roles.find(value.strip())
        certificate = exchange.client_certificate
        if certificate is not None:
            role = roles.certificates.get(certificate.subject, AdminRole.READ)
            return Caller(certificate.subject, role)
        if self.is_open or is_local(exchange.client):
            return ANYBODY
        return Caller("", AdminRole.NONE)


def is_local(client: str) -> bool:
    """Tell whether a client is on this machine.

    >>> [is_local(one) for one in ("unix", "127.8.0.1", "::1", "10.0.0.1", "")]
    [True, True, True, False, False]
    """
    if client == "unix":
        return True
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False


def needed(exchange: Exchange) -> AdminRole:
    """Give the role that a request needs."""
    if exchange.path in FOR_EVERYONE:
        return AdminRole.NONE
    reads = exchange.method in ("GET", "HEAD") or exchange.path in _READING
    return AdminRole.READ if reads else AdminRole.WRITE


class AdminGuard:
    """A handler before the admin's."""

    def __init__(
        self,
        handler: Handler,
        names: Iterable[str] = (),
        access: AdminAccess | None = None,
    ) -> None:
        """Let requests pass that name one of these, the machine, or an IP address.

        Args:
            handler: of those that pass.
            names: by which the listener is known.
            access: who may do what; by default this machine may read.
        """
        self._handler = handler
        self._hosts = KnownHosts((*names, socket.gethostname(), "localhost"))
        self._access = access or AdminAccess()

    def __repr__(self) -> str:
        return f"<AdminGuard {self._hosts}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request, or refuse it."""
        why = "" if exchange.client == "unix" else self._why_not(exchange)
        if why:
            exchange.respond(Response(_FORBIDDEN, why.encode() + b"\n"))
        elif (refusal := self._refusal(exchange)) is not None:
            exchange.respond(refusal)
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

    def _refusal(self, exchange: Exchange) -> Response | None:
        """Give the response to somebody who may not ask this; None for who may."""
        wanted = needed(exchange)
        if wanted is AdminRole.NONE:
            return None
        caller = self._access.caller_of(exchange)
        if caller is None:
            return _unauthorized(b"this token is not known here")
        if caller.role >= wanted:
            return None
        if caller.role is AdminRole.NONE or not caller.name:
            role = wanted.name.lower().encode()
            return _unauthorized(b"this needs a token with the role " + role)
        why = b"this needs the role write, and %b may only read\n"
        return Response(_FORBIDDEN, why % caller.name.encode("utf-8", "replace"))


def _unauthorized(why: bytes) -> Response:
    said = why + b"; see --admin-token-file in docs/admin.md\n"
    challenge = (b"WWW-Authenticate", b'Bearer realm="canary admin"')
    return Response(_UNAUTHORIZED, said, headers=(challenge,))
