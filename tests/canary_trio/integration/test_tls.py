"""A proxy with TLS on both sides: what clients, rules and servers learn by it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from canary_trio.testing import arm, closed_url, proxied, says_canary, says_stable
from canary_trio.upstream import endpoint
from http_trio import BadCertificate, Exchange, Response, Tls, serve
from http_trio.net.certificates.x509 import read_pem
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream
from tests.canary_trio.support.secure import proxied_securely, url_of
from tests.http_trio.support.certificates import Authority

STRICT = "strict-transport-security"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def client(authority: Authority, *, http2: bool = False) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=authority.trusting(), http1=not http2, http2=http2, trust_env=False
    )


async def says_own(request: ReceivedRequest) -> None:
    await request.stream.send_all(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        b"Strict-Transport-Security: max-age=1\r\n\r\n"
    )


@pytest.mark.parametrize("http2", [False, True], ids=["1.1", "2"])
async def test_strict_transport_security_is_for_tls_only(
    authority: Authority, http2: bool
) -> None:
    tls = Tls(*authority.issue("localhost"))
    async with fake_upstream(says_own) as own, fake_upstream(says_canary) as other:
        arms = {
            "stable": arm(own),
            "canary": arm(other),
            "sets": arm(own, response_headers={"set": {STRICT: "max-age=2"}}),
            "gone": arm(closed_url(), fallback=None),
        }
        rules = [{"path_prefix": f"/{name}", "arm": name} for name in arms]
        async with (
            proxied_securely(
                tls, arms, rules=rules, strict_transport_security="max-age=60"
            ) as proxy,
            client(authority, http2=http2) as secure,
            client(authority) as plain,
        ):
            for path, status, expected in [
                ("/stable", 200, ["max-age=60"]),
                ("/canary", 200, ["max-age=60"]),
                ("/sets", 200, ["max-age=2"]),
                ("/gone", 502, ["max-age=60"]),
            ]:
                response = await secure.get(url_of(proxy, secure=True) + path)
                assert response.status_code == status
                assert response.headers.get_list(STRICT) == expected, path
            for path in ("/stable", "/canary", "/gone"):
                response = await plain.get(url_of(proxy, secure=False) + path)
                assert STRICT not in response.headers, path


async def test_without_the_field_servers_keep_theirs(authority: Authority) -> None:
    tls = Tls(*authority.issue("localhost"))
    async with fake_upstream(says_own) as own, fake_upstream(says_stable) as other:
        arms = {"stable": arm(other), "canary": arm(own)}
        async with proxied_securely(tls, arms) as proxy, client(authority) as secure:
            response = await secure.get(url_of(proxy, secure=True))
            assert response.headers.get_list(STRICT) == ["max-age=1"]


# === certificates of clients ===


@pytest.mark.parametrize("http2", [False, True], ids=["1.1", "2"])
@pytest.mark.parametrize("header", ["Client-Cert", "X-Forwarded-Client-Cert", None])
async def test_a_verified_client_is_routed_and_told_of(
    authority: Authority, tmp_path: Path, http2: bool, header: str | None
) -> None:
    (tmp_path / "clients").mkdir()
    clients = Authority(tmp_path / "clients")
    tls = Tls(
        *authority.issue("localhost"), client_ca=clients.ca_file, client_required=False
    )
    forged = {
        "Client-Cert": ":Zm9yZ2Vk:",
        "client_cert": "forged",
        "CLIENT-CERT-CHAIN": ":Zm9yZ2Vk:",
        "X-Forwarded-Client-Cert": "Subject=forged",
        "x_forwarded-client_cert": "forged",
    }
    rules = [{"client_cert": "san", "equals": "ann@example.org", "arm": "canary"}]
    async with fake_upstream(says_stable) as one, fake_upstream(says_canary) as two:
        arms = {"stable": arm(one), "canary": arm(two)}
        made = proxied_securely(
            tls,
            arms,
            rules=rules,
            ratio=0,
            client_cert_header=header,
            decision_header="X-Canary",
        )
        async with made as proxy:
            cert, key = clients.issue("bob@example.org", "ann@example.org", stem="ann")
            context = authority.trusting()
            context.load_cert_chain(cert, key)
            known = httpx.AsyncClient(
                verify=context, http1=not http2, http2=http2, trust_env=False
            )
            for asking, secure, arm_name in [
                (known, True, "canary"),
                (client(authority, http2=http2), True, "stable"),
                (client(authority), False, "stable"),
            ]:
                async with asking:
                    url = url_of(proxy, secure=secure)
                    response = await asking.get(url, headers=forged)
                assert response.text == arm_name
                said = response.headers["X-Canary"]
                assert ("reason=rule" in said) is (arm_name == "canary")
            der = read_pem(cert.read_bytes()).der
    assert b"ert: " not in one.asked[0].head
    assert b"ert: " not in one.asked[1].head
    head = two.asked[0].head
    assert head.lower().count(b"cert:") == (header is not None)
    if header == "Client-Cert":
        assert b"\r\nClient-Cert: :" + base64.b64encode(der) + b":\r\n" in head
    elif header is not None:
        digest = hashlib.sha256(der).hexdigest().encode()
        assert b"\r\nX-Forwarded-Client-Cert: Hash=" + digest in head


# === our own certificate ===


@asynccontextmanager
async def strict_server(authority: Authority, clients: Authority) -> AsyncIterator[str]:
    """Run a server that asks for certificates, and says whose it was shown."""

    def whoami(exchange: Exchange) -> None:
        found = exchange.client_certificate
        assert found is not None
        exchange.respond(Response(200, (found.common_name or "").encode()))

    tls = Tls(*authority.issue("localhost"), client_ca=clients.ca_file)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, whoami, ["127.0.0.1:0"], tls=tls))
        yield f"https://{server.addresses[0]}"
        nursery.cancel_scope.cancel()


async def test_a_server_is_shown_the_certificate_of_its_arm(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(endpoint, "LOOK_S", 0.05)
    (tmp_path / "clients").mkdir()
    clients = Authority(tmp_path / "clients")
    cert, key = clients.issue("proxy", stem="proxy", common_name="first")
    async with strict_server(authority, clients) as url:
        verified = {"ca": str(authority.ca_file), "server_name": "localhost"}
        pair = {"client_cert": str(cert), "client_key": str(key)}
        arms = {
            "stable": arm(url, tls=verified),
            "canary": arm(url, tls={**verified, **pair}, fallback=None),
        }
        async with (
            proxied(arms) as proxy,
            connected(proxy.server) as asking,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(proxy.runtime.run)

            async def until_shown(expected: bytes) -> None:
                while (await asking.ask())[1] != expected:
                    await trio.sleep(0.02)

            for _ in range(3):
                assert (await asking.ask())[1] == b"first"
            clients.issue("proxy", stem="proxy", common_name="second")
            await until_shown(b"second")
            caplog.clear()  # it may have been looked at between key and certificate
            broken = tmp_path / "broken"
            broken.write_text("broken")
            broken.replace(cert)
            while "stays in use" not in caplog.text:
                await trio.sleep(0.02)
            await trio.sleep(0.2)
            assert (await asking.ask())[1] == b"second"
            assert caplog.text.count("stays in use") == 1
            clients.issue("proxy", stem="proxy", common_name="third")
            await until_shown(b"third")

            await proxy.install({"arms": arms, "ratio": 0})
            assert b" 502 " in (await asking.ask())[0]
            missing = {**verified, "client_cert": str(tmp_path / "missing.pem")}
            with pytest.raises(BadCertificate, match=r"missing\.pem.*No such file"):
                await proxy.install({"arms": {"stable": arm(url, tls=missing)}})
            nursery.cancel_scope.cancel()
