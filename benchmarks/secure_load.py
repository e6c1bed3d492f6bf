"""Load over TLS, in HTTP/2 and HTTP/1.1, by requests whose heads may differ each time.

h2load and wrk cannot do that in the same way over both protocols, so this is a loop over
epoll in Python: each client is a session of ngh2 (a compressor and its table of its
own, as a browser has), or a connection of HTTP/1.1. It costs the load's processor about
as much as the upstreams do, so it is the same for every proxy, and what counts is the
proxy's processor time. That is read when all clients are connected, so that no
handshake is in it.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Protocol

import attrs
import ngh2

from benchmarks.measure import Load, Peer
from benchmarks.peers import cpu_s

_BUFFER = 65536
_WINDOW = 2**31 - 1
_PATIENCE_S = 20.0

Heads = Iterator[tuple[str, str]]
"""What differs between requests: each target, and each value of the cookie."""


def same_heads(peer: Peer) -> Heads:
    """Give one request, again and again."""
    while True:
        yield "/", peer.fields["Cookie"]


def new_heads() -> Heads:
    """Give another path and another session each time."""
    for number in count():
        path = f"/items/{number}?page={number % 7}"
        yield path, f"session={number:032x}; theme=dark"


class Client(Protocol):
    """The bytes of one client."""

    received: int

    def ask(self, path: str, cookie: str) -> None:
        """Begin a request."""

    def receive(self, data: bytes) -> int:
        """Take what came; give how many responses it completed."""

    def output(self) -> bytes:
        """Give what is to be sent."""


class Http1Client:
    """A client that asks in HTTP/1.1, one request after the other."""

    def __init__(self, port: int, fields: Mapping[str, str]) -> None:
        self.received = 0
        self._host = f"Host: 127.0.0.1:{port}\r\n"
        self._lines = "".join(
            f"{name}: {value}\r\n" for name, value in fields.items() if name != "Cookie"
        )
        self._output = b""
        self._input = b""

    def ask(self, path: str, cookie: str) -> None:
        head = (
            f"GET {path} HTTP/1.1\r\n{self._host}{self._lines}Cookie: {cookie}\r\n\r\n"
        )
        self._output = head.encode()

    def receive(self, data: bytes) -> int:
        self.received += len(data)
        self._input += data
        if not self._input.endswith((b"\r\n\r\nv1", b"\r\n\r\nv2")):
            return 0
        _demand(self._input[9:12], self._input)
        self._input = b""
        return 1

    def output(self) -> bytes:
        data, self._output = self._output, b""
        return data


class Http2Client:
    """A client that asks in HTTP/2."""

    def __init__(self, port: int, fields: Mapping[str, str]) -> None:
        self.received = 0
        self._begin = [(b":method", b"GET"), (b":scheme", b"https")]
        self._begin.append((b":authority", f"127.0.0.1:{port}".encode()))
        self._fields = [
            (name.lower().encode(), value.encode())
            for name, value in fields.items()
            if name != "Cookie"
        ]
        self._session = ngh2.Connection(ngh2.Role.CLIENT, ngh2.Configuration())
        self._session.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: _WINDOW})
        self._session.set_local_window_size(_WINDOW)

    def ask(self, path: str, cookie: str) -> None:
        more = [(b":path", path.encode()), (b"cookie", cookie.encode())]
        fields = [*self._begin, more[0], *self._fields, more[1]]
        self._session.send_request(fields, end_stream=True)

    def receive(self, data: bytes) -> int:
        self.received += len(data)
        self._session.receive_data(data)
        done = 0
        for event in self._session.events():
            match event:
                case ngh2.ResponseReceived():
                    _demand(event.headers[0][1], event)
                case ngh2.StreamClosed():
                    _demand(b"200" if not event.error_code else b"reset", event)
                    done += 1
                case ngh2.GoAwayReceived() | ngh2.ConnectionClosed():
                    raise RuntimeError(f"the connection was ended: {event!r}")
        return done

    def output(self) -> bytes:
        return self._session.data_to_send()


@attrs.define(eq=False)
class _Connected:
    sock: ssl.SSLSocket
    client: Client
    unsent: bytes = b""

    def send(self) -> None:
        """Send what there is; a request is far less than a socket takes."""
        data = self.client.output()
        if data:
            self.sock.send(data)


class Clients:
    """Some clients of one proxy, connected."""

    def __init__(self, peer: Peer, connections: int, *, http2: bool) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        protocol = "h2" if http2 else "http/1.1"
        context.set_alpn_protocols([protocol])
        self._peer = peer
        self._poller = select.epoll()
        self._by_fd: dict[int, _Connected] = {}
        for _ in range(connections):
            plain = socket.create_connection(("127.0.0.1", peer.port), _PATIENCE_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock = context.wrap_socket(plain)
            if sock.selected_alpn_protocol() != protocol:
                raise RuntimeError(f"{peer.name} does not offer {protocol}")
            sock.setblocking(False)
            kind = Http2Client if http2 else Http1Client
            client: Client = kind(peer.port, peer.fields)
            self._by_fd[sock.fileno()] = _Connected(sock, client)
            self._poller.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        for one in self._by_fd.values():
            one.sock.close()
        self._poller.close()

    def once(self, heads: Heads) -> None:
        """Let each client ask once, and wait for the responses."""
        self._begin(heads, 1)
        left = len(self._by_fd)
        while left:
            left -= sum(done for _, done in self._turn())

    def load(self, heads: Heads, streams: int, seconds: float) -> Load:
        """Ask as fast as it goes, each client with so many requests at once.

        Raises:
            RuntimeError: a request failed; such a measurement is worth nothing.
        """
        self.once(heads)
        received, done_all = self._received, 0
        used, begun = cpu_s(self._peer.pid), time.monotonic()
        self._begin(heads, streams)
        while time.monotonic() < begun + seconds:
            for one, done in self._turn():
                for _ in range(done):
                    one.client.ask(*next(heads))
                one.send()
                done_all += done
        used, wall = cpu_s(self._peer.pid) - used, time.monotonic() - begun
        received = self._received - received
        return Load(
            used / done_all * 1e6, done_all / wall, received / wall, used / wall
        )

    @property
    def _received(self) -> int:
        return sum(one.client.received for one in self._by_fd.values())

    def _begin(self, heads: Heads, streams: int) -> None:
        for one in self._by_fd.values():
            for _ in range(streams):
                one.client.ask(*next(heads))
            one.send()

    def _turn(self) -> Iterator[tuple[_Connected, int]]:
        """Read what there is; give who got how many responses."""
        ready = self._poller.poll(_PATIENCE_S)
        if not ready:
            raise RuntimeError(f"{self._peer.name} answers nothing in {_PATIENCE_S} s")
        for fd, _ in ready:
            one = self._by_fd[fd]
            done = 0
            while True:
                try:
                    data = one.sock.recv(_BUFFER)
                except ssl.SSLWantReadError:
                    break
                if not data:
                    raise RuntimeError(f"{self._peer.name} closed a connection")
                done += one.client.receive(data)
                if not one.sock.pending():
                    break
            yield one, done


def _demand(status: bytes, what: object) -> None:
    if status != b"200":
        raise RuntimeError(f"a request failed: {what!r:.500}")
