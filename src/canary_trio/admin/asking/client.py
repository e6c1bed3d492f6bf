"""Asking a proxy's admin listener, from a command: one request, one short response.

Its address comes from the proxy's report, so from the store: whoever writes there could name
a server of their own. So the operator's token is shown over TLS to who has a certificate of
the authority that the operator named, or without it to an address that they named, and to
nobody else: not to this machine either, which may read without one. One file, since whatever
is asked goes through the one place that decides so.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any, NoReturn
from urllib.parse import quote

import attrs
import trio

from canary_trio.errors import printable
from http_trio import (
    Address,
    BadCertificate,
    NoResponse,
    Upstream,
    client_context,
    fetch,
)

RESPONSE_BYTES = 64 * 1024 * 1024
"""Of a response at most."""

IDENTITY_BYTES = 1024 * 1024
"""Of what says who is there at most."""

_SAID = 300  # bytes of why it refuses

ASK_S = 2.0
"""How long another proxy has to say that it is alive."""


class AdminUnreachable(Exception):
    """A proxy's admin listener gave no usable response; says why."""


@attrs.frozen
class AdminCredentials:
    """What an operator shows to admin listeners, and how they are verified.

    Attributes:
        token: its secret; None to show none.
        ca: the authorities that listeners with TLS are verified by, as PEM; None for the
            system's, and then no token is shown to them.
        named: addresses that are shown the token without TLS.
        verify: False to take any certificate, where nothing is shown and nothing believed.
    """

    token: str | None = attrs.field(default=None, repr=False)
    ca: str | os.PathLike[str] | None = None
    named: frozenset[str] = frozenset()
    verify: bool = True

    def shown_to(self, address: str) -> str | None:
        """Give the token that an address may be shown; None for none.

        >>> AdminCredentials("s", ca="ca.pem").shown_to("https://10.0.0.1:8081")
        's'
        >>> AdminCredentials("s").shown_to("https://10.0.0.1:8081")
        >>> AdminCredentials("s", ca="ca.pem").shown_to("10.0.0.1:8081")
        >>> AdminCredentials("s", named={"10.0.0.1:8081"}).shown_to("10.0.0.1:8081")
        's'
        """
        if address.startswith("https://"):
            return self.token if self.ca is not None and self.verify else None
        return self.token if address in self.named else None


NOTHING = AdminCredentials()
"""Of somebody who has no token."""


async def read_status(
    address: str, credentials: AdminCredentials = NOTHING, *, service: str = ""
) -> dict[str, Any]:
    """Give what a proxy says at `/status`; put it under a cancel scope.

    Args:
        address: of its admin listener: `HOST:PORT`, `https://HOST:PORT` or `unix:PATH`.
        credentials: what it is shown.
        service: of which alone it is asked; of a gateway all of its services if empty.

    Raises:
        AdminUnreachable: nothing usable came.
    """
    path = b"/status"
    if service:
        path += b"?service=" + quote(service, "").encode()
    return await _read(address, path, credentials, RESPONSE_BYTES)


async def ask_rehearsal(
    address: str,
    service: str,
    document: bytes,
    credentials: AdminCredentials = NOTHING,
) -> dict[str, Any]:
    """Give what a proxy says of a proposed document at `/rehearse`, as `read_status`.

    Args:
        address: of its admin listener.
        service: whose document it is.
        document: JSON.
        credentials: what it is shown.

    Raises:
        AdminUnreachable: nothing usable came.
    """
    path = b"/rehearse?service=" + quote(service, "").encode()
    return await _read(address, path, credentials, RESPONSE_BYTES, document)


async def ask_login(address: str, credentials: AdminCredentials = NOTHING) -> str:
    """Give a login for the console that holds once; empty for who shows no token there.

    Args:
        address: of its admin listener.
        credentials: what it is shown.

    Raises:
        AdminUnreachable: it has no console, or nothing usable came.
    """
    if credentials.shown_to(address) is None:
        said = await _read(address, b"/api/v1/session", credentials, IDENTITY_BYTES)
        return "" if "role" in said else _no_console()
    path = b"/api/v1/logins"
    said = await _read(address, path, credentials, IDENTITY_BYTES, b"{}", expected=201)
    login = said.get("login")
    return login if isinstance(login, str) else _no_console()


