"""A server that lets pass whom its checks let pass, and says what they granted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs

from canary_trio.proxy.auth.authenticator import Authenticator, Check
from canary_trio.proxy.auth.verdict import Denied, Granted
from http_trio import Exchange, HttpServer, Response
from http_trio.http1.request_head import RequestHead
from http_trio.testing.peers import serving


@attrs.define(eq=False)
class Door:
    """What passed, was refused, and left."""

    server: HttpServer | None = None
    granted: list[Granted] = attrs.field(factory=list)
    refused: list[Denied] = attrs.field(factory=list)
    left: int = 0

    def note_left(self) -> None:
        self.left += 1


@asynccontextmanager
async def guarded(
    *checks: Check, rewrite: Callable[[RequestHead], RequestHead] = lambda head: head
) -> AsyncIterator[tuple[HttpServer, Door]]:
    """Serve behind some checks; who passes gets back the fields that went on.

    Args:
        checks: in their order.
        rewrite: what a gateway makes of a head before.
    """
    door = Door()
    authenticator = Authenticator(checks)

    def handle(exchange: Exchange) -> None:
        def passes(fields: bytes, granted: Granted) -> None:
            door.granted.append(granted)
            exchange.respond(Response(200, fields + granted.lines))

        def refuse(denied: Denied) -> None:
            door.refused.append(denied)
            exchange.respond(denied.response)

        exchange.head = rewrite(exchange.head)
        authenticator.admit(
            exchange, exchange.head.kept, passes, refuse, door.note_left
        )

    async with serving(handle) as server:
        door.server = server
        yield server, door
