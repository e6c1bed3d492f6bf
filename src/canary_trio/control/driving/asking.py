"""Asking servers that a rollout names: one request, one short response, within a time.

What a gate asks, and who is told of a rollout. A server is looked up anew each time; its
certificate is verified by the system's authorities.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import trio

from http_trio import (
    Address,
    BadCertificate,
    NoResponse,
    Upstream,
    client_context,
    fetch,
)

BODY_BYTES = 1024 * 1024
"""Of a response at most."""

FILE_BYTES = 64 * 1024
"""Of a file of header fields, or of a key, at most."""

_OWN = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "content-type"}
)


class NothingUsable(Exception):
    """A server gave no response that can be used; says why."""


@attrs.frozen
class ServerReply:
    """What a server said.

    Attributes:
        status: of its response.
        body: whole.
    """

    status: int
    body: bytes = attrs.field(repr=False)


async def ask(
    url: str,
    *,
    method: str = "GET",
    fields: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    timeout_s: float,
) -> ServerReply:
    """Send a request and give the response.

    Raises:
        NothingUsable: there was none in time, or it is too long.
    """
    try:
        with trio.fail_after(timeout_s):
            return await _ask(url, method, fields, body)
    except trio.TooSlowError:
        raise NothingUsable(f"no response in {timeout_s:g} s") from None
    except (NoResponse, BadCertificate, OSError, ValueError) as exc:
        raise NothingUsable(str(exc)) from exc


async def _ask(
    url: str, method: str, fields: Iterable[tuple[str, str]], body: bytes
) -> ServerReply:
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_tls else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Connection: close",
        "User-Agent: canary-trio",
        *(f"{name}: {value}" for name, value in fields),
    ]
    if body or method in ("POST", "PUT", "PATCH"):
        lines += [f"Content-Length: {len(body)}"]
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    addresses: list[Address] = [(family, place) for family, _, _, _, place in found]
    tls = client_context() if is_tls else None
    upstream = Upstream(
        f"{host}:{port}", addresses, host.encode(), tls=tls, server_name=host
    )
    request = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body
    response = await fetch(
        upstream,
        request,
        method=method.encode(),
        body_limit=BODY_BYTES,
        keep_body=True,
    )
    if not response.whole:
        raise NothingUsable(f"a response of more than {BODY_BYTES} bytes")
    return ServerReply(response.status, response.body)


def read_own_file(directory: Path | None, name: str) -> bytes:
    """Give a file of the directory that the proxy was started with.

    Raises:
        NothingUsable: there is none, or it is too long.
    """
    if directory is None:
        raise NothingUsable(
            f"no file {name!r}: this proxy was started without --rollout-files DIR"
        )
    try:
        with (directory / name).open("rb") as file:
            text = file.read(FILE_BYTES + 1)
    except OSError as exc:
        raise NothingUsable(f"no file {name!r}: {exc.strerror}") from exc
    if len(text) > FILE_BYTES:
        raise NothingUsable(f"the file {name!r} has more than {FILE_BYTES} bytes")
    return text


def fields_of(text: bytes) -> list[tuple[str, str]]:
    r"""Take a file of header fields apart, one a line.

    >>> fields_of(b"Authorization: Bearer s\n# a comment\n")
    [('Authorization', 'Bearer s')]

    Raises:
        NothingUsable: a line is none.
    """
    found = []
    for line in text.decode("latin-1").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, mark, value = line.partition(":")
        plain = name.strip()
        is_name = plain.replace("-", "").replace("_", "").isalnum() and plain.isascii()
        if not mark or not is_name or plain.lower() in _OWN:
            raise NothingUsable("a line of the file is no header field, NAME: VALUE")
        found.append((plain, value.strip()))
    return found
