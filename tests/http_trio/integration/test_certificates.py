"""A listener with several certificates, and one that asks clients for theirs."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from http_trio import Exchange, HttpServer, Limits, Response, Tls, serve
from http_trio.server.listening import tls_listener
from tests.http_trio.support.certificates import Authority

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
versions = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def secure(tls: Tls, **more: Any) -> AsyncIterator[int]:
    """Run a server; give its port."""

    def whoami(exchange: Exchange) -> None:
        found = exchange.client_certificate
        said = "hello" if found is None else f"{found.common_name} {found.emails}"
        exchange.respond(Response(200, said.encode()))

    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(
            partial(serve, whoami, ["127.0.0.1:0"], tls=tls, **more)
        )
        with trio.fail_after(20):
            yield int(server.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


@attrs.frozen
class Shown:
    """What a client saw."""

    names: tuple[str, ...]
    resumed: bool
    session: ssl.SSLSession | None
    said: bytes


async def visit(
    port: int,
    context: ssl.SSLContext,
    name: str | None,
    session: ssl.SSLSession | None = None,
) -> Shown:
    """Ask for a page as a blocking client does."""

    def run() -> Shown:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with context.wrap_socket(
                plain, server_hostname=name, session=session
            ) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                said = b""
                while data := sock.recv(65536):
                    said += data
                if not said:  # Python takes a cut for an end
                    raise ConnectionResetError("closed without a response")
                names: Any = (sock.getpeercert() or {}).get("subjectAltName", ())
                return Shown(
                    tuple(value for _, value in names),
                    bool(sock.session_reused),
                    sock.session,
                    said,
                )

    return await trio.to_thread.run_sync(run)


def client(authority: Authority, version: str = "TLSv1_3") -> ssl.SSLContext:
    context = authority.trusting()
    context.check_hostname = False
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


# === several names ===


def two(authority: Authority, **more: Any) -> Tls:
    return Tls(
        *authority.issue("a.example", stem="a"),
        others=[authority.issue("b.example", "*.wild.example", stem="b")],
        **more,
    )


@versions
async def test_each_name_is_shown_its_certificate(
    authority: Authority, version: str
) -> None:
    async with secure(two(authority)) as port:
        for name, expected in [
            ("a.example", "a.example"),
            ("B.EXAMPLE", "b.example"),
            ("x.wild.example", "b.example"),
            ("x.y.wild.example", "a.example"),
            ("unknown.example", "a.example"),
            ("127.0.0.1", "a.example"),
            (None, "a.example"),
        ]:
            shown = await visit(port, client(authority, version), name)
            assert shown.names[0] == expected, name
            assert shown.said.endswith(b"hello")


@versions
async def test_a_session_is_resumed_under_its_name_only(
    authority: Authority, version: str
) -> None:
    async with secure(two(authority)) as port:
        context = client(authority, version)
        first = await visit(port, context, "a.example")
        again = await visit(port, context, "a.example", first.session)
        assert again.resumed
        crossed = await visit(port, context, "b.example", first.session)
        assert not crossed.resumed
        assert crossed.names[0] == "b.example"


async def test_a_first_message_may_come_in_pieces(authority: Authority) -> None:
    async with secure(two(authority)) as port:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client(authority).wrap_bio(
            incoming, outgoing, server_hostname="b.example"
        )
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            for byte in outgoing.read():
                await stream.send_all(bytes([byte]))
                await trio.lowlevel.checkpoint()
            while True:
                incoming.write(await stream.receive_some())
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                break
        assert ("DNS", "b.example") in tls.getpeercert()["subjectAltName"]  # type: ignore[index]


async def test_who_sends_half_a_first_message_is_closed(authority: Authority) -> None:
    limits = Limits(handshake_s=0.1)
    async with secure(two(authority), limits=limits) as port:
        for data in (b"", b"\x16\x03\x01\x00", b"\x16\x03\x01\xff\xff" + bytes(9000)):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(data)
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
        for data in (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x00\x00" * 99,
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(data)
                with suppress(trio.BrokenResourceError):
                    assert (await stream.receive_some())[:1] in (b"", b"\x15")


async def test_a_directory_is_followed(authority: Authority, tmp_path: Path) -> None:
    directory = tmp_path / "live"
    directory.mkdir()

    def put(name: str) -> None:
        cert, key = authority.issue(name, stem=name)
        (directory / name).mkdir()
        key.rename(directory / name / "privkey.pem")
        cert.rename(directory / name / "fullchain.pem")

    async def until(name: str, expected: str) -> None:
        while True:
            with suppress(OSError):
                if (await visit(port, client(authority), name)).names[0] == expected:
                    return
            await trio.sleep(0.1)

    async with secure(Tls(directory=directory)) as port:
        with pytest.raises(ssl.SSLError, match="ALERT"):
            await visit(port, client(authority), "a.example")
        put("b.example")
        await until("a.example", "b.example")
        put("a.example")
        await until("a.example", "a.example")
        shutil.rmtree(directory / "b.example")
        await until("b.example", "a.example")


@needs_openssl
async def test_openssl_sees_the_certificate_of_the_name(authority: Authority) -> None:
    async with secure(two(authority)) as port:
        for name in ("a.example", "b.example"):
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"]
            command += ["-CAfile", str(authority.ca_file), "-verify_return_error"]
            command += ["-servername", name, "-verify_hostname", name]
            done = await trio.run_process(
                command, stdin=b"Q\n", capture_stdout=True, capture_stderr=True
            )
            assert b"Verify return code: 0 (ok)" in done.stdout


# === certificates of clients ===


def mutual(authority: Authority, clients: Authority, **more: Any) -> Tls:
    return Tls(*authority.issue("localhost"), client_ca=clients.ca_file, **more)


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    """The authority that issues the clients' certificates."""
    directory = tmp_path / "clients"
    directory.mkdir()
    return Authority(directory)


