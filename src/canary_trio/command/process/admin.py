"""The admin listener of a supervisor: all workers as one.

Each worker has an admin listener of its own, on a Unix socket; they are asked at once
when somebody asks here. `/status` and `/metrics` are merged (`merge`), `/ready` says
what the least ready says, `/rehearse` adds up, and every other page is that of one worker. One file, since all pages ask
the same workers.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from canary_trio.admin import status
from canary_trio.admin.event_pages import EventPages, Follow
from canary_trio.admin.exposition import CONTENT_TYPE
from canary_trio.admin.metrics import catalog as families
from canary_trio.admin.rehearsal_page import REHEARSAL_BYTES
from canary_trio.command.process.merge import (
    merge_metrics,
    merge_status,
    with_reference,
)
from canary_trio.command.process.merged_events import follow_workers
from canary_trio.routing.rehearsal.sums import Sums
from http_trio import (
    Exchange,
    FetchResult,
    ForwardHooks,
    NoResponse,
    Response,
    Upstream,
    fetch,
    forward,
)

ASK_S = 5.0
"""How long a worker has to answer."""

PAGE_BYTES = 64 * 1024 * 1024
"""Of a worker's page at most."""


class Asked(Protocol):
    """A worker, as it is asked."""

    number: int
    restarts: int
    hangs: int
    admin: str

    @property
    def pid(self) -> int | None:
        """Its process; None while there is none."""


class SupervisorAdmin:
    """The handler of the supervisor's admin listener."""

    def __init__(
        self,
        proxy_id: str,
        workers: Sequence[Asked],
        draining: Callable[[], bool],
        *,
        service: str = "",
    ) -> None:
        self._service = service
        self._id = proxy_id
        self._workers = workers
        self._draining = draining
        self._follow = follow_workers(
            lambda: {one.number: one.admin for one in workers}
        )
        self._events = EventPages(self._follow)
        self._upstreams = itertools.cycle([_upstream(worker) for worker in workers])

    def __repr__(self) -> str:
        return f"<AdminOfAll workers={len(self._workers)}>"

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        pages = {
            b"/status": self._status,
            b"/metrics": self._metrics,
            b"/ready": self._ready,
            b"/identity": self._identity,
        }
        page = pages.get(exchange.path)
        if exchange.path == b"/rehearse" and exchange.method == "POST":
            exchange.collect(REHEARSAL_BYTES, self._rehearse)
            return
        if exchange.path in (b"/live", b"/healthz"):  # a worker that hangs is replaced
            exchange.respond(Response(200, b"ok\n"))
        elif exchange.path == b"/events" and exchange.method in ("GET", "HEAD"):
            self._events(exchange)
        elif page is None or exchange.method not in ("GET", "HEAD"):
            forward(exchange, next(self._upstreams), ForwardHooks())
        else:
            exchange.spawn(page)

    async def _status(self, exchange: Exchange) -> None:
        path = b"/status?%b" % exchange.query if exchange.query else b"/status"
        table, refused = await self._status_of(path)
        if refused is not None:
            exchange.respond(Response(refused.status, refused.body))
            return
        body = json.dumps(table, indent=2).encode() + b"\n"
        exchange.respond(Response(200, body, b"application/json"))

    async def status_of(self, service: str) -> dict[str, Any] | None:
        """Give what all workers say of a service as one; None if none serves it.

        Without a name it is the status of all, with the services of a gateway.
        """
        path = b"/status?service=" + quote(service, "").encode()
        table, refused = await self._status_of(path if service else b"/status")
        return table if refused is None else None

    async def _status_of(
        self, path: bytes
    ) -> tuple[dict[str, Any], FetchResult | None]:
        """Give the status of all, or what refuses it if none gives one."""
        responses = await self._ask(path)
        tables = [
            json.loads(one.body) if one is not None and one.status == 200 else None
            for one in responses
        ]
        told = [table for table in tables if table is not None]
        refused = next((one for one in responses if one and one.status != 200), None)
        merged = merge_status(told, status.RULES) if told else {}
        rows = [
            {
                "worker": worker.number,
                "pid": worker.pid,
                "restarts": worker.restarts,
                "hangs": worker.hangs,
                "status": table,
            }
            for worker, table in zip(self._workers, tables, strict=True)
        ]
        table = {**merged, "id": self._id, "workers": rows}
        return table, None if told else refused

    async def _identity(self, exchange: Exchange) -> None:
        found = [
            proxy
            for response in await self._ask(b"/identity")
            if response is not None
            for proxy in json.loads(response.body)["proxies"]
        ]
        body = json.dumps({"proxies": found}, indent=2).encode() + b"\n"
        exchange.respond(Response(200, body, b"application/json"))

    @property
    def follow(self) -> Follow:
        """Follows the events of all workers."""
        return self._follow

    def _rehearse(self, exchange: Exchange, document: bytes) -> None:
        exchange.spawn(partial(self._rehearse_all, document))

    async def _rehearse_all(self, document: bytes, exchange: Exchange) -> None:
        """Add up what the workers say of a proposed document, or say what one refuses."""
        responses = await self._ask(exchange.head.target, document)
        told = [response for response in responses if response is not None]
        refused = next((one for one in told if one.status != 200), None)
        if refused is not None or not told:
            status = 503 if refused is None else refused.status
            body = b"no worker responds\n" if refused is None else refused.body
            exchange.respond(Response(status, body))
            return
        pages = [json.loads(response.body) for response in told]
        sums = sum(map(Sums.load, pages), Sums())
        body = json.dumps({**pages[0], **sums.shown()}, indent=2).encode() + b"\n"
        exchange.respond(Response(200, body, b"application/json"))

    async def _metrics(self, exchange: Exchange) -> None:
        responses = await self._ask(b"/metrics")
        texts = [
            response.body.decode() for response in responses if response is not None
        ]
        body = merge_metrics(texts, families.RULES, self._own(len(texts)))
        exchange.respond(Response(200, body, CONTENT_TYPE))

    async def _ready(self, exchange: Exchange) -> None:
        if self._draining():
            exchange.respond(Response(503, b"draining\n"))
            return
        responses = await self._ask(b"/ready")
        for worker, response in zip(self._workers, responses, strict=True):
            if response is None or response.status != 200:
                why = b"no response\n" if response is None else response.body
                exchange.respond(Response(503, b"worker %d: %b" % (worker.number, why)))
                return
        exchange.respond(Response(200, b"ready\n"))

    def _own(self, answering: int) -> list[Metric]:
        restarts = CounterMetricFamily(
            "canary_worker_restarts",
            "Times that a worker was started again after it had ended.",
            labels=["service", "worker"],
        )
        hangs = CounterMetricFamily(
            "canary_worker_hangs",
            "Times that a worker gave no sign of life for too long, and was killed.",
            labels=["service", "worker"],
        )
        for worker in self._workers:
            restarts.add_metric([self._service, str(worker.number)], worker.restarts)
            hangs.add_metric([self._service, str(worker.number)], worker.hangs)
        workers = GaugeMetricFamily(
            "canary_workers",
            "Workers, as asked for and as they answer.",
            labels=["service", "state"],
        )
        workers.add_metric([self._service, "asked"], len(self._workers))
        workers.add_metric([self._service, "answering"], answering)
        return [restarts, hangs, workers]

    async def _ask(
        self, path: bytes, document: bytes | None = None
    ) -> list[FetchResult | None]:
        """Ask all workers at once; None for one that does not answer.

        Args:
            path: of the page, with its query.
            document: that is sent to it; None to read the page.
        """
        responses: list[FetchResult | None] = [None] * len(self._workers)

        async def ask(at: int, worker: Asked) -> None:
            with trio.move_on_after(ASK_S):
                responses[at] = await ask_worker(_upstream(worker), path, document)

        async with trio.open_nursery() as nursery:
            for at, worker in enumerate(self._workers):
                nursery.start_soon(ask, at, worker)
        return responses


