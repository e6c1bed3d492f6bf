"""Logging in and out: by a token, by a login that holds once, and what a cookie may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from canary_trio import write_document
from tests.canary_trio.support.consoles import DOCUMENT, SERVICE, Answer, Asker, console

OWN = {"X-Canary-Console": "1"}


async def log_in(asker: Asker, secret: str, field: str = "token") -> Answer:
    return await asker.ask("POST", "/api/v1/session", {field: secret}, fields=OWN)


def cookie_of(answer: Answer) -> dict[str, str]:
    cookie = (answer.field(b"set-cookie") or b"").decode()
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    return {"Cookie": cookie.partition(";")[0]}


async def test_a_session_is_worth_its_token_until_it_ends(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await write_document(asker.store, "web", DOCUMENT, over=0)
        begun = await log_in(asker, asker.secrets["anna"])
        assert begun.json["role"] == "write"
        assert asker.secrets["anna"] not in begun.head.decode() + begun.body.decode()
        cookie = cookie_of(begun)
        shown = await asker.ask("GET", "/api/v1/session", fields=cookie)
        assert (shown.json["name"], shown.json["by"]) == ("anna", "session")

        path, body = f"{SERVICE}/document", {"assignments": ["ratio=0.3"]}
        unled = await asker.ask("PATCH", path, body, match=over, fields=cookie)
        assert unled.status == 403
        led = await asker.ask("PATCH", path, body, match=over, fields={**cookie, **OWN})
        assert led.status == 200

        ended = await asker.ask("DELETE", "/api/v1/session", fields={**cookie, **OWN})
        assert ended.status == 200
        again = await asker.ask("GET", "/api/v1/session", fields=cookie)
        assert again.json["by"] == "machine"


async def test_a_session_is_of_one_port_alone(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:

        async def ask(host: str, method: str, body: bytes, *lines: str) -> Answer:
            head = (
                f"{method} /api/v1/session HTTP/1.1",
                f"Host: {host}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *lines,
            )
            await asker.client.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            got, data = await asker.client.response()
            return Answer(int(got.split()[1]), got, data)

        secret = json.dumps({"token": asker.secrets["anna"]}).encode()
        found = {}
        for host in ("a:8081", "a:8082", "[::1]:8081", "a"):
            cookie = cookie_of(await ask(host, "POST", secret))["Cookie"]
            shown = [
                (await ask(other, "GET", b"", f"Cookie: {cookie}")).json["by"]
                for other in ("a:8081", "a")
            ]
            found[host] = (cookie.partition("=")[0], *shown)

    assert found == {
        "a:8081": ("canary.8081", "session", "machine"),
        "a:8082": ("canary.8082", "machine", "machine"),
        "[::1]:8081": ("canary.8081", "session", "machine"),
        "a": ("canary", "machine", "session"),
    }


async def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        cookie = cookie_of(await log_in(asker, asker.secrets["anna"]))
        (tmp_path / "admin.toml").write_text("")
        while True:  # the file is looked at once a second
            shown = await asker.ask("GET", "/api/v1/session", fields=cookie)
            if shown.json["by"] == "machine":
                break


async def test_a_one_time_login_holds_once(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        nobody = await asker.ask("POST", "/api/v1/logins")
        assert nobody.status == 401
        made = await asker.ask("POST", "/api/v1/logins", by="bob")
        assert made.status == 201
        login = made.json["login"]
        first = await log_in(asker, login, "login")
        assert (first.status, first.json["role"]) == (200, "read")
        assert (await log_in(asker, login, "login")).status == 401
        pasted = (await asker.ask("POST", "/api/v1/logins", by="anna")).json["login"]
        assert (await log_in(asker, pasted)).json["role"] == "write"


async def test_who_fails_too_often_has_to_wait(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        statuses = [(await log_in(asker, "wrong")).status for _ in range(21)]
        right = await log_in(asker, asker.secrets["anna"])

    assert statuses == [401] * 20 + [429]
    assert right.status == 429


async def test_odd_credentials_are_said(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        bodies: list[Any] = [{}, {"token": ""}, {"token": 5}, []]
        for body in (*bodies, {"token": "a", "login": "b"}):
            found = await asker.ask("POST", "/api/v1/session", body, fields=OWN)
            assert found.status == 400, body
            assert found.json["problems"]
        evil = {"Origin": "https://evil.example", **OWN}
        found = await asker.ask("POST", "/api/v1/session", {"token": "x"}, fields=evil)
        assert found.status == 403
