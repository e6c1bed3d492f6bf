"""The admin listener: status, health, metrics.

It is for the operator's network, not for clients: it says where the servers are.
"""

from __future__ import annotations

import json
from functools import partial

from canary_trio import metrics
from canary_trio.status import describe
from canary_trio.view import View
from http_trio import Answer, Exchange

_PAGES = b"there are /status, /metrics, /healthz and /ready\n"


class Admin:
    """The handler of the admin listener."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __repr__(self) -> str:
        return f"<Admin of {self._view.service}>"

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request."""
        if exchange.method not in ("GET", "HEAD"):
            exchange.respond(Answer(405, _PAGES, headers=((b"Allow", b"GET, HEAD"),)))
            return
        match exchange.path:
            case b"/status":
                body = json.dumps(describe(self._view), indent=2).encode() + b"\n"
                exchange.respond(Answer(200, body, b"application/json"))
            case b"/metrics":
                exchange.spawn(partial(_respond_metrics, self._view))
            case b"/healthz":
                exchange.respond(Answer(200, b"ok\n"))
            case b"/ready":
                exchange.respond(self._readiness())
            case _:
                exchange.respond(Answer(404, _PAGES))

    def _readiness(self) -> Answer:
        if self._view.runtime.live is None:
            return Answer(503, b"no configuration yet\n")
        return Answer(200, b"ready\n")


async def _respond_metrics(view: View, exchange: Exchange) -> None:
    exchange.respond(Answer(200, await metrics.render(view), metrics.CONTENT_TYPE))