class NearWorkers:
    """What the console of a supervisor knows without asking other proxies: its workers.

    Attributes:
        service: that they serve.
        address: of the admin listener, as the fleet is told it.
        follow: gives the events of all of them.
    """

    def __init__(self, admin: SupervisorAdmin, service: str, address: str) -> None:
        self._admin = admin
        self.service, self.address = service, address
        self.follow = admin.follow
        self.services: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"<NearWorkers of {self.service}>"

    async def status(self, service: str) -> dict[str, Any] | None:
        """Give what all workers say of a service as one."""
        return await self._admin.status_of(service)

    async def last_minute(self) -> dict[str, tuple[float, float | None]]:
        """Give requests in a second and the share of errors, by service."""
        table = await self._admin.status_of("") or {}
        served = table.get("services") or {}
        self.services = sorted(served)
        found = {name: _rates(one) for name, one in served.items()}
        return {self.service: _rates(table), **found}


def _rates(table: dict[str, Any]) -> tuple[float, float | None]:
    """Give requests in a second, and the share of errors, of what workers say as one."""
    minutes = [arm["minute"] for arm in (table.get("arms") or {}).values()]
    seconds = max((one["seconds"] for one in minutes), default=0)
    requests = sum(one["requests"] for one in minutes)
    errors = sum(one["errors"] for one in minutes)
    rate = requests / seconds if seconds else 0.0
    return rate, errors / requests if requests else None


async def ask_worker(
    worker: Upstream, path: bytes, document: bytes | None = None
) -> FetchResult | None:
    """Ask for one page, by POST if a document is sent; None for no whole response."""
    method, length = b"GET", b""
    if document is not None:
        method, length = b"POST", b"Content-Length: %d\r\n" % len(document)
    lines = b"Host: worker\r\nConnection: close\r\n%b\r\n" % length
    request = b"%b %b HTTP/1.1\r\n%b%b" % (method, path, lines, document or b"")
    try:
        response = await fetch(
            worker, request, method=method, body_limit=PAGE_BYTES, keep_body=True
        )
    except NoResponse:
        return None
    return response if response.whole else None


def _upstream(worker: Asked) -> Upstream:
    address = (socket.AF_UNIX, worker.admin)
    return Upstream(f"worker {worker.number}", [address], b"worker")


def with_rules(page: str) -> str:
    """Give a page of the docs with the rules of merging written anew.

    Raises:
        ValueError: it has no place for them.
    """
    shown = {name: rule for name, rule in status.RULES.items() if name != "services"}
    return with_reference(page, shown, families.RULES)


def _write(path: str) -> None:
    page = Path(path)
    page.write_text(with_rules(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write(sys.argv[1])
