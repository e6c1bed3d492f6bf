"""Connecting, with TLS or without, once for everybody.

A connection is begun, and then waited for: by the event loop, which has a state machine
of its own for that, or by a task in `connect`. The rule that it obeys: a socket that
does not become a connection is closed, whatever ends it.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any

import trio

from http_trio.net.stream import finish_handshake
from http_trio.net.tls_socket import AnySocket, TlsSocket, what_failed

Address = tuple[socket.AddressFamily, Any]
"""A resolved address: its family, and what `socket.connect` takes."""

_BEGUN = (0, errno.EINPROGRESS, errno.EAGAIN)  # made already, or on its way


class NotSecured(OSError):
    """TLS with a server failed, or it cannot be believed; `strerror` says why."""


async def connect(address: Address, *, lead: bytes = b"") -> socket.socket:
    """Give a connection that is made. Cancelled, it leaves none behind.

    Args:
        address: where to.
        lead: what comes first.

    Raises:
        OSError: there is no connection.
    """
    sock = begin_connect(address)
    try:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if lead and not code:
            code = send_first(sock, lead)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_tls(
    address: Address, context: ssl.SSLContext, *, server_name: str, lead: bytes = b""
) -> TlsSocket:
    """Give a connection that is made and secured. Cancelled, it leaves none behind.

    Args:
        address: where to.
        context: of a client.
        server_name: whom the certificate must name.
        lead: what comes first, before the handshake.

    Raises:
        NotSecured: there is a server, but no TLS with it.
        OSError: there is no connection.
    """
    sock = await connect(address, lead=lead)
    try:
        secured = begin_tls(sock, context, server_name=server_name)
        await _finish(secured)
    except BaseException:
        sock.close()
        raise
    return secured


def begin_connect(address: Address) -> socket.socket:
    """Begin a connection: its socket is writable when it is made, or has failed.

    Raises:
        OSError: it cannot even be begun.
    """
    family, at = address
    sock = open_socket(family)
    try:
        code = sock.connect_ex(at)
        if code not in _BEGUN:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def begin_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    *,
    server_name: str,
    session: ssl.SSLSession | None = None,
) -> TlsSocket:
    """Put TLS on a client's socket; the handshake is still to come.

    Raises:
        NotSecured: the name cannot be one.
    """
    try:
        return TlsSocket(sock, context, server_name=server_name, session=session)
    except ValueError as exc:
        raise NotSecured(errno.EINVAL, str(exc)) from exc


def send_first(sock: AnySocket, data: bytes) -> int:
    """Send what comes before all else, TLS too; give the error, 0 for none.

    A connection that is new takes some kilobytes at once.
    """
    try:
        send = sock.send_plain if isinstance(sock, TlsSocket) else sock.send
        return 0 if send(data) == len(data) else errno.ENOBUFS
    except OSError as exc:
        return exc.errno or errno.EIO


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """Open a socket to connect with, one that never blocks."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _finish(sock: TlsSocket) -> None:
    try:
        await finish_handshake(sock)
    except OSError as exc:
        raise NotSecured(exc.errno or errno.EPROTO, what_failed(exc)) from exc
