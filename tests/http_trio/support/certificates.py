"""Certificates of a test's own authority, and an ASGI server on trio."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import hypercorn.trio
import trio
import trustme
from hypercorn.config import Config

from http_trio.testing.peers import RawClient


@attrs.frozen
class Authority:
    """A private certificate authority, and the files that it wrote."""

    directory: Path
    ca: trustme.CA = attrs.field(factory=trustme.CA)

    @property
    def ca_file(self) -> Path:
        file = self.directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(file))
        return file

    def issue(
        self, *names: str, stem: str = "server", **more: Any
    ) -> tuple[Path, Path]:
        """Write a certificate and its key; give both paths."""
        issued = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1")), **more)
        cert, key = self.directory / f"{stem}.pem", self.directory / f"{stem}.key"
        key.write_bytes(issued.private_key_pem.bytes())
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return cert, key

    def trusting(self, *protocols: str) -> ssl.SSLContext:
        """Give a client's context that trusts this authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        context.set_alpn_protocols(list(protocols or ("http/1.1",)))
        return context


@asynccontextmanager
async def hypercorn_serving(
    app: Any, authority: Authority | None = None
) -> AsyncIterator[int]:
    """Run an application in an ASGI server as a user would; give the port."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    if authority is not None:
        config.certfile, config.keyfile = map(str, authority.issue())
    async with trio.open_nursery() as nursery:
        serve = partial(hypercorn.trio.serve, app, config, mode="asgi")
        urls = await nursery.start(partial(serve, shutdown_trigger=trio.sleep_forever))
        yield int(urls[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def tls_client(port: int, context: ssl.SSLContext) -> AsyncIterator[RawClient]:
    """Connect with TLS; the whole is done within ten seconds."""
    with trio.fail_after(30):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        secure = trio.SSLStream(
            stream, context, server_hostname="localhost", https_compatible=True
        )
        try:
            await secure.do_handshake()
            yield RawClient(secure)  # type: ignore[arg-type]  # it sends and receives alike
        finally:
            await trio.aclose_forcefully(secure)