def holding(
    context: ssl.SSLContext,
    issuer: Authority,
    name: str = "ann@example.org",
    **more: Any,
) -> ssl.SSLContext:
    """Give a client a certificate."""
    context.load_cert_chain(*issuer.issue(name, stem="client", **more))
    return context


REFUSED = "ALERT|EOF|closed|reset"


@versions
async def test_a_verified_client_is_known(
    authority: Authority, clients: Authority, version: str
) -> None:
    async with secure(mutual(authority, clients)) as port:
        context = holding(client(authority, version), clients, common_name="Ann")
        shown = await visit(port, context, "localhost")
        assert shown.said.endswith(b"Ann ('ann@example.org',)")
        again = await visit(port, context, "localhost", shown.session)
        assert again.resumed
        assert again.said.endswith(b"Ann ('ann@example.org',)")


async def test_a_verified_client_is_known_over_http2(
    authority: Authority, clients: Authority
) -> None:
    context = holding(authority.trusting(), clients, common_name="Ann")
    async with secure(mutual(authority, clients)) as port:
        async with httpx.AsyncClient(
            http1=False, http2=True, verify=context, trust_env=False
        ) as asking:
            response = await asking.get(f"https://localhost:{port}/")
            assert response.http_version == "HTTP/2"
            assert response.text.startswith("Ann")


@versions
@pytest.mark.parametrize("required", [True, False], ids=["required", "optional"])
async def test_only_whom_the_authorities_know_gets_in(
    authority: Authority, clients: Authority, version: str, required: bool
) -> None:
    past = dt.datetime.now(dt.UTC) - dt.timedelta(hours=30)
    tls = mutual(authority, clients, client_required=required)
    async with secure(tls) as port:
        bare = client(authority, version)
        if required:
            with pytest.raises(OSError, match=REFUSED):
                await visit(port, bare, "localhost")
        else:
            shown = await visit(port, bare, "localhost")
            assert shown.said.endswith(b"hello")
            again = await visit(port, bare, "localhost", shown.session)
            assert again.said.endswith(b"hello")
        for context in (
            holding(client(authority, version), authority),
            holding(client(authority, version), clients, not_after=past),
        ):
            with pytest.raises(OSError, match=REFUSED):
                await visit(port, context, "localhost")
        good = holding(client(authority, version), clients, common_name="Ann")
        assert b"Ann" in (await visit(port, good, "localhost")).said


@versions
async def test_a_session_outlives_neither_its_authority_nor_its_certificate(
    authority: Authority,
    clients: Authority,
    version: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with secure(mutual(authority, clients)) as port:
        context = holding(client(authority, version), clients)
        first = await visit(port, context, "localhost")
        assert (await visit(port, context, "localhost", first.session)).resumed
        with monkeypatch.context() as patched:
            later = time.time() + 10**11
            patched.setattr(f"{tls_listener.__name__}.time.time", lambda: later)
            with pytest.raises(OSError, match=REFUSED):
                await visit(port, context, "localhost", first.session)
        other = Authority(clients.directory / "..")
        clients.ca_file.write_bytes(other.ca.cert_pem.bytes())
        with pytest.raises(OSError, match=REFUSED):
            await visit(port, context, "localhost", first.session)
        good = holding(client(authority, version), other)
        assert (await visit(port, good, "localhost")).said


async def test_authorities_that_are_broken_leave_the_old_ones(
    authority: Authority, clients: Authority
) -> None:
    async with secure(mutual(authority, clients)) as port:
        context = holding(client(authority), clients)
        await visit(port, context, "localhost")
        (clients.directory / "ca.pem").write_text("broken")
        await visit(port, context, "localhost")
        with pytest.raises(OSError, match=REFUSED):
            await visit(port, client(authority), "localhost")


@needs_openssl
async def test_openssl_is_asked_for_a_certificate(
    authority: Authority, clients: Authority
) -> None:
    cert, key = clients.issue("ann@example.org", stem="client", common_name="Ann")
    async with secure(mutual(authority, clients)) as port:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"]
        command += ["-CAfile", str(authority.ca_file), "-servername", "localhost"]
        request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        for more, expected in ([], False), (["-cert", cert, "-key", key], True):
            done = await trio.run_process(
                [*command, *map(str, more), "-no_ign_eof", "-ign_eof"],
                stdin=request,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            assert (b"Ann" in done.stdout) is expected
