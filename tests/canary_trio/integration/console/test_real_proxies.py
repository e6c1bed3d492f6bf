"""The page on real proxies and a real store: what the stand-in says is what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from canary_trio import Proxy
from canary_trio.admin.asking.tokens import make_admin_token
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.browser import Browser, Page
from tests.canary_trio.support.stored_proxy import proxy_on

DOCUMENT = {
    "ratio": 0.1,
    "sticky_sessions": True,
    "arms": {
        "stable": {"servers": ["http://127.0.0.1:9", "http://127.0.0.2:9"]},
        "canary": {"servers": ["http://127.0.0.3:9"]},
    },
    "rollout": {"id": "v2", "steps": [0.1, {"ratio": 0.3, "hold": None}, 1]},
}

STRONG = "dialog button.strong"


@attrs.define
class Site:
    store: Client
    one: Proxy
    secret: str

    @property
    def url(self) -> str:
        return f"{self.one.admin_url}/console/"

    async def document(self) -> dict[str, object]:
        entry = (await self.store.get("canary/web/config")).entry
        assert entry is not None
        found: dict[str, object] = json.loads(entry.value)
        return found

    async def log_in(self, browser: Browser) -> Page:
        page = await browser.open(self.url)
        await page.click("#login")
        await page.fill("#token", self.secret)
        await page.click(STRONG)
        await page.says("anna · write", ".session")
        await page.until("document.querySelector('#split')")
        return page


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    secret, lines = make_admin_token("anna", "write")
    file = tmp_path / "admin.toml"
    file.write_text(lines)
    file.chmod(0o600)
    options = {"admin_token_file": file, "bootstrap": json.dumps(DOCUMENT).encode()}
    async with in_memory_store() as store, proxy_on(store, **options) as one:
        yield Site(store, one, secret)


async def test_who_has_no_token_sees_all_and_may_change_nothing(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)

    await page.says("http://127.0.0.3:9", "#servers")
    await page.says("live", "#link")
    await page.says("read only", ".session")
    assert not await page.has("#split input")
    status = await page.run(
        "fetch('../api/v1/services/web/document', {method: 'PATCH', headers: {'If-Match':"
        " '\"1\"', 'Content-Type': 'application/json', 'X-Canary-Console': '1'},"
        ' body: \'{"assignments": ["ratio=1"]}\'}).then(it => it.status)'
    )
    assert status in (401, 403)
    assert page.forgive(str(status)) == 1


async def test_a_change_in_the_store_is_on_the_page(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.says("10\u202f%", "#arms")

    changed = {**DOCUMENT, "ratio": 0.4}
    await site.store.put("canary/web/config", json.dumps(changed).encode())

    await page.says("40\u202f%", "#arms")
    await page.says("by hand", "#history")


async def test_the_list_leads_to_a_service(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url + "#/")

    await page.click("#services a")

    await page.says("web", "#service")
