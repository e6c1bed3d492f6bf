"""A server of another kind behind the address of a store is told apart, and soon."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trustme

from canary_trio.control.sources.opening import open_source
from canary_trio.errors import WrongServer
from http_trio.testing.ports import free_port
from kv_trio import KvError, StoreUnreachable
from kv_trio.testing import in_memory_store

GREETS = {
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "smtp": b"220 mail.example.org ESMTP\r\n",
    "mysql": b"J\x00\x00\x00\n8.0.36\x00",
}
REPLIES = {
    "redis": b"-ERR unknown command 'GET'\r\n",
    "old http": b"<html>no head</html>\n",
    "json": b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}',
    "page": b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>",
    "moved": b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
}
KINDS = [*GREETS, *REPLIES, "tls"]


@asynccontextmanager
async def server(kind: str) -> AsyncIterator[int]:
    """Serve as another kind of server does, which keeps its connections open."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        try:
            if kind == "tls":
                tls = trio.SSLStream(stream, context, server_side=True)
                await tls.do_handshake()
                await tls.receive_some()
                return
            if kind in GREETS:
                await stream.send_all(GREETS[kind])
            while await stream.receive_some():
                if kind in REPLIES:
                    await stream.send_all(REPLIES[kind])
        except (trio.BrokenResourceError, OSError):
            pass

    async with trio.open_nursery() as nursery:
        listen = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(listen)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["http", "https", "etcd", "etcds"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_store_is_told_apart(kind: str, scheme: str) -> None:
    async with server(kind) as port:
        async with open_source(f"{scheme}://127.0.0.1:{port}") as source:
            with trio.fail_after(30):
                with pytest.raises(
                    KvError if is_tls(kind, scheme) else WrongServer
                ) as e:
                    await source.check_server("canary/web/config")
    if is_tls(kind, scheme):
        assert "not trusted" in str(e.value), "it may be its certificate alone"
    else:
        assert "is no " in str(e.value)


def is_tls(kind: str, scheme: str) -> bool:
    return kind == "tls" and scheme in ("https", "etcds")


@pytest.mark.parametrize("scheme", ["http", "https", "etcd", "etcds"])
async def test_who_is_not_there_is_no_other_server(scheme: str) -> None:
    async with open_source(f"{scheme}://127.0.0.1:{free_port()}") as source:
        with pytest.raises(StoreUnreachable):
            await source.check_server("canary/web/config")


async def test_a_slow_store_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canary_trio.control.sources.other_server.PATIENT_S", 0.0)
    async with in_memory_store() as client, open_source(client.url) as source:
        await source.check_server("canary/web/config")
