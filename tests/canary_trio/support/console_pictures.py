"""Pictures of the console's main states, as `make screenshots` writes them.

The page is the real one in a real browser, on a stand-in that has lived for a quarter of an
hour: so the same states can be made at any time, and lines and bands have something to show.
With pngquant they are a third as large; the fonts are those that are installed (Inter, where
it is).
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.browser import Browser, Page, browser_process, browsing
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import StandIn, stand_in

LIVED_S = 900

MOST_BYTES = 120_000
"""Of one picture."""


@attrs.frozen
class State:
    """One picture: where it is, how large, what is done first."""

    name: str
    width: int
    height: int
    scheme: str = "light"
    where: str = ""
    click: str = ""
    waits_for: str = ""
    seen: str = ""


STATES = (
    State("console", 1360, 1180),
    State("console-dark", 1360, 1180, "dark"),
    State("console-promote", 1360, 760, click="#promote", waits_for="dialog .diff li"),
    State("console-services", 1360, 420, where="#/"),
    State("console-phone", 390, 844),
)


async def take(folder: Path) -> None:
    with browser_process() as pipes:
        async with stand_in(beats=False) as proxy, browsing(pipes) as browser:
            for state in STATES:
                await _take(folder, proxy, browser, state)


async def _take(folder: Path, proxy: StandIn, browser: Browser, state: State) -> None:
    at = time.time()
    proxy.view = sample.view(at - LIVED_S, rollout=_judged(at - LIVED_S, at))
    proxy.services = sample.services(at)
    page = await browser.open(width=state.width, height=state.height)
    await page.prefer(color_scheme=state.scheme)
    await page.go(proxy.url + state.where)
    await page.until("document.querySelector('#service, #services')")
    if not state.where:
        await _live(proxy, page, at)
    if state.click:
        await page.click(state.click)
        await page.until(f"document.querySelector('{state.waits_for}')")
        await page.run("scrollTo(0, 0)")
    await page.run("document.activeElement.blur()")
    await page.run("new Promise(done => setTimeout(done, 1200))")
    path = folder / f"{state.name}.png"
    picture = await page.picture()
    await trio.Path(path).write_bytes(_smaller(picture))
    size = path.stat().st_size
    print(f"{path.name}: {state.width} x {state.height}, {size:,} bytes")
    assert size <= MOST_BYTES, f"{path.name} is too large for a repository"
    assert page.complaints == []


async def _live(proxy: StandIn, page: Page, now: float) -> None:
    """Let the page see a quarter of an hour."""
    for past in range(LIVED_S, 0, -5):
        at = now - past
        if past % 15 == 0:
            proxy.show(**sample.traffic(at), rollout=_judged(at, now))
        else:
            proxy.send("traffic", sample.traffic(at))
        if past % 100 == 0:
            await page.run("0")
    proxy.show(**sample.view(now, rollout=_judged(now, now)))
    await page.says("Promote to 50", "#rollout")


def _judged(at: float, now: float) -> dict[str, Any]:
    """Give a rollout whose bounds have narrowed since it began."""
    wide = 1 + 3 * math.exp(-(at - now + LIVED_S) / 260)
    rollout = sample.rollout(at)
    for tile in rollout["tiles"]:
        shaken = 1 + math.sin(at / 37 + len(tile["metric"])) * (wide - 1) / 9
        ratio = tile["ratio"] * shaken
        tile.update(ratio=ratio, low=ratio / wide / 1.04, high=ratio * wide * 1.04)
    return {**rollout, "countdown_at": now + 168, "since": now - 132}


def _smaller(picture: bytes) -> bytes:
    tool = shutil.which("pngquant")
    if tool is None:
        return picture
    arguments = [tool, "--speed", "1", "--quality", "70-95", "--strip", "64", "-"]
    done = subprocess.run(arguments, input=picture, capture_output=True, check=True)
    return done.stdout


if __name__ == "__main__":
    trio.run(take, Path(sys.argv[1]))
