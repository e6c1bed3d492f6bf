"""The page is there, shows what it is sent, at once, and stays small."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path

import pytest

from tests.browser import Browser
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import PAGE, StandIn

FILES = sorted(one for one in Path(str(PAGE)).rglob("*") if one.is_file())
SCRIPTS = [one for one in FILES if one.suffix == ".js"]

MOST_BYTES = 30 * 1024
"""Of all files together, each as gzip, as a browser gets them."""

MOST_LINES = 1200
"""Of code in all scripts, without comments and empty lines."""

WIDGETS = {
    "rollout": "Promote to 50",
    "judge": "not worse than x1.5",
    "arms": "baseline",
    "errors": "Error share",
    "latency": "Latency p99",
    "servers": "10.0.2.2:9000",
    "fleet": "vanished",
    "history": "drain for the new kernel",
    "events": "5 failures in a row",
    "split": "canary",
    "explain": "Header fields",
    "editor": "Review and write",
}


async def test_each_widget_shows_what_it_is_sent(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel")

    for name, words in WIDGETS.items():
        await page.says(words, f"#{name}")
    head = await page.text(".head")
    for words in ("web", "running", "canary 25", "812", "2/3", "edge-c refused"):
        assert words in head
    assert (
        await page.run("document.querySelector('#document').value")
        == (proxy.view["text"])
    )


async def test_a_change_is_seen_when_it_is_sent(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("Promote to 50", "#rollout")

    at = time.time()
    rollout = sample.rollout(at, phase="paused", reason="paused by hand", ratio=0.3)
    proxy.show(revision=813, rollout={**rollout, "actions": ["resume", "abort"]})

    await page.says("paused", ".head")
    await page.says("Resume", "#rollout")
    assert not await page.has("#pause")
    assert "813" in await page.text(".facts")


async def test_numbers_come_each_second_and_nothing_is_made_anew(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("baseline", "#arms")
    await page.run("window.row = document.querySelector('#arms tbody tr')")

    proxy.view["arms"][0] = sample.arm("stable", 0.7, 0.0, rate=12345.0)
    proxy.beat()

    await page.says("12\u202f345", "#arms")
    assert await page.run("row === document.querySelector('#arms tbody tr')")


async def test_a_selection_outlives_what_comes(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("baseline", "#arms")
    await page.run(
        "getSelection().selectAllChildren(document.querySelector('#arms tbody th b'))"
    )

    proxy.view["arms"][0] = sample.arm("stable", 0.7, 0.0, rate=12345.0)
    proxy.beat()
    await page.says("12\u202f345", "#arms")

    assert await page.run("getSelection().toString()") == "stable"


async def test_an_event_is_shown_first(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open(proxy.url)
    await page.says("5 failures in a row", "#events")

    proxy.send("event", sample.event(99, time.time(), "drain", "warning", "it ends"))

    await page.says("it ends", "#events li:first-child")


async def test_the_list_has_all_services_those_in_trouble_first(
    browser: Browser, proxy: StandIn
) -> None:
    proxy.view = sample.view(service="search")
    page = await browser.open(proxy.url + "#/")
    await page.says("search", "#services")

    names = await page.run(
        "[...document.querySelectorAll('#services tbody th')].map(it => it.innerText)"
    )
    assert names == ["checkout", "web", "shop", "@edge", "search"]
    await page.fill("#services input", "SEA")
    await page.says("1 of 5", "#services")
    await page.click("#services tbody a")
    await page.says("search", "#service")
    assert await page.run("location.hash") == "#/search"


async def test_a_gateway_shows_where_it_leads(browser: Browser, proxy: StandIn) -> None:
    route = {"route": "shop", "hosts": ["example.org"], "path_prefix": "/shop",
             "service": "shop", "target": "service shop"}  # fmt: skip
    proxy.view = sample.view(
        service="@edge", kind="gateway", routes=[route], rollout=None, arms=[]
    )
    page = await browser.open(proxy.url + "#/%40edge")

    await page.says("example.org", "#routes")
    assert not await page.has("#arms")
    assert await page.run("document.querySelector('#routes a').hash") == "#/shop"


async def test_the_countdown_runs_by_the_clock_of_the_proxy(
    browser: Browser, proxy: StandIn
) -> None:
    at = time.time() + 5000  # this machine's clock is late
    proxy.view = sample.view(at, rollout=sample.rollout(at, countdown_at=at + 61))
    page = await browser.open(proxy.url)

    await page.until(
        "/^(1:0[01]|0:5\\d)$/.test(document.querySelector('#countdown')?.innerText)"
    )


async def test_colours_are_chosen_and_kept(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open(proxy.url)
    await page.says("System", "#theme")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = await page.run(colour)

    await page.click("#theme")
    await page.says("Dark", "#theme")
    dark = await page.run(colour)
    await page.go(proxy.url)
    await page.says("Dark", "#theme")

    assert light != dark
    assert await page.run(colour) == dark


def test_all_of_it_is_small() -> None:
    sizes = {one.name: len(gzip.compress(one.read_bytes(), 9)) for one in FILES}

    assert sum(sizes.values()) <= MOST_BYTES, sizes


def test_it_is_few_lines() -> None:
    lines = [
        line
        for one in SCRIPTS
        for line in re.sub(
            r"/\*.*?\*/", "", one.read_text(), flags=re.DOTALL
        ).splitlines()
        if line.strip() and not line.strip().startswith("//")
    ]

    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize(
    "word",
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
     "new Function", "style=", "sessionStorage"],
)  # fmt: skip
def test_no_markup_comes_from_text(word: str) -> None:
    assert [one.name for one in FILES if word in one.read_text("utf-8")] == []
