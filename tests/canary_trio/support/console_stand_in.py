"""A proxy's console API out of values, for what a real one does not do on command.

It serves the page as it is in the package, and what a test puts into it: views with odd
data, refusals, a stream that says nothing. Real proxies are tested with beside it.
"""

from __future__ import annotations

import json
import mimetypes
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import attrs
import trio

import http_trio
from http_trio import Exchange, Response
from tests.canary_trio.support import console_sample as sample

Table = dict[str, Any]

PAGE = resources.files("canary_trio.console") / "page"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


@attrs.define(eq=False)
class StandIn:
    """One listener.

    Attributes:
        view: of the service, as it is sent.
        writes: what was written: method, path, body and If-Match.
        refuses: the next write gets this status and body, once.
        stream: whether the stream speaks, says nothing (`silent`), or is refused.
        away: whether nothing at all is answered but 503.
    """

    view: Table = attrs.field(factory=sample.view)
    services: Table = attrs.field(factory=lambda: sample.services(time.time()))
    role: str | None = "write"
    named: str = "anna"
    writes: list[tuple[str, str, Table, str]] = attrs.field(factory=list)
    answers: dict[str, Table] = attrs.field(factory=dict)
    refuses: tuple[int, Table] | None = None
    stream: str = "speaks"
    away: bool = False
    asked: list[str] = attrs.field(factory=list)
    streams: set[Exchange] = attrs.field(factory=set)
    url: str = ""

    def show(self, **fields: object) -> None:
        """Change the view, and send it to who looks."""
        self.view = {**self.view, **fields, "now": time.time()}
        self.send("view", self.view)

    def send(self, kind: str, data: Table) -> None:
        text = f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
        for exchange in list(self.streams):
            if exchange.gone:
                self.streams.discard(exchange)
            elif self.stream == "speaks":
                exchange.send(text)

    def cut(self) -> None:
        """End all streams."""
        for exchange in list(self.streams):
            self.streams.discard(exchange)
            if not exchange.gone:
                exchange.finish()

    def beat(self) -> None:
        """Say what is said once in a second."""
        self.send("traffic", {name: self.view[name] for name in _TRAFFIC})
        for exchange in list(self.streams):
            if not exchange.gone and self.stream == "speaks":
                exchange.send(b":\n\n")

    def __call__(self, exchange: Exchange) -> None:
        path, _, query = exchange.head.target.decode().partition("?")
        if path.startswith("/console/"):
            exchange.respond(_file(path.removeprefix("/console/")))
        elif self.away:
            exchange.respond(_said(503, {"error": "the proxy drains"}))
        elif path == "/api/v1/stream":
            self._begin(exchange, query)
        else:
            exchange.collect(1 << 20, lambda it, body: self._answer(it, path, body))

    def _begin(self, exchange: Exchange, query: str) -> None:
        self.asked.append("stream")
        if self.stream == "refused":
            exchange.respond(_said(503, {"error": "too many streams"}))
            return
        fields = ((b"Cache-Control", b"no-store"),)
        exchange.begin(Response(200, b"", b"text/event-stream", fields))
        self.streams.add(exchange)
        exchange.park(600, lambda it: it.finish(), self.streams.discard)
        if self.stream == "speaks":
            listing = "service=" not in query
            kind = "services" if listing else "view"
            data = json.dumps(self.services if listing else self.view)
            exchange.send(f"retry: 1000\n\nevent: {kind}\ndata: {data}\n\n".encode())

    def _answer(self, exchange: Exchange, path: str, body: bytes) -> None:
        method = exchange.head.method.decode()
        path = path.removeprefix("/api/v1/")
        self.asked.append(f"{method} {path}")
        sent: Table = json.loads(body) if body else {}
        if path == "session":
            exchange.respond(self._session(method, sent))
            return
        match = _field(exchange, b"if-match")
        if match:
            exchange.respond(self._write(method, path, sent, match))
            return
        rest = path.removeprefix("services/").partition("/")[2].partition("/")[0]
        found = self.answers.get(rest) or self._read(path, rest)
        exchange.respond(_said(found.pop("status", 200), found))

    def _session(self, method: str, sent: Table) -> Response:
        if method == "DELETE":
            self.role, self.named = "read", ""
            return _said(200, {})
        if method == "POST":
            if sent.get("token", sent.get("login")) != "secret":
                return _said(401, {"error": "this token is not known"})
            self.role, self.named = "write", "anna"
        by = "session" if self.named else "machine"
        return _said(200, {"name": self.named, "role": self.role, "by": by,
                           "until": None, "service": "web", "version": "0.1.0"})  # fmt: skip

    def _write(self, method: str, path: str, sent: Table, match: str) -> Response:
        self.writes.append((method, path.partition("/web/")[2], sent, match))
        if self.refuses is not None:
            (status, body), self.refuses = self.refuses, None
            return _said(status, body)
        revision = self.view["revision"] + 1
        self.show(revision=revision)
        told = f"revision {revision} written"
        return _said(200, {"service": "web", "revision": revision, "changed": True,
                           "told": told, "waits": None})  # fmt: skip

    def _read(self, path: str, rest: str) -> Table:
        at = time.time()
        known: dict[str, Callable[[], Table]] = {
            "history": lambda: {"service": "web", "present": self.view["revision"],
                                "changes": sample.changes(at), "more": False},
            "preview": lambda: {"service": "web", "over": self.view["revision"],
                                "valid": True, "problems": [], "document": {},
                                "differences": DIFFERENCES, "moves": MOVES,
                                "said": "", "changed": True},
            "diff": lambda: {"service": "web", "from": 811, "to": 812,
                             "differences": DIFFERENCES},
        }  # fmt: skip
        if path == "services":
            return dict(self.services)
        return known[rest]() if rest in known else dict(self.view)


