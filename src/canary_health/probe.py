"""One request to a server, over a plain socket: is it ready?

It is so little of HTTP/1.1 that no client is needed for it: a GET whose connection ends with
the response, of which the status and a line of the body are looked at.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

PAGE_BYTES = 64 * 1024
"""Of a response that are read at most."""

_URL = re.compile(
    r"(?:(?P<scheme>https?)://)?"
    r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s/:@?#\[\]]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[!-~]*)?"
)
_PORTS = {"http": 80, "https": 443}
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r?\n)")


class NotReady(Exception):
    """A server is not ready, or cannot be asked; says why."""


def ask_ready(url: str, timeout_s: float, ca_file: str | None = None) -> str:
    """Ask a server whether it is ready; give what it says.

    Args:
        url: `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`, with the path of a
            page or without.
        timeout_s: how long it has for all of it.
        ca_file: the authorities that it is verified by; one on this machine is not, since
            nobody stands in between.

    Raises:
        NotReady: it is not, or does not respond.
        ValueError: the URL makes no sense.
    """
    until = time.monotonic() + timeout_s
    if url.startswith("unix:"):
        address: str | tuple[str, int] = url.removeprefix("unix:")
        secure, host, path = False, "localhost", "/ready"
    else:
        match = _URL.fullmatch(url)
        port = 0
        if match is not None:  # without a scheme a port is needed to tell what it is
            port = int(match["port"] or _PORTS.get(match["scheme"], 0))
        if match is None or not 0 < port < 65536:
            raise ValueError(
                f"found {url!r}, expected http://HOST:PORT, https://HOST:PORT or unix:PATH"
            )
        secure, host = match["scheme"] == "https", match["host"]
        path = match["path"] or "/ready"
        path = "/ready" if path == "/" else path
        address = host.strip("[]"), port
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        with contextlib.closing(_connect(address, until)) as sock:
            stream = _secured(sock, address[0], ca_file) if secure else sock
            response = _exchange(stream, request.encode(), until)
    except TimeoutError:
        raise NotReady(f"no response in {timeout_s:g} s ({url})") from None
    except OSError as exc:
        raise NotReady(f"no response: {exc.strerror or exc} ({url})") from exc
    found = _STATUS.match(response)
    if found is None:
        raise NotReady(f"no response of HTTP ({url})")
    body = response.partition(b"\r\n\r\n")[2].split(b"\n")[0][:200]
    said = body.decode("ascii", "backslashreplace").strip()
    said = "".join(c if c.isprintable() else " " for c in said)
    if found[1] != b"200":
        raise NotReady(f"{found[1].decode()} {said} ({url})")
    return said or "ready"


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connect(address: str | tuple[str, int], until: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, _left(until))
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(_left(until))
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def _secured(sock: socket.socket, host: str, ca_file: str | None) -> socket.socket:
    import ssl  # noqa: PLC0415  # most are asked without

    context = ssl.create_default_context(cafile=ca_file)
    peer = sock.getpeername()[0]
    if peer.startswith(("127.", "::ffff:127.")) or peer == "::1":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=host)


def _exchange(sock: socket.socket, request: bytes, until: float) -> bytes:
    sock.settimeout(_left(until))
    sock.sendall(request)
    response = b""
    while len(response) < PAGE_BYTES:
        sock.settimeout(_left(until))
        more = sock.recv(PAGE_BYTES)
        if not more:
            break
        response += more
    return response
