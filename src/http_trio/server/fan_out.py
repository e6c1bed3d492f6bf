"""One response to many: all sends first, and by more than one thread.

A send to a socket on this machine is some 6 us of the kernel's work, without the GIL;
the rest of a response is bookkeeping, for which nobody should wait. So the sends of
many responses go out in a row, threads share them where there are processors, and the
bookkeeping follows. The call returns when all of it is done: no thread outlives it
with work in its hands, so whatever is said of the trio thread holds here too.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from http_trio.http1.response import Response
from http_trio.net.process.resources import count_processors
from http_trio.net.tls_socket import AnySocket
from http_trio.server.exchange import Exchange

_SHARED = 16  # sends beyond which threads are worth waking
_HELPERS = 3  # at most: the part of a send that needs the GIL is not shared


def respond_all(exchanges: Iterable[Exchange], response: Response) -> None:
    """Answer many requests with the same, as soon as can be.

    Blocks for as long as the sends take. Those whose client is slow, or gone, are dealt
    with as `Exchange.respond` does.
    """
    data = response.render()
    plain: list[Exchange] = []
    sockets: list[AnySocket] = []
    for exchange in exchanges:
        connection = exchange.connection
        own = None if connection is None else connection.own_socket
        if own is not None and exchange.takes_plain:
            plain.append(exchange)
            sockets.append(own.sock)
        else:
            exchange.respond(response)
    for exchange, count in zip(plain, _send_all(sockets, data), strict=True):
        exchange.sent_last(data, count)


def _send_all(sockets: list[AnySocket], data: bytes) -> list[int]:
    """Give how many bytes each client took; below 0 if it is gone."""
    helpers = _count_helpers() if len(sockets) > _SHARED else 0
    if not helpers:
        return [_send(sock, data) for sock in sockets]
    counts = [0] * len(sockets)
    todo = deque(range(len(sockets)))

    def send() -> None:
        while True:
            try:
                at = todo.popleft()
            except IndexError:  # none is left
                return
            counts[at] = _send(sockets[at], data)

    helping = [_threads().submit(send) for _ in range(helpers)]
    try:
        send()
    finally:
        for one in helping:
            if not one.cancel():  # it has begun
                one.result()
    return counts


def _send(sock: AnySocket, data: bytes) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
    except OSError:
        return -1


@functools.cache
def _count_helpers() -> int:
    return min(_HELPERS, count_processors() - 1)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_HELPERS, thread_name_prefix="fan-out")
