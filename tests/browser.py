"""A real Chromium for tests, led over its debugging pipe straight from trio.

The browser is one process for all tests of a worker: it speaks JSON, ended by NUL, on two
pipes, and no port is opened. Each test has a context of its own (cookies, cache, sockets),
which is thrown away with its pages, so tests share nothing but the process.

What is called Chromium may be a script that starts it, and it starts others itself: so each has
a session of its own, and whoever ends it ends its group. The rule: no browser is started but
here.

What a page writes to its console is kept. `Page.complaints` has all that is worse than a
note, refusals of the content security policy among them; the fixture in `conftest` ends a
test that has some which it did not name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import trio

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")

PATIENCE_S = 30
"""How long anything is waited for; nothing takes near as long."""

_HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")

_ARGUMENTS = (
    *_HEADLESS,
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--font-render-hinting=none",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)

CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
"""Where it is; None where there is none."""

Table = dict[str, Any]

_HOLDS_STILL = """selector => {
  const one = document.querySelector(selector);
  one?.scrollIntoView({block: 'center', behavior: 'instant'});
  const box = one?.getBoundingClientRect();
  const place = box && [box.x + box.width / 2, box.y + box.height / 2];
  const still = String(place) === String(window.lastPlace);
  window.lastPlace = place;
  if (!still || !one.contains(document.elementFromPoint(...place))) return null;
  window.hit = false;
  document.removeEventListener('click', window.sees, true);
  window.sees = event => { window.hit ||= !!event.target.closest(selector) };
  document.addEventListener('click', window.sees, true);
  return place;
}"""
"""Gives the middle of an element, once it is where it was before, and nothing is over it.

A click on what took the place of that element meanwhile is one, too: it must not be done twice.
"""


class BrowserFault(Exception):
    """What a page threw, or what the browser refused."""


@attrs.define(eq=False)
class Pipes:
    """The browser's process and its pipes, which outlive the event loop of a test."""

    process: subprocess.Popen[bytes]
    reads: int
    writes: int
    kept: bytearray = attrs.field(factory=bytearray)
    last_id: int = 0