def _no_console() -> NoReturn:
    raise AdminUnreachable("it has no console (--no-console)")


async def _read(
    address: str,
    path: bytes,
    credentials: AdminCredentials,
    body_limit: int,
    document: bytes | None = None,
    expected: int = 200,
) -> dict[str, Any]:
    """Ask for a page; by POST where a document is sent to it."""
    method = b"GET" if document is None else b"POST"
    where = address.removeprefix("https://")
    secret = credentials.shown_to(address)
    name = where.rpartition(":")[0].strip("[]")  # whom a certificate must name
    lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: admin", b"Connection: close"]
    if document is not None:
        lines.append(b"Content-Length: %d" % len(document))
        lines.append(b"Content-Type: application/json")
    if secret is not None:
        lines.append(b"Authorization: Bearer " + secret.encode("ascii", "replace"))
    try:
        tls = None
        if where != address:
            tls = client_context(ca=credentials.ca, verify=credentials.verify)
        admin = Upstream(
            address, await _resolve(where), b"admin", tls=tls, server_name=name
        )
        response = await fetch(
            admin,
            b"\r\n".join((*lines, b"", document or b"")),
            method=method,
            body_limit=body_limit,
            keep_body=True,
        )
    except (NoResponse, BadCertificate, OSError, ValueError) as exc:
        raise AdminUnreachable(str(exc)) from exc  # such as a port of letters
    if response.status in (401, 403):
        raise AdminUnreachable(_why_refused(address, credentials, response.status))
    if response.status != expected:
        said = response.body[:_SAID].decode("utf-8", "replace").strip()
        said = f": {printable(said)}" if document is not None and said else ""
        raise AdminUnreachable(f"answered with status {response.status}{said}")
    if not response.whole:
        raise AdminUnreachable(f"answered more than {body_limit} bytes")
    return parse_status(response.body)


def _why_refused(address: str, credentials: AdminCredentials, status: int) -> str:
    if credentials.shown_to(address) is not None:
        return f"it refuses the token (status {status})"
    if credentials.token is None:
        return f"it asks for a token (status {status}); give an --admin-token-file"
    if address.startswith("https://"):
        return "it asks for a token, which is shown only by the authority of --admin-ca"
    return (
        f"it asks for a token, which is shown without TLS only by --admin-at {address}"
    )


def parse_status(body: bytes) -> dict[str, Any]:
    """Read what came; that it is a table is all that is known of it.

    Raises:
        AdminUnreachable: it is no JSON, or no table.
    """
    try:
        shown: dict[str, Any] = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise AdminUnreachable(f"answered no JSON: {exc}") from exc
    if not isinstance(shown, dict):
        raise AdminUnreachable("answered no table")
    return shown


async def _resolve(address: str) -> list[Address]:
    """Give what a listener's address stands for.

    Raises:
        OSError: its name does not resolve.
    """
    path = address.removeprefix("unix:")
    if path != address:
        return [(socket.AF_UNIX, path)]
    host, _, port = address.rpartition(":")
    found = await trio.socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM
    )
    return [(family, at) for family, _, _, _, at in found]


async def is_other_proxy(
    address: str, *, service: str, proxy_id: str, instance: str
) -> bool:
    """Ask an admin listener whether it is one of another proxy of this name.

    Args:
        address: of the listener, as somebody has reported it.
        service: whose proxies share the names.
        proxy_id: the name.
        instance: of the one who asks, which the address may lead back to.
    """
    with trio.move_on_after(ASK_S):
        try:
            said = await _read(address, b"/identity", _UNVERIFIED, IDENTITY_BYTES)
        except AdminUnreachable:
            return False
        proxies = said.get("proxies")
        return isinstance(proxies, list) and any(
            isinstance(one, dict)
            and (one.get("service"), one.get("id")) == (service, proxy_id)
            and one.get("instance") != instance
            for one in proxies
        )
    return False


_UNVERIFIED = AdminCredentials(verify=False)
"""What it says of its name is believed as the report is, which anybody writes who could lie."""
