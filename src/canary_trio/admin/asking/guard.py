"""Whom a request to the admin listener means, and whether who sends it may ask that.

It says where the servers are, so a page of strangers may not even read it: what is looked at
is in `http_trio.KnownHosts` and `http_trio.is_foreign_page`. Who asks from this machine may
read, as may whoever has a token or a certificate; to write, only a role will do. What tells
nothing but that a proxy lives, and its name, is for everyone: balancers have no token. So are
the files of the console's page, which say nothing either, and where it logs in.

It stands before requests of the engine (`AdminGuard`), and before those of an ASGI server
that the console is mounted in; both ask `Door`, so there is one guard. One file, since it is
one decision.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Iterable

import attrs

from canary_trio.admin.asking.sessions import (
    Grant,
    Sessions,
    cookie_in,
    cookie_name,
    grant_of,
)
from canary_trio.admin.asking.tokens import AdminRole, Caller, RoleFile
from http_trio import Exchange, Handler, KnownHosts, Response, is_foreign_page

FOR_EVERYONE = frozenset(
    (
        *(b"/live", b"/healthz", b"/ready", b"/identity"),
        *(b"/", b"/favicon.ico", b"/console"),
        *(b"/api/v1/session", b"/api/v1/openapi.json"),
    )
)
"""The pages that need no role."""

PAGE = b"/console/"
"""Below it are the files of the console, which need no role either."""

API = b"/api/"
"""Below it refusals are JSON, too."""

OWN_FIELD = b"x-canary-console"
"""The field that a page sends with each write, as no form of another page can."""

_UNAUTHORIZED, _FORBIDDEN = 401, 403
_READING = (b"/explain", b"/rehearse", b"/api/v1/logins")  # asked by POST
_ASKING = re.compile(rb"/api/v1/services/[^/]+/(?:preview|explain|rehearse)\Z")

ANYBODY = Caller("", AdminRole.READ, "machine")
"""Somebody without a name, who may read."""

NOBODY = Caller("", AdminRole.NONE, "none")
"""Somebody who may do nothing but what everybody may."""


@attrs.frozen
class AdminRequest:
    """What of a request says who asks, and for what.

    Attributes:
        method, path: as sent; the path without the query.
        client: its address, or "unix".
        secure: whether it came over TLS.
        host, site, origin, authorization, own: the fields `Host`, `Sec-Fetch-Site`,
            `Origin`, `Authorization` and `X-Canary-Console`.
        cookies: the Cookie fields.
        subject: of the verified certificate of the client; None for none.
    """

    method: str
    path: bytes
    client: str
    secure: bool
    host: bytes | None
    site: bytes | None
    origin: bytes | None
    authorization: bytes | None
    own: bytes | None
    cookies: list[bytes] = attrs.field(repr=False)
    subject: str | None = None

    @classmethod
    def of(cls, exchange: Exchange) -> AdminRequest:
        """Read it of an exchange."""
        certificate = exchange.client_certificate
        return cls(
            exchange.method,
            exchange.path,
            exchange.client,
            exchange.secure,
            exchange.head.host,
            exchange.header(b"sec-fetch-site"),
            exchange.header(b"origin"),
            exchange.header(b"authorization"),
            exchange.header(OWN_FIELD),
            exchange.headers(b"cookie"),
            None if certificate is None else certificate.subject,
        )

    @property
    def session(self) -> bytes | None:
        """The secret of its session; None for none."""
        return cookie_in(self.cookies, self.cookie_name)

    @property
    def cookie_name(self) -> bytes:
        """Of the cookie of a session here."""
        return cookie_name(self.host, secure=self.secure)

    @property
    def is_for_everyone(self) -> bool:
        """Whether it needs no role."""
        return self.path in FOR_EVERYONE or self.is_of_page

    @property
    def is_of_page(self) -> bool:
        """Whether it is for one of the files of the page."""
        reads = self.method in ("GET", "HEAD")
        return reads and (
            self.path.startswith(PAGE) or self.path in (b"/", b"/console")
        )


@attrs.define(eq=False)
class AdminAccess:
    """Who may do what.

    Attributes:
        roles: of tokens and certificates.
        is_open: whether whoever reaches it may read.
        is_vouched: whether whoever reaches it by a Unix socket may do all: a worker's, where
            its supervisor has looked who asks.
        sessions: of browsers.
    """

    roles: RoleFile = attrs.field(factory=lambda: RoleFile(None))
    is_open: bool = False
    is_vouched: bool = False
    sessions: Sessions = attrs.field(factory=Sessions)

    def caller_of(self, asked: AdminRequest) -> Caller | None:
        """Give who asks; None for somebody who shows a token that is not known."""
        roles = self.roles.roles
        if self.is_vouched and asked.client == "unix":
            return Caller("", AdminRole.WRITE, "supervisor")
        kind, _, value = (asked.authorization or b"").partition(b" ")
        if kind.lower() == b"bearer":
            return roles.find(value.strip())
        secret = asked.session
        known = None if secret is None else self.sessions.find(secret, roles)
        if known is not None:
            return known[0]
        if asked.subject is not None:
            role = roles.certificates.get(asked.subject, AdminRole.READ)
            return Caller(asked.subject, role, "certificate")
        if is_local(asked.client):
            return ANYBODY
        return attrs.evolve(ANYBODY, by="open") if self.is_open else NOBODY

    def grant_of(self, asked: AdminRequest) -> Grant | None:
        """Give what a session of who asks would be made of; None for nobody in particular."""
        kind, _, value = (asked.authorization or b"").partition(b" ")
        if kind.lower() == b"bearer":
            return grant_of(value.strip())
        secret = asked.session
        known = None if secret is None else self.sessions.find(secret, self.roles.roles)
        if known is not None:
            return known[1]
        return None if asked.subject is None else Grant(b"", asked.subject)


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


def needed(asked: AdminRequest) -> AdminRole:
    """Give the role that a request needs."""
    if asked.is_for_everyone:
        return AdminRole.NONE
    reads = asked.method in ("GET", "HEAD") or asked.path in _READING
    return AdminRole.READ if reads or _ASKING.match(asked.path) else AdminRole.WRITE


class Door:
    """Who may pass."""

    def __init__(self, names: Iterable[str], access: AdminAccess) -> None:
        """Let requests pass that name one of these, the machine, or an IP address.

        Args:
            names: by which the listener is known.
            access: who may do what.
        """
        self.access = access
        self._hosts = KnownHosts((*names, socket.gethostname(), "localhost"))

    def __repr__(self) -> str:
        return f"<Door {self._hosts}>"

    def refusal(self, asked: AdminRequest) -> Response | None:
        """Give the response to somebody who may not ask this; None for who may."""
        is_api = asked.path.startswith(API)
        # a worker's supervisor has looked; another Unix socket may be what a port leads to
        is_vouched = self.access.is_vouched and asked.client == "unix"
        why = "" if is_vouched else self._why_not(asked)
        if why:
            return _refusal(_FORBIDDEN, why, is_api=is_api)
        wanted = needed(asked)
        if wanted is AdminRole.NONE:
            return None
        caller = self.access.caller_of(asked)
        if caller is None:
            return _unauthorized("this token is not known here", is_api=is_api)
        if caller.role >= wanted:
            return self._unled(asked, caller)
        if caller.role is AdminRole.NONE or not caller.name:
            role = wanted.name.lower()
            return _unauthorized(
                f"this needs a token with the role {role}", is_api=is_api
            )
        why = f"this needs the role write, and {caller.name} may only read"
        return _refusal(_FORBIDDEN, why, is_api=is_api)

    def _why_not(self, asked: AdminRequest) -> str:
        if not self._hosts.is_meant(asked.host):
            shown = (asked.host or b"")[:100].decode("ascii", "backslashreplace")
            return f"this listener is not known as {shown}; see --admin-host"
        if asked.is_of_page:  # says nothing, and a link to it may stand anywhere
            return ""
        if is_foreign_page(asked.host, asked.site, asked.origin):
            return "a page of another site or origin may not ask this listener"
        return ""

    def _unled(self, asked: AdminRequest, caller: Caller) -> Response | None:
        """Refuse what a browser sends with what it has of a user, unless our page sends it."""
        reads = asked.method in ("GET", "HEAD") or not asked.path.startswith(API)
        if reads or asked.own is not None:
            return None
        is_browser = asked.site is not None or asked.origin is not None
        if caller.by == "session" or (caller.by == "certificate" and is_browser):
            why = "a write of a browser needs the field X-Canary-Console"
            return _refusal(_FORBIDDEN, why, is_api=True)
        return None


class AdminGuard:
    """A handler before the admin's.

    Attributes:
        door: who may pass.
    """

    def __init__(
        self,
        handler: Handler,
        names: Iterable[str] = (),
        access: AdminAccess | None = None,
    ) -> None:
        """Let those pass whom `Door` lets; by default this machine may read."""
        self._handler = handler
        self.door = Door(names, access or AdminAccess())

    def __repr__(self) -> str:
        return f"<AdminGuard {self.door}>"

    def __call__(self, exchange: Exchange) -> None:
        """Respond to a request, or refuse it."""
        refusal = self.door.refusal(AdminRequest.of(exchange))
        if refusal is not None:
            exchange.respond(refusal)
        else:
            self._handler(exchange)


def _unauthorized(why: str, *, is_api: bool) -> Response:
    said = f"{why}; see --admin-token-file in docs/admin.md"
    challenge = (b"WWW-Authenticate", b'Bearer realm="canary admin"')
    return _refusal(_UNAUTHORIZED, said, challenge, is_api=is_api)


def _refusal(
    status: int, why: str, *fields: tuple[bytes, bytes], is_api: bool
) -> Response:
    if is_api:
        body = json.dumps({"error": why}).encode()
        fields = (*fields, (b"Cache-Control", b"no-store"))
        return Response(status, body, b"application/json", fields)
    return Response(status, f"{why}\n".encode("utf-8", "replace"), headers=fields)
