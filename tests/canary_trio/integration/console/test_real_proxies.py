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
    "rollout": {
        "id": "v2",
        "steps": [{"ratio": 0.1, "hold": None}, {"ratio": 0.3, "hold": None}, 1],
    },
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
        await page.says("waiting", ".phase")  # its driver began it, and moves no more
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

    await page.says("127.0.0.3:9", "#servers")
    await page.says("live", "#link")
    await page.says("read only", ".session")
    assert not await page.has("#split input")
    status = await page.run(
        "fetch('../api/v1/services/web/document', {method: 'PATCH', headers: {'If-Match':"
        " '\"1\"', 'Content-Type': 'application/json', 'X-Canary-Console': '1'},"
        ' body: \'{"assignments": ["ratio=1"]}\'}).then(it => it.status)'
    )
    assert status in (401, 403)
    assert await page.forgive(str(status)) == 1


async def test_a_change_in_the_store_is_on_the_page(
    browser: Browser, site: Site
) -> None:
    page = await browser.open(site.url)
    await page.says("waiting", ".phase")

    changed = {**await site.document(), "ratio": 0.4}
    await site.store.put("canary/web/config", json.dumps(changed).encode())

    await page.says("40\u202f%", "#arms")
    await page.says("by hand", "#history")


async def test_the_list_leads_to_a_service(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url + "#/")

    await page.click("#services a")

    await page.says("web", "#service")


async def _do(page: Page, selector: str, words: str) -> str:
    """Do what a button is for: look at the effect, say why, confirm. Give what was told."""
    await page.click(selector)
    await page.says(words, "dialog")
    await page.fill("#why", "by the page")
    await page.click(STRONG)
    await page.until("!document.querySelector('dialog')")
    return await page.text(".foot")


async def test_a_rollout_is_led_from_its_begin_to_its_end(
    browser: Browser, site: Site
) -> None:
    page = await site.log_in(browser)

    await _do(page, "#promote", "→ 30\u202f%")
    await page.says("canary 30\u202f%", ".head")
    await _do(page, "#pause", "canary stays at 30\u202f%")
    await page.says("paused", ".phase")
    await _do(page, "#resume", "canary goes on from 30\u202f%")
    await page.until("!document.querySelector('#resume')")
    await _do(page, "#freeze", "No step begins")
    await page.says("Frozen", ".head")
    await _do(page, "#thaw", "Steps that are due")
    await page.until("!document.querySelector('#thaw')")
    await _do(page, "#abort", "→ 0\u202f%")
    await page.says("aborted", ".phase")
    await _do(page, "#retry", "Begin the rollout again")
    await page.until("document.querySelector('#promote-full')")
    await _do(page, "#promote-full", "→ 100\u202f%")
    await page.says("done", ".phase")
    await page.says("by the page", "#history")

    assert (await site.document())["ratio"] in (1, {"canary": 1})


async def test_shares_modes_and_revisions_are_changed(
    browser: Browser, site: Site
) -> None:
    page = await site.log_in(browser)

    await page.run("document.querySelector('#split input').focus()")
    await page.key("ArrowRight")
    await page.says("10\u202f% → 10.5\u202f%", "dialog")
    await page.says("of users", "dialog")
    await page.click(STRONG)
    await page.says("10.5\u202f%", "#arms")

    await page.click("#servers tbody tr:nth-child(1) .modes button:nth-child(2)")
    await page.says("requests are in progress there", "dialog")
    await page.click(STRONG)
    await page.until(
        "document.querySelector('#servers tr:nth-child(1) [aria-pressed=true]')"
        ".innerText == 'drain'"
    )

    await page.click("#history li:nth-child(1) summary")
    await page.says("drain", "#history ins")
    await page.click(".history > li:nth-child(3) summary")
    await page.click(".history > li:nth-child(3) .rollback")
    await page.says("fields change", "dialog")
    await page.click(STRONG)
    await page.says("10\u202f%", "#arms")
    await page.until(
        "document.querySelector('#servers tr:nth-child(1) [aria-pressed=true]')"
        ".innerText == 'ready'"
    )


async def test_of_two_operators_the_second_is_told_of_the_first(
    browser: Browser, site: Site
) -> None:
    page = await site.log_in(browser)
    await page.click("#pause")
    await page.says("no step begins", "dialog")
    changed = {**await site.document(), "decision_header": "X-Arm"}
    await site.store.put("canary/web/config", json.dumps(changed).encode())

    await page.click(STRONG)

    await page.says("Somebody was first.", "dialog")
    await page.says("X-Arm", "dialog .note")
    assert await page.forgive("412") == 1
    await page.click("#again")
    await page.click(STRONG)
    await page.says("paused", ".phase")


async def test_a_document_is_edited(browser: Browser, site: Site) -> None:
    page = await site.log_in(browser)
    text = json.dumps({**DOCUMENT, "ratio": 2}, indent=2)
    await page.fill("#document", text)
    await page.says("line 2: $.ratio", "#faults")

    await page.fill("#document", text.replace('"ratio": 2', '"ratio": 0.15'))
    await page.says("Valid.", "#editor")
    await page.click("#rehearse")
    await page.until("document.querySelector('#editor .result li, #editor p.bad')")
    if await page.has("#editor p.bad"):  # nothing was noted that could be rehearsed
        await page.forgive("409")
    await page.click("#write")
    await page.says("fields change on 1 proxies", "dialog")
    await page.run("document.querySelector('#within').value = '300'")
    await page.click(STRONG)

    await page.says("Not confirmed yet", ".head")
    await page.says("15\u202f%", "#arms")
    await _do(page, "#confirm", "stays for good")
    await page.until("!document.querySelector('#confirm')")


async def test_a_request_is_explained(browser: Browser, site: Site) -> None:
    page = await browser.open(site.url)
    await page.says("live", "#link")

    await page.click("#explain button")
    await page.says("It gets by chance", "#explain")


async def test_a_proxy_that_restarts_is_found_again(
    browser: Browser, tmp_path: Path
) -> None:
    async with in_memory_store() as store:
        options: dict[str, object] = {"bootstrap": json.dumps(DOCUMENT).encode()}
        async with proxy_on(store, **options) as one:
            where = one.admin_url
            page = await browser.open(f"{where}/console/")
            await page.says("live", "#link")
        await page.says("lost", "#link")
        await page.says("Out of touch", "#away")

        options["admin"] = where.removeprefix("http://")
        async with proxy_on(store, **options):
            await page.says("live", "#link")
            await page.until("!document.querySelector('#away')")
    assert await page.forgive("network:", later=True) > 0
