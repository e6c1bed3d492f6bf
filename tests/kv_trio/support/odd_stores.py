"""Stores that send what no store sends: bytes on a connection, without a network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable

import httpcore
import httpx

from kv_trio import Client, KvError, TxnOperation
from kv_trio.client.transport import StoreConnections, Transport

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


class Asked:
    """Connections that are none: each request is answered by a transport of httpx."""

    def __init__(self, http: httpx.AsyncBaseTransport) -> None:
        self._http = http

    async def handle_async_request(
        self, request: httpcore.Request
    ) -> httpcore.Response:
        """Let the transport answer."""
        assert isinstance(request.stream, AsyncIterable)
        url = request.url
        parts = {"scheme": url.scheme.decode(), "host": url.host.decode()}
        asked = httpx.Request(
            request.method.decode(),
            httpx.URL(**parts, port=url.port, raw_path=url.target),
            headers=request.headers,
            content=b"".join([part async for part in request.stream]),
        )
        response = await self._http.handle_async_request(asked)
        return httpcore.Response(
            response.status_code, headers=response.headers.raw, content=response.stream
        )

    async def aclose(self) -> None:
        """Close the transport."""
        await self._http.aclose()


def client_over(http: StoreConnections | httpx.AsyncBaseTransport) -> Client:
    """Give a client that sends its requests by this, instead of its connections."""
    client = Client(URL)
    if isinstance(http, httpx.AsyncBaseTransport):
        http = Asked(http)
    client._transport = Transport(URL, "secret", None, http)
    return client


def sending(*chunks: bytes) -> httpcore.AsyncConnectionPool:
    """Give connections on which these bytes come, and then their end."""
    backend = httpcore.AsyncMockBackend(list(chunks))
    return httpcore.AsyncConnectionPool(network_backend=backend)


async def ask_all(
    http: Callable[[], StoreConnections | httpx.AsyncBaseTransport],
) -> None:
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
