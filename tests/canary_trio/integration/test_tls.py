"""What a proxy adds for clients that came by TLS, and only for those."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import httpx
import pytest

from canary_trio.testing import arm, closed_url, says_canary, says_stable
from http_trio import Tls
from http_trio.net.certificates.x509 import read_pem
from http_trio.testing.peers import ReceivedRequest, fake_upstream
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
