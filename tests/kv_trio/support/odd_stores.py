"""Stores that send what no store sends: bytes on a connection, without a network."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import httpcore
import httpx

from kv_trio import Client, KvError, TxnOperation
from kv_trio.client.transport import Transport

URL = "http://kv.test"
SESSION = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"

REQUESTS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "get": lambda client: client.get("k"),
    "get and wait": lambda client: client.get("k", index=1),
    "list": lambda client: client.list("k"),
    "keys": lambda client: client.keys("k"),
    "put": lambda client: client.put("k", b"v"),
    "delete": lambda client: client.delete("k"),
    "create": lambda client: client.create_session("s", 10, deletes=False),
    "sessions": lambda client: client.sessions(),
    "renew": lambda client: client.renew_session(SESSION),
    "destroy": lambda client: client.destroy_session(SESSION),
    "transact": lambda client: client.transact([TxnOperation("get", "k")]),
    "history": lambda client: client.history("k"),
    "get at": lambda client: client.get_at("k", 5),
    "compact": lambda client: client.compact(),
}
"""All that a client asks, by a name for it."""


def client_over(http: httpx.AsyncBaseTransport) -> Client:
    """Give a client that sends its requests by this, instead of connections."""
    client = Client(URL)
    client._transport = Transport(URL, "secret", None, http)
    return client


def sending(*chunks: bytes) -> httpx.AsyncHTTPTransport:
    """Give connections on which these bytes come, and then their end."""
    http = httpx.AsyncHTTPTransport(verify=False)
    pool = http._pool
    assert isinstance(pool, httpcore.AsyncConnectionPool)
    pool._network_backend = httpcore.AsyncMockBackend(list(chunks))
    return http


async def ask_all(http: Callable[[], httpx.AsyncBaseTransport]) -> None:
    """Ask all that there is; whatever comes back is a value or an error of ours."""
    for request in REQUESTS.values():
        async with client_over(http()) as client:
            with contextlib.suppress(KvError):
                await request(client)


def response(
    body: bytes = b"", *headers: bytes, status: bytes = b"200 OK", length: bool = True
) -> bytes:
    """Give the bytes of a response."""
    framing = (b"Content-Length: %d" % len(body),) if length else ()
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers, *framing, b"", body))
