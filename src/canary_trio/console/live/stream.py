"""The stream: server-sent events of one service, or of the list of all (WHATWG HTML, 9.2).

A page gets the view whole at once and at each change, the numbers once a second, and what
happens. A comment every `HEARTBEAT_S` says that the stream lives, so that a page knows within
that time that a balancer holds it back. Who reads slowly is not sent what is old by then: the
next that it gets is the newest. Only events are sent one by one, and they have ids to go on
by. Who does not read at all is dropped, and so is who may not look any more.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import attrs
import trio

from canary_trio.console.live.collecting import ServiceCollector
from canary_trio.console.live.collecting_all import ListCollector
from canary_trio.console.live.desk import Desk
from canary_trio.console.live.happenings import is_of

HEARTBEAT_S = 5.0
"""Between two signs of life on a stream where nothing happens."""

RETRY_MS = 1000
"""After which a page comes back, as it is told."""

BEHIND = 256 * 1024
"""Bytes that a page may be behind and is still sent what is newer."""

SEND_S = 30.0
"""How long a page may take nothing until it is dropped, behind a server that waits for it."""

STREAMS = 64
"""That are open at once at most."""

PER_CALLER = 32
"""Of these, those of one name, or of one address without a name."""

HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Looked = ServiceCollector | ListCollector


@attrs.define(eq=False)
class Streams:
    """How many streams are open, and whose."""

    _open: dict[str, int] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        return f"<Streams {self._open}>"

    def why_not(self, caller: str) -> str:
        """Say why one more may not be opened; empty if it may."""
        if sum(self._open.values()) >= STREAMS:
            return f"{STREAMS} streams are open here already, and no more may"
        if self._open.get(caller, 0) >= PER_CALLER:
            return f"{PER_CALLER} streams of yours are open already, and no more may"
        return ""

    def begin(self, caller: str) -> None:
        """Note that one is open."""
        self._open[caller] = self._open.get(caller, 0) + 1

    def end(self, caller: str) -> None:
        """Note that it is closed."""
        self._open[caller] -= 1
        if not self._open[caller]:
            del self._open[caller]


@attrs.define(eq=False)
class PageStream:
    """One page that follows.

    Attributes:
        desk: that it looks at.
        looked: what is followed.
        service: whose events it gets; empty for all.
        after: the id of the last event that it had; empty for from now on.
    """

    desk: Desk
    looked: Looked
    service: str
    after: str
    _send: Send
    _behind: Callable[[], int]
    _may_look: Callable[[], bool]
    _seen: tuple[int, int] = (-1, -1)
    _event: int = 0
    _slow_from: float | None = None

    async def run(self, receive: Receive) -> None:
        """Send until the page is gone, or the server ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_wait_gone, receive, nursery.cancel_scope)
            await self._write(b"retry: %d\n\n%b" % (RETRY_MS, self._first_events()))
            while True:
                with trio.move_on_after(HEARTBEAT_S) as beat:
                    await self._wait_news()
                is_over = self._is_stuck() or not self._may_look()
                if is_over:
                    nursery.cancel_scope.cancel()
                data = b":\n\n" if beat.cancelled_caught else b"".join(self._news())
                if data and not is_over:
                    await self._write(data)
                if isinstance(self.looked, ServiceCollector) and self.looked.is_absent:
                    await self._write(
                        _block("gone", b'{"error":"there is no such service"}')
                    )
                    nursery.cancel_scope.cancel()
        with trio.move_on_after(1, shield=True):
            await self._send({"type": "http.response.body", "body": b""})

    def _is_stuck(self) -> bool:
        """Tell whether the page has taken next to nothing for too long."""
        if self._behind() <= BEHIND:
            self._slow_from = None
        elif self._slow_from is None:
            self._slow_from = trio.current_time()
        return (
            self._slow_from is not None
            and trio.current_time() - self._slow_from > SEND_S
        )

    def _first_events(self) -> bytes:
        """Give what was missed, and where it goes on from."""
        happenings = self.desk.happenings
        self._event = happenings.last
        if not self.after:
            return b""
        known = happenings.number_of(self.after)
        if known is None:
            said = {"error": "some events before are not kept", "after": self.after}
            return _block("reset", json.dumps(said).encode())
        self._event = known
        return b"".join(self._events())

    async def _wait_news(self) -> None:
        """Wait for a view, numbers or an event that it has not had; a slow page waits longer."""
        if self._behind() > BEHIND:
            await trio.sleep(1.0)
            return
        async with trio.open_nursery() as nursery:

            async def wait(one: Awaitable[None]) -> None:
                await one
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self.looked.wait_other(*self._seen))
            nursery.start_soon(wait, self.desk.happenings.wait_after(self._event))

    def _news(self) -> Iterator[bytes]:
        if self._behind() > BEHIND:
            return
        views, ticks = self.looked.views, self.looked.ticks
        if isinstance(self.looked, ListCollector):
            if views != self._seen[0] and views:
                yield _block("services", self.looked.view())
        elif views != self._seen[0] and views:
            yield _block("view", self.looked.view())
        elif ticks != self._seen[1] and views:
            yield _block("traffic", self.looked.traffic())
        self._seen = views, ticks
        yield from self._events()

    def _events(self) -> Iterator[bytes]:
        for one in self.desk.happenings.after(self._event):
            self._event = one.number
            if not self.service or is_of(one, self.service):
                data = json.dumps(one.table).encode()
                yield b"id: %b\n" % one.id.encode() + _block("event", data)

    async def _write(self, data: bytes) -> None:
        with trio.fail_after(SEND_S):
            await self._send(
                {"type": "http.response.body", "body": data, "more_body": True}
            )


async def _wait_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _block(name: str, data: bytes) -> bytes:
    """Give an event; its data is JSON on one line.

    >>> _block("view", b"{}")
    b'event: view\\ndata: {}\\n\\n'
    """
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