DIFFERENCES = [
    {"path": "ratio.canary", "before": 0.25, "after": 0.5, "kind": "changed",
     "words": "ratio.canary: 0.25 → 0.5"},
    {"path": "arms.canary.note", "before": None, "after": "x", "kind": "added",
     "words": "arms.canary.note: added x"},
]  # fmt: skip

MOVES = {
    "users": 0.25,
    "arms": [{"from": "stable", "to": "canary", "users": 0.25}],
    "exact": True,
    "words": "25 % of users move: 25 % from stable to canary",
}

_TRAFFIC = ("service", "at", "arms", "servers", "proxies", "split", "trouble")


@asynccontextmanager
async def stand_in(*, beats: bool = True, **fields: Any) -> AsyncIterator[StandIn]:
    """Serve a stand-in on a port of its own, with its beat once a second."""
    made = StandIn(**fields)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(http_trio.serve, made, ["127.0.0.1:0"])
        made.url = f"http://{server.addresses[0]}/console/"
        if beats:
            nursery.start_soon(_beat, made)
        try:
            yield made
        finally:
            nursery.cancel_scope.cancel()


async def _beat(made: StandIn) -> None:
    while True:
        await trio.sleep(1)
        at = time.time()
        made.view = {**made.view, "at": at, "now": at}
        made.beat()


def _field(exchange: Exchange, name: bytes) -> str:
    for line in exchange.head.kept.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


def _said(status: int, body: Table) -> Response:
    headers = ((b"Cache-Control", b"no-store"),)
    return Response(status, json.dumps(body).encode(), b"application/json", headers)


def _file(name: str) -> Response:
    name = name or "index.html"
    found = PAGE.joinpath(*name.split("/"))
    if not found.is_file():
        return Response(404, b"no such page\n")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = (
        (b"Content-Security-Policy", POLICY.encode()),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cache-Control", b"no-cache"),
    )
    return Response(200, found.read_bytes(), kind.encode(), headers)