@contextmanager
def browser_process(url: str = "about:blank", *arguments: str) -> Iterator[Pipes]:
    """Run a browser that begins at an address, until the block ends."""
    assert CHROMIUM is not None
    to_browser, writes = os.pipe()
    reads, from_browser = os.pipe()

    def take_places() -> None:  # the browser wants 3 and 4, whatever is there now
        low, high = os.dup(to_browser), os.dup(from_browser)
        os.dup2(low, 3)
        os.dup2(high, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [CHROMIUM, *_ARGUMENTS, *arguments, f"--user-data-dir={home}", url],
            preexec_fn=take_places,  # noqa: PLW1509  # no threads are there yet
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        for one in (reads, writes):
            os.set_blocking(one, False)
        try:
            yield Pipes(process, reads, writes)
        finally:
            os.close(
                writes
            )  # which is how it is asked to end, and it ends what it started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            _end(process.pid)
            process.wait()
            os.close(reads)


async def page_of(url: str, *arguments: str) -> bytes:
    """Give the page that a browser made of what is at an address."""
    assert CHROMIUM is not None

    async def end(process: trio.Process) -> None:
        await trio.lowlevel.checkpoint()
        _end(process.pid)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        own = (f"--user-data-dir={home}", "--dump-dom")
        done = await trio.run_process(
            [CHROMIUM, *_HEADLESS, *own, *arguments, url],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            deliver_cancel=end,
            check=False,
        )
    return done.stdout


def _end(leader: int) -> None:
    """Kill a browser, with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


@attrs.define(eq=False)
class _Question:
    done: trio.Event = attrs.field(factory=trio.Event)
    reply: Table = attrs.field(factory=dict)


@attrs.define(eq=False)
class Trace:
    """What the browser notes of its own tasks."""

    events: list[Table] = attrs.field(factory=list)
    done: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Browser:
    """One test's talk with the browser."""

    pipes: Pipes
    context: str = ""
    pages: dict[str, Page] = attrs.field(factory=dict)
    trace: Trace = attrs.field(factory=Trace)
    _questions: dict[int, _Question] = attrs.field(factory=dict)
    _turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def ask(self, method: str, *, session: str = "", **params: object) -> Table:
        """Call a method of the protocol, and give its result."""
        self.pipes.last_id += 1
        number = self.pipes.last_id
        message: Table = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        question = self._questions[number] = _Question()
        await self._write(json.dumps(message).encode() + b"\0")
        with trio.fail_after(PATIENCE_S):
            await question.done.wait()
        if "error" in question.reply:
            raise BrowserFault(f"{method}: {question.reply['error']}")
        result: Table = question.reply["result"]
        return result

    async def open(
        self, url: str = "", *, width: int = 1280, height: int = 900, scale: float = 1
    ) -> Page:
        """Open a page, and go to an address if one is given."""
        target = await self.ask(
            "Target.createTarget", url="about:blank", browserContextId=self.context
        )
        attached = await self.ask(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = Page(self, attached["sessionId"], target["targetId"])
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            await page.ask(f"{domain}.enable")
        await page.resize(width, height, scale=scale)
        if url:
            await page.go(url)
        return page

    async def _write(self, message: bytes) -> None:
        async with self._turn:
            while message:
                await trio.lowlevel.wait_writable(self.pipes.writes)
                with contextlib.suppress(BlockingIOError):
                    message = message[os.write(self.pipes.writes, message) :]

    async def _read(self) -> None:
        kept = self.pipes.kept
        while True:
            await trio.lowlevel.wait_readable(self.pipes.reads)
            try:
                read = os.read(self.pipes.reads, 1 << 18)
            except BlockingIOError:
                continue
            if not read:
                raise BrowserFault("the browser ended")
            kept += read
            while (end := kept.find(b"\0")) >= 0:
                message = json.loads(bytes(kept[:end]))
                del kept[: end + 1]
                self._take(message)

    def _take(self, message: Table) -> None:
        if "id" in message:
            question = self._questions.pop(message["id"], None)
            if question is not None:  # else it is of a test before this one
                question.reply = message
                question.done.set()
            return
        if message["method"] == "Tracing.dataCollected":
            self.trace.events += message["params"]["value"]
        elif message["method"] == "Tracing.tracingComplete":
            self.trace.done.set()
        page = self.pages.get(message.get("sessionId", ""))
        if page is not None:
            page.take(message["method"], message["params"])


@attrs.define(eq=False)
class Page:
    """A page of a test: what a user sees and does, and what it complains of."""

    browser: Browser
    session: str
    target: str
    complaints: list[str] = attrs.field(factory=list)
    _loaded: trio.Event = attrs.field(factory=trio.Event)
    _complained: trio.Event = attrs.field(factory=trio.Event)
    _borne: list[str] = attrs.field(factory=list)

    async def ask(self, method: str, **params: object) -> Table:
        """Call a method of the protocol for this page."""
        return await self.browser.ask(method, session=self.session, **params)

    def take(self, method: str, params: Table) -> None:
        """Take an event."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.consoleAPICalled" and params["type"] != "debug":
            said = " ".join(str(one.get("value", one)) for one in params["args"])
            self._complain(f"console.{params['type']}: {said}")
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self._complain(f"thrown: {details['text']} {thrown}")
        elif method == "Log.entryAdded" and params["entry"]["level"] != "verbose":
            entry = params["entry"]
            where = entry.get("url", "")
            self._complain(f"{entry['source']}: {entry['text']} {where}")

    def _complain(self, said: str) -> None:
        if not any(words in said for words in self._borne):
            self.complaints.append(said)
            self._complained.set()

    async def go(self, url: str) -> None:
        """Go to an address, and wait until it has loaded."""
        self._loaded = trio.Event()
        moved = await self.ask("Page.navigate", url=url)
        if "errorText" in moved:
            raise BrowserFault(f"{url}: {moved['errorText']}")
        if "loaderId" in moved:  # else it is the same document
            with trio.fail_after(PATIENCE_S):
                await self._loaded.wait()

    async def run(self, expression: str) -> Any:
        """Give the value of an expression, of a promise what it comes to."""
        reply = await self.ask(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            raise BrowserFault(f"{expression[:200]}: {details['text']} {thrown}")
        return reply["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, and give its value."""
        try:
            with trio.fail_after(PATIENCE_S):
                return await self.run(
                    "new Promise((done, fail) => { const look = () => { try {"
                    f" const found = ({expression});"
                    " if (found) done(found); else setTimeout(look, 15);"
                    " } catch (exc) { fail(exc) } }; look() })"
                )
        except trio.TooSlowError:
            text = await self.run("document.body.innerText")
            raise AssertionError(
                f"never true: {expression}; {self.complaints}\n{str(text)[:1500]}"
            ) from None

    async def text(self, selector: str = "body") -> str:
        """Give the text that is seen at a selector, once something is there."""
        quoted = json.dumps(selector)
        await self.until(f"document.querySelector({quoted})")
        found = await self.run(f"document.querySelector({quoted}).innerText")
        return str(found)

    async def has(self, selector: str) -> bool:
        """Tell whether something matches a selector."""
        found = await self.run(f"!!document.querySelector({json.dumps(selector)})")
        return bool(found)

    async def says(self, words: str, selector: str = "body") -> None:
        """Wait until some words are seen."""
        await self.until(
            f"document.querySelector({json.dumps(selector)})?.innerText"
            f".includes({json.dumps(words)})"
        )

    async def click(self, selector: str) -> None:
        """Click on the middle of what a selector finds, as a mouse does."""
        quoted = json.dumps(selector)
        await self.until(f"document.querySelector({quoted})?.disabled === false"
                         f" || document.querySelector({quoted})?.disabled === undefined"
                         f" && document.querySelector({quoted})")  # fmt: skip
        end = trio.current_time() + PATIENCE_S
        while trio.current_time() < end:  # it may move between the look and the press
            place = await self.until(f"(({_HOLDS_STILL})({quoted}))")
            for kind in ("mousePressed", "mouseReleased"):
                await self.ask(
                    "Input.dispatchMouseEvent",
                    type=kind,
                    x=place[0],
                    y=place[1],
                    button="left",
                    clickCount=1,
                )
            if await self.run("window.hit"):
                return
        raise AssertionError(f"never hit: {selector}")

    async def key(self, key: str, *, text: str = "") -> None:
        """Press a key."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowRight": 39}.get(key, 0)
        text = "\r" if key == "Enter" else text
        for kind in ("keyDown", "keyUp"):
            await self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text=text,
                windowsVirtualKeyCode=code,
            )

    async def fill(self, selector: str, text: str) -> None:
        """Put a text into a field, in place of what is there."""
        quoted = json.dumps(selector)
        await self.until(f"document.querySelector({quoted})")
        await self.run(
            f"(() => {{ const one = document.querySelector({quoted});"
            " one.focus(); one.select?.() })()"
        )
        await self.ask("Input.insertText", text=text)

    async def resize(
        self, width: int, height: int, *, scale: float = 1, mobile: bool = False
    ) -> None:
        """Give the page another size."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    async def prefer(self, **features: str) -> None:
        """Set media features, such as `color_scheme="dark"`."""
        named = [
            {"name": "prefers-" + name.replace("_", "-"), "value": value}
            for name, value in features.items()
        ]
        await self.ask("Emulation.setEmulatedMedia", features=named)

    async def picture(self, selector: str = "") -> bytes:
        """Give the page, or a part of it, as a PNG."""
        clip: Table = {}
        if selector:
            box = await self.run(
                f"(() => {{ const one = document.querySelector({json.dumps(selector)})"
                ".getBoundingClientRect(); return {x: one.x + scrollX,"
                " y: one.y + scrollY, width: one.width, height: one.height} })()"
            )
            clip = {"clip": {**box, "scale": 1}, "captureBeyondViewport": True}
        taken = await self.ask("Page.captureScreenshot", format="png", **clip)
        return b64decode(taken["data"])

    async def tree(self) -> list[tuple[str, str]]:
        """Give the accessibility tree, as roles and names."""
        found = await self.ask("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in found["nodes"]
            if not node["ignored"]
        ]

    async def busy(
        self, seconds: float, meanwhile: Callable[[], Awaitable[None]]
    ) -> list[float]:
        """Give the processor time, in ms, of each task of the page's thread in a while."""
        trace = self.browser.trace = Trace()
        await self.browser.ask("Tracing.start", categories="toplevel")
        with trio.move_on_after(seconds):
            await meanwhile()
        await self.browser.ask("Tracing.end")
        with trio.fail_after(PATIENCE_S):
            await trace.done.wait()
        names = {
            (one["pid"], one["tid"])
            for one in trace.events
            if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
        }
        tasks = [one for one in trace.events if one["name"].endswith("RunTask")]
        return [
            one.get("tdur", 0) / 1000
            for one in tasks
            if (one["pid"], one["tid"]) in names
        ]

    async def forgive(self, words: str, *, later: bool = False) -> int:
        """Wait for a complaint that has some words; take back all such, give how many.

        `later` forgives those that are still to come, too.

        What the browser tells of a request comes by another process of it than what the page
        does with the response, and may come later.
        """
        with trio.fail_after(PATIENCE_S):
            while not any(words in one for one in self.complaints):
                self._complained = trio.Event()
                await self._complained.wait()
        if later:
            self._borne.append(words)
        before = len(self.complaints)
        self.complaints[:] = [one for one in self.complaints if words not in one]
        return before - len(self.complaints)


@asynccontextmanager
async def browsing(pipes: Pipes) -> AsyncIterator[Browser]:
    """Let a test use the browser, in a context of its own."""
    browser = Browser(pipes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(browser._read)
        made = await browser.ask("Target.createBrowserContext")
        browser.context = made["browserContextId"]
        try:
            yield browser
        finally:
            with trio.CancelScope(shield=True):
                await browser.ask(
                    "Target.disposeBrowserContext", browserContextId=browser.context
                )
            nursery.cancel_scope.cancel()
