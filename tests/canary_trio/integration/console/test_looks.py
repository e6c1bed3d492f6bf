"""Everybody can read the page: by eyes, by ears, by keys, at any size, whatever is in it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, Page
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import StandIn

AXE = Path(sys.prefix, "other-clients", "axe", "axe_playwright_python", "axe.min.js")

HOSTILE = "<img src=x onerror=alert(1)>\"';</script>\u202e\x00{{7*7}}\n$&"

VIOLATIONS = """
axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(one =>
  one.id + ': ' + one.help + ' ' + one.nodes.map(node => node.html + ' '
  + node.failureSummary).join('; ').slice(0, 600)))
"""


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        assert "CI" not in os.environ, "CI has to have axe-core"
        pytest.skip("there is no axe-core here (make install)")
    return AXE.read_text("utf-8") + ";0"


async def _violations(page: Page, axe: str) -> list[str]:
    if not await page.run("'axe' in window"):
        await page.run(axe)
    found: list[str] = await page.run(VIOLATIONS)
    return found


def _whole(**fields: Any) -> dict[str, Any]:
    at = time.time()
    waits = {"kind": "trial", "revision": 813, "back_to": 812, "author": "bert",
             "message": "", "until": at + 47, "proxies": ["edge-b"]}  # fmt: skip
    frozen = {"by": "anna", "message": "Friday", "until": at + 3600}
    return sample.view(at, **{"pending": waits, "freeze": frozen, **fields})


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(
    browser: Browser, proxy: StandIn, axe: str, scheme: str
) -> None:
    proxy.view = _whole()
    page = await browser.open()
    await page.prefer(color_scheme=scheme)
    await page.go(proxy.url)
    await page.says("drain for the new kernel", "#history")
    await page.run("document.querySelectorAll('details').forEach(it => it.open = true)")
    await page.until("document.querySelector('#history ins')")

    assert await _violations(page, axe) == []

    await page.click("#abort")
    await page.says("25 % of users move", "dialog")
    assert await _violations(page, axe) == []


async def test_axe_finds_nothing_in_the_list_nor_in_what_is_old(
    browser: Browser, proxy: StandIn, axe: str
) -> None:
    page = await browser.open(proxy.url + "#/")
    await page.says("search", "#services")
    assert await _violations(page, axe) == []

    proxy.stream, proxy.away = "silent", True
    await page.says("Out of touch", "main")
    await page.forgive("503", later=True)
    assert await _violations(page, axe) == []


TREE = {
    "status": [("heading", "web")],
    "rollout": [("region", "Rollout"), ("list", "Steps"),
                ("button", "Promote to 50\u202f%"), ("button", "Abort")],
    "judge": [("region", "Judge"), ("heading", "p99"),
              ("image", "The ratio with its bounds, and the threshold")],
    "arms": [("region", "Arms"), ("table", "Arms, the last minute"),
             ("columnheader", "asked"), ("rowheader", "canary")],
    "charts": [("image", "Error share of each arm, 15 minutes"),
               ("DisclosureTriangle", "As a table")],
    "servers": [("table", "Servers"), ("group", "Mode of http://10.0.2.1:9000"),
                ("button", "drain")],
    "fleet": [("table", "Proxies"), ("columnheader", "heard")],
    "history": [("region", "History"), ("button", "Roll back to revision 809")],
    "events": [("region", "Events")],
    "shares": [("slider", "Share of canary in percent, slider"),
               ("spinbutton", "Share of canary in percent")],
    "explain": [("textbox", "Method"), ("textbox", "Header fields")],
    "editor": [("textbox", "The document as JSON"), ("list", "Faults")],
}  # fmt: skip
"""What of each widget somebody hears who does not see it."""


async def test_the_accessibility_tree_has_each_widget(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel", "#history")
    await page.run("document.querySelectorAll('details').forEach(it => it.open = true)")
    fault = {"path": "$.ratio", "found": "2", "expected": "0 to 1"}
    proxy.answers["preview"] = {"valid": False, "problems": [fault], "over": 812,
                                "differences": []}  # fmt: skip
    await page.fill("#document", '{"ratio": 2}')
    await page.says("$.ratio", "#faults")

    tree = await page.tree()

    missing = {
        widget: [node for node in nodes if node not in tree]
        for widget, nodes in TREE.items()
    }
    assert {widget: nodes for widget, nodes in missing.items() if nodes} == {}
    unnamed = [node for node in tree if node[0] in ("button", "textbox", "slider",
               "image", "table", "link", "region") and not node[1]]  # fmt: skip
    assert unnamed == []


async def test_only_phase_and_verdict_are_read_out(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel", "#history")

    live = await page.run(
        "[...document.querySelectorAll('[aria-live],[role=status],output')]"
        ".filter(it => it.tagName != 'OUTPUT').map(it => it.textContent)"
    )

    assert live == ["Rollout v2 is running. Judge: no difference yet."]


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_nothing_is_cut_off_at_400_percent_or_on_a_phone(
    browser: Browser, proxy: StandIn, width: int
) -> None:
    proxy.view = _whole()
    page = await browser.open(proxy.url, width=width, height=256)
    await page.says("drain for the new kernel", "#history")

    outside = await page.run(
        "[...document.querySelectorAll('main *, .top *')].filter(it => {"
        " const box = it.getBoundingClientRect();"
        " return box.width && box.right > innerWidth + 1 && !it.closest('.scroll, .rail,"
        " .unseen, textarea, .code') }).map(it => it.tagName + '.' + it.className + ' '"
        " + it.textContent.slice(0, 40))"
    )
    assert outside == []
    assert await page.run("document.documentElement.scrollWidth") <= width

    await page.click("#abort")
    await page.says("25 % of users move", "dialog")
    box = await page.run(
        "(() => { const it = document.querySelector('dialog').getBoundingClientRect();"
        " return [it.left, it.right, it.top, it.bottom] })()"
    )
    assert box[0] >= 0
    assert box[1] <= width
    assert box[2] >= 0
    assert box[3] <= 256


async def test_all_of_it_is_done_by_keys(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel", "#history")
    seen = []
    for _ in range(60):
        await page.key("Tab")
        now = await page.run(
            "(() => { const it = document.activeElement; const style = getComputedStyle(it);"
            " return [it.id || it.tagName + '.' + it.className,"
            " style.outlineStyle != 'none'] })()"
        )
        seen.append(now)
        if now[0] == "rehearse":
            break

    names = [name for name, _ in seen]
    for name in ("theme", "logout", "promote", "abort", "document", "rehearse"):
        assert name in names
    assert names.index("theme") < names.index("promote") < names.index("document")
    assert [name for name, ring in seen if not ring and name != "document"] == []


async def test_who_wants_no_motion_gets_none(browser: Browser, proxy: StandIn) -> None:
    page = await browser.open()
    await page.prefer(reduced_motion="reduce")
    await page.go(proxy.url)
    await page.says("Promote to 50", "#rollout")

    moving = await page.run(
        "[...document.querySelectorAll('*')].flatMap(it => [it, '::before', '::after']"
        ".map(part => part === it ? getComputedStyle(it) : getComputedStyle(it, part)))"
        ".filter(it => it.transitionDuration != '0s' || it.animationName != 'none').length"
    )

    assert moving == 0


async def test_each_state_has_a_sign_and_a_word_beside_its_colour(
    browser: Browser, proxy: StandIn
) -> None:
    page = await browser.open(proxy.url)
    await page.says("drain for the new kernel", "#history")

    marks = await page.run(
        "[...document.querySelectorAll('.mark')].map(it => [it.className,"
        " it.querySelector('.sign').textContent, it.textContent.slice(1).trim()])"
    )

    assert len(marks) > 10
    assert all(sign and word for _, sign, word in marks)
    by_colour: dict[str, set[str]] = {}
    for colour, sign, _ in marks:
        by_colour.setdefault(sign, set()).add(colour)
    assert all(len(colours) == 1 for colours in by_colour.values())


def _spoilt(value: Any) -> Any:
    """Put hostile text wherever there is text, but where a text means something."""
    if isinstance(value, dict):
        return {
            name: one if name in _KEPT else _spoilt(one) for name, one in value.items()
        }
    if isinstance(value, list):
        return [_spoilt(one) for one in value]
    return value + HOSTILE if isinstance(value, str) else value


_KEPT = {"service", "kind", "phase", "state", "status", "mode", "level", "actions"}


async def test_hostile_text_is_text(browser: Browser, proxy: StandIn) -> None:
    proxy.view = _spoilt(_whole())
    rows = [_spoilt(one) for one in proxy.services["services"]]
    proxy.services = {**proxy.services, "services": rows, "why": HOSTILE}
    page = await browser.open(proxy.url)
    await page.says("onerror", "#arms")

    assert await page.run("document.querySelectorAll('img, script').length") == 1
    await page.run("location.hash = '#/'")
    await page.says("onerror", "#services")
    assert await page.run("document.querySelectorAll('img, script').length") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"rollout": None, "arms": [], "servers": [], "proxies": [], "events": []},
        {"document": None, "text": "", "revision": None, "change": None, "rollout": None},
        {"rollout": {**sample.rollout(0.0), "steps": [], "step": None, "tiles": [],
                     "actions": ["promote", "retry"], "since": None,
                     "countdown_at": None}},
        {"arms": [{**sample.arm("stable", 1.0, 0.0), "got": None, "rate": None,
                   "minute": {"requests": 0, "errors": 0, "p50_s": None,
                              "p99_s": None}}]},
        {"rollout": {**sample.rollout(0.0), "tiles": [
            sample.tile("errors", "", None, None, None, 1.0, e_value=None,  # type: ignore[arg-type]
                        requests=[0, 0], failures=None, verdict="")]}},
        {"proxies": [sample.proxy("a", 0.0, heard=None, in_flight=None)],
         "missing": [], "events": []},
        {"store": {"url": "", "ok": False, "since": 0, "error": "refused",
                   "heard": None}, "read_only": "a file"},
        {"kind": "gateway", "routes": [{"name": "web"}], "services": ["web"],
         "rollout": None, "arms": [], "servers": []},
    ],
    ids=["nothing", "no document", "no steps", "no numbers", "no bounds", "unheard",
         "no store", "gateway"],
)  # fmt: skip
async def test_what_is_not_there_is_a_dash(
    browser: Browser, proxy: StandIn, fields: dict[str, Any]
) -> None:
    proxy.view = sample.view(**fields)
    page = await browser.open(proxy.url)
    await page.says("web", "#service")
    await page.says("edge-a" if "proxies" not in fields else "Fleet", "#fleet")

    shown = await page.text("body")

    for word in ("NaN", "undefined", "null", "Infinity", "[object"):
        assert word not in shown
