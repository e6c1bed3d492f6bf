"""The application as a whole: its paths are those of the contract, and who may ask what."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import trio
from starlette.routing import Route

from canary_trio import write_document
from canary_trio.admin.asking.client import NOTHING
from canary_trio.admin.asking.guard import AdminAccess
from canary_trio.admin.asking.tokens import make_admin_token
from canary_trio.console import app
from canary_trio.console.application import console_app
from canary_trio.console.live.collecting import Sources
from canary_trio.console.live.desk import Desk
from canary_trio.console.live.near import Nobody
from canary_trio.control.sources.opening import open_source
from http_trio.testing.peers import RawClient
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.consoles import CONTRACT, DOCUMENT, SERVICE, console
from tests.http_trio.support.certificates import hypercorn_serving


def test_its_routes_are_those_of_the_contract() -> None:
    sources = Sources(open_source("http://127.0.0.1:1"), Nobody(), NOTHING)
    routes = console_app(Desk(sources), AdminAccess()).routes
    ours = {
        (route.path, method.lower())
        for route in routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in route.methods or ()
        if method != "HEAD"
    }

    told = {
        (path, method)
        for path, methods in CONTRACT["paths"].items()
        for method in methods
    }
    assert ours == told


READS = [
    "/api/v1/services",
    SERVICE,
    f"{SERVICE}/history",
    f"{SERVICE}/history?limit=1",
    f"{SERVICE}/history/REVISION",
    f"{SERVICE}/diff?from=0&to=REVISION",
    "/api/v1/openapi.json",
]


async def test_what_is_read_is_as_the_contract_says(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        revision = await write_document(asker.store, "web", DOCUMENT, over=0)
        for path in READS:
            found = await asker.ask("GET", path.replace("REVISION", str(revision)))
            assert found.status == 200, found
            assert found.field(b"cache-control") == b"no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/services/none", 404),
        ("/api/v1/services/none/history", 404),
        (f"{SERVICE}/history/77", 404),
        (f"{SERVICE}/history/x", 404),
        (f"{SERVICE}/history?limit=0", 400),
        (f"{SERVICE}/history?limit=x", 400),
        (f"{SERVICE}/history?limit=1&limit=2", 400),
        (f"{SERVICE}/diff", 400),
        (f"{SERVICE}/diff?from=0&to=99999999999999999999", 400),
        (f"{SERVICE}/diff?from=0&to=77", 404),
        ("/api/v1/services/@@/history", 404),
        ("/api/v1/services/%00", 404),
        ("/api/v1/services/%ff", 404),
        ("/api/v1/stream?service=%0a", 400),
        ("/api/v1/stream?service=none", 404),
    ],
)
async def test_what_is_not_there_is_said(
    path: str, status: int, tmp_path: Path
) -> None:
    async with console(tmp_path) as asker:
        await write_document(asker.store, "web", DOCUMENT, over=0)
        found = await asker.ask("GET", path)

        assert found.status == status, found
        assert found.json["error"]


async def test_a_document_that_is_no_document_is_shown(tmp_path: Path) -> None:
    texts = [b"{", b"[]", b"\xff\xfe", b'{"arms": 5}', b'{"a": "\\ud800"}', b"1e999"]
    async with console(tmp_path) as asker:
        for text in texts:
            await asker.store.put("canary/web/config", text)
            found = await asker.ask("GET", f"{SERVICE}/history")
            assert found.status == 200
            revision = found.json["present"]
            view = (await asker.ask("GET", SERVICE)).json
            while view["revision"] != revision:
                view = (await asker.ask("GET", SERVICE)).json
            assert view["problems"], text
            assert "not valid" in view["trouble"][0]


async def test_the_list_has_gateways_and_what_is_broken(tmp_path: Path) -> None:
    table = {"routes": [{"host": "a.example", "service": "web"}]}
    async with console(tmp_path) as asker:
        await write_document(asker.store, "web", DOCUMENT, over=0)
        await write_document(asker.store, "@edge", table, over=0)
        await asker.store.put("canary/odd/config", b"{")
        await asker.store.put("canary/bad name/config", b"{")
        await asker.store.put("canary/alone/proxies/x", b"?")
        rows = (await asker.ask("GET", "/api/v1/services")).json["services"]
        view = (await asker.ask("GET", "/api/v1/services/@edge")).json

    assert [row["name"] for row in rows] == ["@edge", "alone", "odd", "web"]
    assert [row["kind"] for row in rows] == ["gateway", *["service"] * 3]
    assert rows[0]["routes"] == 1
    assert rows[1]["trouble"] == ["there is no document"]
    assert "not valid" in rows[2]["trouble"][0]
    assert rows[3]["ratio"] == {"canary": 0.1}
    assert view["services"] == ["web"]


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_who_comes_by_a_browser_is_led_to_the_page(
    path: str, tmp_path: Path
) -> None:
    async with console(tmp_path) as asker:
        found = await asker.ask("GET", path)

    assert found.status == 307
    assert found.field(b"location") == b"/console/"
    assert b"frame-ancestors 'none'" in (found.field(b"content-security-policy") or b"")


@pytest.mark.parametrize(
    "path",
    [
        "/console/../session",
        "/console/%2e%2e/answers.py",
        "/console/..%2f__init__.py",
        "/console//etc/passwd",
        "/console/none.js",
        "/console/%ff",
    ],
)
async def test_no_path_leads_out_of_the_page(path: str, tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        assert (await asker.ask("GET", path)).status == 404


def test_every_path_of_the_contract_is_below_the_api() -> None:
    assert all(re.match(r"/api/v1/[a-z{]", path) for path in CONTRACT["paths"])


async def test_it_is_mounted_in_an_asgi_server(tmp_path: Path) -> None:
    secret, lines = make_admin_token("anna", "write")
    file = tmp_path / "admin.toml"
    file.write_text(lines)
    file.chmod(0o600)
    async with in_memory_store() as store:
        over = await write_document(store, "web", DOCUMENT, over=0)
        async with hypercorn_serving(app(store.url, roles=file)) as port:
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
                view = await client.get(SERVICE)
                strange = await client.get(SERVICE, headers={"Host": "evil.example"})
                unsaid = await client.patch(f"{SERVICE}/document", json={})
                fields = {"Authorization": f"Bearer {secret}", "If-Match": f'"{over}"'}
                body = {"assignments": ["ratio=0.3"]}
                done = await client.patch(
                    f"{SERVICE}/document", json=body, headers=fields
                )
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                follower = RawClient(stream)
                path = b"/api/v1/stream?service=web"
                await follower.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
                with trio.fail_after(10):
                    await follower.until(b"event: view")

    assert view.json()["revision"] == over
    assert (strange.status_code, unsaid.status_code) == (403, 401)
    assert done.json()["revision"] > over


async def test_a_store_that_is_away_is_said(tmp_path: Path) -> None:
    async with console(tmp_path, source="http://127.0.0.1:1") as asker:
        listed = await asker.ask("GET", "/api/v1/services")
        view = await asker.ask("GET", SERVICE)
        write = await asker.ask(
            "PATCH",
            f"{SERVICE}/document",
            {"assignments": ["ratio=0"]},
            by="anna",
            match=1,
        )

    assert listed.status == 200
    assert not listed.json["store"]["ok"]
    assert "127.0.0.1:1" in listed.json["store"]["error"]
    assert (view.status, write.status) == (503, 503)
