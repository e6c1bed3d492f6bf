"""TLS in the shape of a socket, against OpenSSL's own and under tiny buffers."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_trio import Tls, client_context
from http_trio.net.poller import READ, WRITE
from http_trio.net.tls_socket import TlsSocket, held, what_failed
from tests.http_trio.support.certificates import Authority


@attrs.define
class Ends:
    """Both ends of one connection, and the contexts to make more."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    made: list[TlsSocket] = attrs.field(factory=list)

    def connect(
        self, name: str = "localhost", session: ssl.SSLSession | None = None
    ) -> tuple[TlsSocket, TlsSocket]:
        one, other = socket.socketpair()
        for sock in (one, other):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        client = TlsSocket(one, self.client, server_name=name, session=session)
        server = TlsSocket(other, self.server)
        self.made += [client, server]
        return client, server

    def shaken(
        self, session: ssl.SSLSession | None = None
    ) -> tuple[TlsSocket, TlsSocket]:
        client, server = self.connect(session=session)
        shake(client, server)
        return client, server


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    made = Ends(Tls(*authority.issue()).context(), client_context(ca=authority.ca_file))
    yield made
    for sock in made.made:
        sock.close()


def shake(client: TlsSocket, server: TlsSocket) -> None:
    while client.handshake() | server.handshake():
        pass


def send_until_full(source: TlsSocket, data: bytes) -> int:
    sent = 0
    while sent < len(data):
        try:
            sent += source.send(data[sent:])
        except BlockingIOError:
            break
    return sent


def take(sink: TlsSocket) -> bytes:
    try:
        return sink.recv(1000)
    except BlockingIOError:
        return b""


def send_all(source: TlsSocket, data: bytes, sink: TlsSocket) -> bytes:
    """Move data as both paths do: what was not taken is sent again."""
    got = b""
    while data:
        data = data[send_until_full(source, data) :]
        while more := take(sink):
            got += more
    return got


def test_what_a_handshake_waits_for_is_told(ends: Ends) -> None:
    client, server = ends.connect()
    assert server.handshake() == READ
    assert client.handshake() == READ
    timeouts = []
    while wanted := client.handshake() | server.handshake():
        timeouts.append(wanted)
    assert set(timeouts) <= {READ, WRITE, READ | WRITE}
    assert client.alpn == server.alpn == "http/1.1"


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(sizes=st.lists(st.integers(1, 70_000), min_size=1, max_size=4))
def test_bytes_arrive_whatever_the_buffers_take(ends: Ends, sizes: list[int]) -> None:
    client, server = ends.shaken()
    for number, size in enumerate(sizes):
        data = bytes([number]) * size
        assert send_all(client, data, server) == data
        assert send_all(server, data, client) == data
    client.close()
    server.close()


def test_who_sends_comes_back_until_all_is_out(ends: Ends) -> None:
    client, server = ends.shaken()
    data = b"x" * 1_000_000
    sent = send_until_full(client, data)
    assert 0 < sent < len(data)
    assert send_all(client, data[sent:], server) == data


def test_recv_leaves_nothing_that_a_selector_would_not_show(ends: Ends) -> None:
    client, server = ends.shaken()
    client.send(b"a" * 1000)
    client.send(b"b" * 1000)
    assert server.recv(65536) == b"a" * 1000 + b"b" * 1000
    assert not select.select([server.fileno()], [], [], 0)[0]
    assert held(server) == b""


def test_recv_into_tells_what_it_leaves(ends: Ends) -> None:
    client, server = ends.shaken()
    client.send(b"abcdef")
    buffer = bytearray(4)
    with memoryview(buffer) as view:
        assert server.recv_into(view[:2]) == 2
        assert server.recv(1, socket.MSG_PEEK) == b"c"
        assert server.recv_into(view[2:4]) == 2
    assert bytes(buffer) == b"abcd"
    assert held(server) == b"ef"
    with pytest.raises(BlockingIOError):
        server.recv(1, socket.MSG_PEEK)


def test_an_end_is_an_end_only_if_the_peer_said_so(ends: Ends) -> None:
    client, server = ends.shaken()
    client.send(b"last")
    client.shutdown(socket.SHUT_WR)
    assert (server.recv(100), server.recv(100), server.recv(100)) == (b"last", b"", b"")
    server.send(b"still heard")  # half-closed, as TCP may be
    assert client.recv(100) == b"still heard"

    client, server = ends.shaken()
    server.send(b"x")
    client.recv(100)
    client.send(b"last")
    client.close()
    assert server.recv(100) == b"last"
    for _ in range(2):
        with pytest.raises(OSError, match=r"(?i)eof|close_notify"):
            server.recv(100)


def test_a_session_is_resumed(ends: Ends) -> None:
    client, server = ends.shaken()
    server.send(b"x")
    client.recv(100)
    assert not client.resumed
    again, _ = ends.shaken(client.session)
    assert again.resumed


def test_bytes_that_are_no_tls_are_an_error(ends: Ends) -> None:
    plain, other = socket.socketpair()
    other.setblocking(False)
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(OSError, match=r"(?i)http request"):
        TlsSocket(other, ends.server).handshake()
    plain.close()
    other.close()


def test_why_a_certificate_is_not_trusted_is_said(ends: Ends) -> None:
    client, server = ends.connect("example.org")
    with pytest.raises(OSError) as caught:
        shake(client, server)
    assert "Hostname mismatch" in what_failed(caught.value)
