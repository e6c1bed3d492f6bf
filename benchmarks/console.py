"""What the console's page costs who looks at it: time to be of use, frames, growth.

    python -m benchmarks.console [--minutes 5]

- interactive: from the navigation until the service is shown and buttons can be used, on
  loopback, in a context without a cache; the median of nine.
- frames: 200 services in the list, and then one with 50 proxies and 100 servers, each with
  other numbers four times in a second: the processor time of each task of the page's thread,
  by the browser's own trace, so that a busy machine does not count. A frame takes longer than
  its tasks only where others have the processor.
- growth: the same service, twenty times as fast as it comes; heap after collection, elements
  and listeners, at the begin and every minute.

The page is the real one in a real Chromium, on the stand-in of the tests: what proxies do for it
is measured elsewhere.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from typing import Any

import trio
from tests.browser import Browser, Page, browser_process, browsing
from tests.canary_trio.support import console_sample as sample
from tests.canary_trio.support.console_stand_in import StandIn, stand_in

SERVICES = 200
PROXIES = 50
SERVERS = 100
ROUNDS = 9
EVERY_S = 0.25
FRAMES_S = 10.0

INTERACTIVE = """
new Promise(done => { const look = () => document.querySelector('#promote')
  ? done(performance.now()) : setTimeout(look, 2); look() })
"""


async def interactive(proxy: StandIn, browser: Browser) -> None:
    times = []
    for _ in range(ROUNDS):
        page = await browser.open()
        await page.ask("Network.setCacheDisabled", cacheDisabled=True)
        await page.go(proxy.url)
        times.append(float(await page.run(INTERACTIVE)))
        await browser.ask("Target.closeTarget", targetId=page.target)
    median = statistics.median(times)
    print(f"interactive: median {median:.0f} ms, longest {max(times):.0f} ms")


def large(at: float) -> dict[str, Any]:
    servers = [
        sample.server("canary", f"http://10.0.{n // 250}.{n % 250}:9000", at + n)
        for n in range(SERVERS)
    ]
    proxies = [sample.proxy(f"edge-{n}", at - n / 100) for n in range(PROXIES)]
    return {**sample.traffic(at), "servers": servers, "proxies": proxies}


async def frames(proxy: StandIn, browser: Browser) -> None:
    def listed(at: float) -> dict[str, Any]:
        rows = [
            sample.row(f"service-{n}", rate=at % 97 + n, errors=(at + n) % 7 / 700)
            for n in range(SERVICES)
        ]
        return sample.listed(rows, at)

    proxy.services = listed(time.time())
    page = await browser.open(proxy.url + "#/")
    await page.says(f"{SERVICES} of {SERVICES}")
    await _beaten(f"{SERVICES} services", page, proxy, "services", listed)

    proxy.view = {**sample.view(), **large(time.time())}
    page = await browser.open(proxy.url)
    await page.says(f"edge-{PROXIES - 1}", "#fleet")
    await _beaten(
        f"{PROXIES} proxies, {SERVERS} servers", page, proxy, "traffic", large
    )


async def _beaten(name: str, page: Page, proxy: StandIn, kind: str, make: Any) -> None:
    busy = await page.busy(FRAMES_S, partial(_send, proxy, kind, make))
    busy.sort()
    print(
        f"{name}: tasks of the page's thread, processor time: longest {busy[-1]:.1f} ms,"
        f" 99 of 100 below {busy[len(busy) * 99 // 100]:.1f} ms; of 50 ms and more:"
        f" {sum(one >= 50 for one in busy)}; in all {sum(busy) / FRAMES_S / 10:.1f} % of a core"
    )
    await page.browser.ask("Target.closeTarget", targetId=page.target)


async def _send(proxy: StandIn, kind: str, make: Any) -> None:
    while True:
        proxy.send(kind, make(time.time()))
        await trio.sleep(EVERY_S)


async def growth(proxy: StandIn, browser: Browser, minutes: float) -> None:
    proxy.view = sample.view()
    page = await browser.open(proxy.url)
    await page.says("live", "#link")
    await page.ask("Performance.enable")
    began, at = trio.current_time(), time.time()
    number, shown_s = 1000, 0
    while (passed := trio.current_time() - began) < minutes * 60:
        for _ in range(5):  # of 0.25 s: twenty seconds of the service in one
            at, number, shown_s = at + 1, number + 1, shown_s + 1
            proxy.send("traffic", sample.traffic(at))
        proxy.send("event", sample.event(number, at, "change", "info", f"{number}"))
        rollout = sample.rollout(at, step=number // 300 % 4)
        proxy.send("view", sample.view(at, rollout=rollout, revision=number))
        if passed % 60 < EVERY_S:
            await _tell_growth(page, shown_s)
        await trio.sleep(EVERY_S)
    await _tell_growth(page, shown_s)


async def _tell_growth(page: Page, shown_s: int) -> None:
    await page.ask("HeapProfiler.collectGarbage")
    reply = await page.ask("Performance.getMetrics")
    found = {one["name"]: one["value"] for one in reply["metrics"]}
    print(
        f"growth: after {shown_s / 60:.0f} min of the service heap"
        f" {found['JSHeapUsedSize'] / 1e6:.2f} MB, {found['Nodes']:.0f} nodes,"
        f" {found['JSEventListeners']:.0f} listeners",
        flush=True,
    )


async def measure(minutes: float) -> None:
    with browser_process() as pipes:
        async with stand_in(beats=False) as proxy, browsing(pipes) as browser:
            await interactive(proxy, browser)
            await frames(proxy, browser)
            await growth(proxy, browser, minutes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="that it grows")
    trio.run(measure, parser.parse_args().minutes)
