"""Plain HTTP beside TLS: where it leads to, and the challenges that are served."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from http_trio.server import https_redirect
from http_trio.server.https_redirect import HttpsRedirect
from http_trio.testing.peers import connected, serving

WELL_KNOWN = "/.well-known/acme-challenge/"


async def ask(
    handler: HttpsRedirect, request: bytes
) -> tuple[int, dict[str, str], bytes]:
    async with serving(handler) as server, connected(server) as client:
        await client.send(request)
        head, body = await client.response()
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)
    return int(status.split()[1]), fields, body


def head(target: str, *hosts: str, method: str = "GET") -> bytes:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("port", "target", "host", "location"),
    [
        (443, "/", "a.example", "https://a.example/"),
        (8443, "/x?y=1&z=%2F", "A.example:8080", "https://A.example:8443/x?y=1&z=%2F"),
        (443, "//evil.example/x", "a.example:80", "https://a.example//evil.example/x"),
        (443, "/@evil.example", "a.example.:", "https://a.example./@evil.example"),
        (8443, "/", "192.0.2.1", "https://192.0.2.1:8443/"),
        (8443, "/", "[2001:db8::1]:80", "https://[2001:db8::1]:8443/"),
        (443, "http://b.example:1/p", "a.example", "https://b.example/p"),
        (443, WELL_KNOWN + "x", "a.example", "https://a.example" + WELL_KNOWN + "x"),
    ],
)
async def test_it_leads_to_the_same_place_with_tls(
    port: int, target: str, host: str, location: str
) -> None:
    status, fields, body = await ask(HttpsRedirect(port), head(target, host))
    assert (status, fields["Location"], body) == (308, location, b"")


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
async def test_every_method_is_kept(method: str) -> None:
    status, fields, _ = await ask(HttpsRedirect(), head("/a", "b", method=method))
    assert (status, fields["Location"]) == (308, "https://b/a")


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("a.example", "b.example"),
        ("a.example/path",),
        ("user@a.example",),
        ("a.example:port",),
        ("a.example:123456",),
        ("a b",),
        ("a.example\\@evil",),
        ("a..example",),
        ("[::1",),
        ("[::1]x",),
        ("a%2fb",),
        ("<script>",),
        ("a,b",),
        (".",),
        ("\xe4.example",),
        ("a" * 300,),
    ],
)
async def test_without_a_host_there_is_nowhere_to_lead_to(hosts: tuple[str]) -> None:
    status, fields, _ = await ask(HttpsRedirect(), head("/", *hosts))
    assert status == 400
    assert "Location" not in fields


async def test_http_1_0_without_a_host_is_refused() -> None:
    status, _, _ = await ask(HttpsRedirect(), b"GET / HTTP/1.0\r\n\r\n")
    assert status == 400


# === challenges ===


@pytest.fixture
def challenges(tmp_path: Path) -> Path:
    """Lay out a directory with what may be shown, and what may not."""
    directory = tmp_path / "acme"
    below = directory / ".well-known" / "acme-challenge"
    below.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (directory / "plain").write_text("plain.thumb")
    (below / "web-root_1").write_text("root.thumb")
    (directory / "link").symlink_to(tmp_path / "secret")
    (directory / "near-link").symlink_to("plain")
    (directory / "folder").mkdir()
    (directory / "folder" / "inner").write_text("secret")
    (directory / "a.txt").write_text("secret")
    (directory / "large").write_bytes(b"x" * (https_redirect.CHALLENGE_BYTES + 1))
    (directory / "largest").write_bytes(b"x" * https_redirect.CHALLENGE_BYTES)
    os.mkfifo(directory / "pipe")
    return directory


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("plain", b"plain.thumb"),
        ("web-root_1", b"root.thumb"),
        ("largest", b"x" * 4096),
        ("large", None),
        ("missing", None),
        ("link", None),
        ("near-link", None),
        ("folder", None),
        ("folder/inner", None),
        ("pipe", None),
        ("a.txt", None),
        ("../secret", None),
        ("..%2fsecret", None),
        ("%2e%2e/secret", None),
        ("./plain", None),
        ("plain/", None),
        ("plain?x", None),
        ("plain%00", None),
        ("", None),
        (".", None),
        ("x" * 257, None),
    ],
)
async def test_a_challenge_is_shown_and_nothing_else(
    challenges: Path, token: str, expected: bytes | None
) -> None:
    handler = HttpsRedirect(443, challenges)
    status, _, body = await ask(handler, head(WELL_KNOWN + token, "a"))
    if expected is None:
        assert status == 404
        assert b"secret" not in body
    else:
        assert (status, body) == (200, expected)


async def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    directory = tmp_path / "acme"
    (tmp_path / "elsewhere" / "acme-challenge").mkdir(parents=True)
    (tmp_path / "elsewhere" / "acme-challenge" / "token").write_text("secret")
    directory.mkdir()
    (directory / ".well-known").symlink_to(tmp_path / "elsewhere")
    status, _, _ = await ask(
        HttpsRedirect(443, directory), head(WELL_KNOWN + "token", "a")
    )
    assert status == 404


async def test_a_challenge_needs_no_host_and_takes_no_other_method(
    challenges: Path,
) -> None:
    handler = HttpsRedirect(443, challenges)
    request = f"GET {WELL_KNOWN}plain HTTP/1.0\r\n\r\n".encode()
    assert (await ask(handler, request))[2] == b"plain.thumb"
    status, fields, _ = await ask(
        handler, head(WELL_KNOWN + "plain", "a", method="PUT")
    )
    assert (status, fields["Allow"]) == (405, "GET, HEAD")


async def test_a_disk_that_hangs_holds_up_nobody(
    challenges: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_: str, __: str) -> None:
        trio.from_thread.run(trio.sleep_forever)

    monkeypatch.setattr(https_redirect, "read_challenge", hang)
    monkeypatch.setattr(https_redirect, "CHALLENGE_S", 0.05)
    handler = HttpsRedirect(443, challenges)
    async with serving(handler) as server:
        async with connected(server) as slow, connected(server) as other:
            await slow.send(head(WELL_KNOWN + "plain", "a"))
            await other.send(head("/", "a"))
            assert b"308" in (await other.response())[0]
            assert b" 503 " in (await slow.response())[0]
