"""What is away is said, what is old looks it, and all of it heals by itself."""

from __future__ import annotations

import time

from tests.browser import Browser
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import StandIn


async def test_a_stream_that_is_held_back_becomes_polling_and_comes_back(
    browser: Browser, proxy: StandIn
) -> None:
    proxy.stream = "silent"
    page = await browser.open(proxy.url)

    await page.says("Promote to 50", "#rollout")  # by polling
    await page.says("polling", "#link")
    await page.says("No stream", "#away")
    proxy.view = sample.view(revision=900)
    await page.says("900", ".facts")

    proxy.stream = "speaks"
    proxy.cut()
    await page.says("live", "#link")
    assert not await page.has("#away")


async def test_a_stream_that_ends_is_begun_again_at_once(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("live", "#link")

    proxy.view = sample.view(revision=901)
    proxy.cut()

    await page.says("901", ".facts")
    await page.says("live", "#link")


async def test_a_proxy_that_is_away_is_said_and_waited_for(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("live", "#link")

    proxy.away = True
    proxy.cut()
    await page.says("lost", "#link")
    await page.says("Out of touch", "#away")
    await page.until("document.querySelector('#root').classList.contains('old')")
    await page.says(" old", "#link")
    assert "canary" in await page.text("#arms"), "what was known stays"

    proxy.away, proxy.role, proxy.named = False, "read", ""  # sessions end with it
    proxy.view = sample.view(revision=902)
    await page.says("902", ".facts")
    await page.says("live", "#link")
    await page.says("read only", ".session")
    await page.until("!document.querySelector('#root').classList.contains('old')")
    assert await page.forgive("503", later=True) > 0


async def test_a_page_that_slept_begins_again(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open(proxy.url)
    await page.says("live", "#link")
    before = proxy.asked.count("stream")

    # Half a minute that it did not live through: the clock jumps, and nothing came.
    await page.run("{ const now = Date.now; Date.now = () => now() + 30000 }")
    await page.until("true")

    await page.until("document.querySelector('#link').innerText.includes('live')")
    while proxy.asked.count("stream") == before:
        await page.run("new Promise(done => setTimeout(done, 50))")
    await page.says("live", "#link")


async def test_a_store_that_is_away_is_said(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open(proxy.url)
    await page.says("store heard", ".facts")

    proxy.show(store={"url": "http://10.0.0.9:8500", "ok": False, "heard": None,
                      "since": time.time() - 7, "error": "refused"})  # fmt: skip

    await page.says("store away for 7", ".facts")
    await page.says("The store: refused", ".head")


async def test_what_a_proxy_said_long_ago_is_grey_with_its_age(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)

    await page.says("edge-c", "#fleet")
    old = await page.run(
        "[...document.querySelectorAll('#fleet tr.old')].map(it => it.innerText)"
    )

    assert len(old) == 2
    assert "41\u202fs" in old[0] or "42\u202fs" in old[0]


async def test_a_session_that_ended_asks_for_another(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("live", "#link")
    proxy.refuses = (401, {"error": "the session is over"})

    await page.click("#pause")
    await page.click("dialog button.strong")
    await page.says("the session is over", "dialog")

    assert await page.forgive("401") == 1


async def test_a_page_that_nobody_sees_asks_for_nothing(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("live", "#link")

    await page.run(
        "Object.defineProperty(document, 'hidden', {get: () => window.away ?? true});"
        "document.dispatchEvent(new Event('visibilitychange'));"
        "{ const now = Date.now; Date.now = () => now() + 25000 }"
    )
    await page.until("new Promise(done => setTimeout(() => done(true), 1100))")
    while any(not one.gone for one in proxy.streams):
        await page.run("new Promise(done => setTimeout(done, 50))")
    before = len(proxy.asked)

    await page.run(
        "window.away = false; document.dispatchEvent(new Event('visibilitychange'))"
    )
    await page.says("live", "#link")
    while len(proxy.asked) == before:
        await page.run("new Promise(done => setTimeout(done, 50))")
