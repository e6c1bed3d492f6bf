"""The console on an admin listener: its paths, beside the others there.

Who comes by a browser to `/` is led to the page; every other path is the admin's, as it
ever was. The guard stands before all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from canary_trio.admin.asking.guard import API, PAGE, AdminAccess, AdminRequest
from canary_trio.console.api.bodies import BODY_BYTES
from canary_trio.console.api.callers import ASKED
from canary_trio.console.application import console_app
from canary_trio.console.live.collecting import Sources
from canary_trio.console.live.desk import Desk
from http_trio import Exchange, Handler, HostedApp, Response


class ConsoleListener:
    """A handler before the admin's."""

    def __init__(self, rest: Handler, sources: Sources, access: AdminAccess) -> None:
        """Lead requests to a console, and the others to the rest.

        Args:
            rest: the handler of all other paths.
            sources: whom the console asks.
            access: who may do what; the guard goes by the same.
        """
        self._rest = rest
        self._desk = Desk(sources)
        self._hosted = HostedApp(
            console_app(self._desk, access),
            body_limit=BODY_BYTES,
            tell=_tell,
            on_too_large=_too_large,
        )

    def __repr__(self) -> str:
        return f"<ConsoleListener {self._desk}>"

    def __call__(self, exchange: Exchange) -> None:
        """Lead a request on."""
        path = exchange.path
        if path.startswith((PAGE, API)) or path == b"/console" or _is_visit(exchange):
            self._hosted(exchange)
        else:
            self._rest(exchange)

    async def run(self) -> None:
        """Let pages look until cancelled."""
        await self._hosted.live()


def _is_visit(exchange: Exchange) -> bool:
    """Tell whether somebody opened the listener's address in a browser."""
    if exchange.path != b"/" or exchange.method not in ("GET", "HEAD"):
        return False
    return b"text/html" in (exchange.header(b"accept") or b"")


def _tell(exchange: Exchange) -> Mapping[str, Any]:
    return {ASKED: AdminRequest.of(exchange)}


def _too_large(exchange: Exchange, size: int) -> None:
    words = f"found a body of {size} bytes, expected at most {BODY_BYTES}"
    body = json.dumps({"error": words}).encode()
    exchange.respond(Response(413, body, b"application/json"))
