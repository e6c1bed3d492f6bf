"""Clients of the stores: bare non-blocking sockets in one epoll.

So their cost is small, and the same for all. Requests are rendered before a clock
starts wherever one is timed alone.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import attrs

from benchmarks.store_peers import PATIENCE_S, Server, settle
from benchmarks.store_words import is_event, is_whole

_RECEIVE = 64 * 1024
_PIECE = 4096
_AT_ONCE = 500  # connections that are opened before the server may catch up
_INDEX = re.compile(rb"\r\nX-Consul-Index: (\d+)\r\n")


class Connections:
    """Kept connections to one server in one epoll."""

    def __init__(self, server: Server, count: int) -> None:
        self.server = server
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        for n in range(count):
            self._connect()
            if n % _AT_ONCE == _AT_ONCE - 1:
                settle(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        for sock in self._sockets.values():
            sock.close()

    @property
    def fds(self) -> list[int]:
        return list(self._sockets)

    def send(self, fd: int, request: bytes) -> None:
        """Send a request, whole: it is small, and the last one is answered."""
        if os.write(fd, request) < len(request):
            sys.exit(f"{self.server.peer.name} does not take {len(request)} bytes")

    def poll(self) -> list[int]:
        """Wait for responses; give the connections that have something to be read."""
        events = self._epoll.poll(PATIENCE_S)
        if not events:
            sys.exit(f"{self.server.peer.name}: no response in {PATIENCE_S:g} s")
        return [fd for fd, _ in events]

    def receive(self, fd: int, *, stream: bool = False) -> bytes:
        """Give a response, or an event of a stream; empty while it is not whole."""
        data = os.read(fd, _RECEIVE)
        if not data:
            sys.exit(f"{self.server.peer.name} closed a connection")
        if self._partial:
            data = self._partial.pop(fd, b"") + data
        if is_event(data) if stream else is_whole(data):
            return data
        self._partial[fd] = data
        return b""

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Wait for responses; give what has come, in pieces, as quickly as can be."""
        for fd in self.poll():
            yield fd, os.read(fd, _PIECE)

    def is_marked(self, fd: int, piece: bytes, mark: bytes) -> bool:
        """Tell whether a response has come up to a mark, of which a piece is known."""
        self._keep(fd, piece)
        if mark not in self._partial[fd]:
            return False
        del self._partial[fd]
        return True

    def is_whole(self, fd: int, piece: bytes) -> bool:
        """Tell whether a response, of which this is a piece, is whole, and a 200."""
        self._keep(fd, piece)
        if not is_whole(self._partial[fd]):
            return False
        data = self._partial.pop(fd)
        assert data.startswith(b"HTTP/1.1 200"), data
        return True

    def _keep(self, fd: int, piece: bytes) -> None:
        if not piece:
            sys.exit(f"{self.server.peer.name} closed a connection")
        self._partial[fd] = self._partial.get(fd, b"") + piece

    def _connect(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self.server.peer.port), 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._sockets[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)


class Watchers:
    """Many that watch, each on its connection, and one that writes.

    A watcher that was answered asks again over its connection, before the next write.
    """

    def __init__(self, connections: Connections, keys: Sequence[str]) -> None:
        """Let them watch; there is one connection more than keys."""
        self._all = connections
        self._dialect = connections.server.peer.dialect
        self._writer, *watching = connections.fds
        self._key_of = dict(zip(watching, keys, strict=True))
        self._index = 0
        self._numbers = itertools.count()
        self._key = keys[0]
        self._write(0)
        self._watch(watching)
        if self._dialect.streams:
            self._await_streams(len(watching))

    def change(self, woken: int) -> float:
        """Write the first key; give the seconds from the start until so many know of it."""
        took, answered = self._write(woken)
        self._watch([] if self._dialect.streams else answered)
        return took

    def _write(self, count: int) -> tuple[float, list[int]]:
        value = b"%020d" % next(self._numbers) * 5
        request, shown = self._dialect.put(self._key, value), b64encode(value)
        answered: list[int] = []
        begun = time.perf_counter()
        self._all.send(self._writer, request)
        end = begun
        written = False
        while not written or len(answered) < count:
            before = len(answered)
            for fd, data in self._all.pieces():
                if shown in data:
                    answered.append(fd)
                elif fd == self._writer:
                    written = self._all.is_whole(fd, data)
                elif self._all.is_marked(fd, data, shown):
                    answered.append(fd)
            if len(answered) > before:
                end = time.perf_counter()
        return end - begun, answered

    def _watch(self, fds: Iterable[int]) -> None:
        """Let them wait for what comes after the present."""
        if not self._dialect.streams:
            self._index = self._present()
        for n, fd in enumerate(fds):
            self._all.send(fd, self._dialect.watch(self._key_of[fd], self._index))
            if n % _AT_ONCE == _AT_ONCE - 1:
                settle(self._all.server)
        settle(self._all.server)

    def _present(self) -> int:
        """Give the index of the last write."""
        self._all.send(self._writer, self._dialect.get(self._key))
        data = b""
        while not data:
            self._all.poll()
            data = self._all.receive(self._writer)
        match = _INDEX.search(data)
        assert match is not None, data
        return int(match[1])

    def _await_streams(self, count: int) -> None:
        while count:
            for fd in self._all.poll():
                data = self._all.receive(fd, stream=True)
                count -= data.count(b'"created":true')


@attrs.frozen
class Load:
    """What a server did under load."""

    requests: int
    seconds: float
    cpu_s: float


def drive(server: Server, connections: int, requests: Iterator[bytes]) -> Load:
    """Send requests, one at a time on each connection, until there are no more."""
    count = 0
    with Connections(server, connections) as kept:
        settle(server)
        cpu_s, begun = server.cpu_s(), time.perf_counter()
        waiting = sum(_send_next(kept, fd, requests) for fd in kept.fds)
        while waiting:
            for fd in kept.poll():
                data = kept.receive(fd)
                if data:
                    assert data.startswith(b"HTTP/1.1 200"), data
                    count += 1
                    waiting -= not _send_next(kept, fd, requests)
        return Load(count, time.perf_counter() - begun, server.cpu_s() - cpu_s)


def _send_next(kept: Connections, fd: int, requests: Iterator[bytes]) -> bool:
    request = next(requests, b"")
    if request:
        kept.send(fd, request)
    return bool(request)


def until(end: float, requests: Iterable[bytes]) -> Iterator[bytes]:
    """Give requests until a time of `time.perf_counter`."""
    return itertools.takewhile(lambda _: time.perf_counter() < end, requests)
