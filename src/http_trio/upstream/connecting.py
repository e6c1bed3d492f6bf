"""A connection to a server, made by a task: connected, then secured.

The event loop does the same in its own steps (`connection.py`); this is for a task that
took the connection out of it before it was made. The rule that it obeys: the other
addresses of the server are tried before it gives up.
"""

from __future__ import annotations

import os
import socket

import trio

from http_trio.net.stream import finish_handshake
from http_trio.net.tls_socket import TlsSocket, what_failed
from http_trio.upstream.connection import UpstreamConnection
from http_trio.upstream.failure import Failure, FailureReason


async def finish_connecting(connection: UpstreamConnection) -> Failure | None:
    """Wait until it is made; give why it cannot be, or None.

    It sets no time limit. Cancelled, the connection is to be closed by the caller.
    """
    name = connection.upstream.name
    await trio.lowlevel.wait_writable(connection.sock)
    while code := connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        if not connection.reconnect():
            return Failure(
                FailureReason.UNREACHABLE, name, sent=False, detail=os.strerror(code)
            )
        await trio.lowlevel.wait_writable(connection.sock)
    if not isinstance(connection.sock, TlsSocket):
        return None
    try:
        await finish_handshake(connection.sock)
    except OSError as exc:
        return Failure(
            FailureReason.UNTRUSTED, name, sent=False, detail=what_failed(exc)
        )
    return None
