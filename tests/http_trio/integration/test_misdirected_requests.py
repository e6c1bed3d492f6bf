"""A request for a name that its connection's certificate does not hold (RFC 9110, 7.4)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trio

from http_trio import Exchange, HttpServer, Response, Tls, serve
from http_trio.testing.peers import RawClient
from tests.http_trio.support.certificates import Authority


def hello(exchange: Exchange) -> None:
    exchange.respond(Response(200, exchange.header(b"host") or b""))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def names_served(
    authority: Authority, *certificates: tuple[str, ...]
) -> AsyncIterator[HttpServer]:
    """Serve with these certificates, each for its names."""
    first, *others = (
        authority.issue(*names, stem=str(number))
        for number, names in enumerate(certificates)
    )
    tls = Tls(*first, others=others)
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, hello, ["127.0.0.1:0"], tls=tls))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client_of(
    server: HttpServer, name: str | None, protocol: str
) -> AsyncIterator[RawClient]:
    """Connect as a client that asks for a name, or for none, and believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    with trio.fail_after(30):
        port = int(server.addresses[0].rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        secure = trio.SSLStream(
            stream, context, server_hostname=name, https_compatible=True
        )
        async with secure:
            await secure.do_handshake()
            yield RawClient(secure)  # type: ignore[arg-type]  # it sends and receives alike


async def statuses(client: RawClient, *requests: list[tuple[str, str]]) -> list[int]:
    """Send requests over HTTP/2, one after the other; give the statuses."""
    config = h2.config.H2Configuration(
        client_side=True, validate_outbound_headers=False
    )
    peer = h2.connection.H2Connection(config)
    peer.initiate_connection()
    found: list[int] = []
    for fields in requests:
        before = len(found)
        stream_id = peer.get_next_available_stream_id()
        peer.send_headers(stream_id, fields, end_stream=True)
        await client.send(peer.data_to_send())
        while len(found) == before:
            events = peer.receive_data(await client.stream.receive_some())
            found += [
                int(dict(event.headers or ())[b":status"])
                for event in events
                if isinstance(event, h2.events.ResponseReceived)
            ]
    return found


def get(name: str, **more: str) -> list[tuple[str, str]]:
    fields = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
    return [*fields, (":authority", name), *more.items()]


TWO = (("a.example", "192.0.2.1"), ("b.example", "*.b.example"))


async def test_a_name_of_another_certificate_is_misdirected(
    authority: Authority,
) -> None:
    """And that stream only: the others of the connection go on."""
    names = {
        "a.example": 200,
        "A.Example.:8443": 200,
        "b.example": 421,
        "192.0.2.1": 200,
        "x.b.example": 421,
        "nobody.example": 421,
        "127.0.0.1": 421,
        "a.example:443": 200,
    }
    async with (
        names_served(authority, *TWO) as server,
        client_of(server, "a.example", "h2") as client,
    ):
        assert await statuses(client, *map(get, names)) == list(names.values())
        assert server.refused == {421: 4}


async def test_a_wildcard_holds_one_label(authority: Authority) -> None:
    names = {"b.example": 200, "x.b.example": 200, "y.x.b.example": 421}
    async with (
        names_served(authority, *TWO) as server,
        client_of(server, "www.b.example", "h2") as client,
    ):
        assert await statuses(client, *map(get, names)) == list(names.values())


async def test_a_host_without_authority_counts_as_well(authority: Authority) -> None:
    fields = get("-")[:3]
    async with (
        names_served(authority, *TWO) as server,
        client_of(server, "a.example", "h2") as client,
    ):
        asked = [[*fields, ("host", name)] for name in ("a.example", "b.example")]
        assert await statuses(client, *asked) == [200, 421]


async def test_a_websocket_is_misdirected_as_well(authority: Authority) -> None:
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), *get("b.example")[1:]]
    async with (
        names_served(authority, *TWO) as server,
        client_of(server, "a.example", "h2") as client,
    ):
        assert await statuses(client, fields) == [421]


@pytest.mark.parametrize(
    ("certificate", "wrong"), [("a.example", "b.example"), (None, "b.example")]
)
async def test_http1_is_not_asked_for_its_name(
    authority: Authority, certificate: str | None, wrong: str
) -> None:
    """It never carries names of one certificate over another's connection."""
    async with (
        names_served(authority, *TWO) as server,
        client_of(server, certificate, "http/1.1") as client,
    ):
        await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % wrong.encode())
        assert (await client.response())[1] == wrong.encode()


@pytest.mark.parametrize("asked_for", ["a.example", "other.example", None])
async def test_with_one_certificate_no_other_way_would_be_better(
    authority: Authority, asked_for: str | None
) -> None:
    """A self-signed one, an address, a name of one's own: whom to believe is the client's."""
    names = ("a.example", "other.example", "127.0.0.1")
    async with (
        names_served(authority, ("a.example",)) as server,
        client_of(server, asked_for, "h2") as client,
    ):
        assert await statuses(client, *map(get, names)) == [200, 200, 200]
