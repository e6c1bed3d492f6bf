"""The page of the API that is a stream: who may open one, and what it follows."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from canary_trio.console.api.answers import JsonAnswer, NotThere
from canary_trio.console.api.bodies import BadBody
from canary_trio.console.api.callers import Callers
from canary_trio.console.live.desk import Desk
from canary_trio.console.live.stream import HEADERS, Looked, PageStream, Streams
from canary_trio.control.store_keys import BadName, check_service
from canary_trio.errors import Problem

_AFTER = 4096  # characters of an id that a page goes on after


class Streaming:
    """The page."""

    def __init__(self, desk: Desk, callers: Callers) -> None:
        self._desk = desk
        self._callers = callers
        self._streams = Streams()

    def __repr__(self) -> str:
        return f"<Streaming {self._streams}>"

    async def begin(self, request: Request) -> Response:
        """Begin a stream, or say why not."""
        service = request.query_params.get("service", "")
        try:
            if service or "service" in request.query_params:
                check_service(service)
        except BadName as exc:
            raise BadBody([Problem("?service", repr(service[:80]), str(exc))]) from exc
        caller = self._callers.who(request)
        if why := self._streams.why_not(caller):
            return JsonAnswer({"error": why}, 429, {"Retry-After": "5"})
        if request.method == "HEAD":
            return Response(status_code=200, headers=dict(_FIELDS))
        after = request.headers.get("last-event-id")
        if after is None:
            after = request.query_params.get("after", "")
        async with AsyncExitStack() as stack:
            # counted before anything is waited for: many may come at once
            self._streams.begin(caller)
            stack.callback(self._streams.end, caller)
            # looked at before the response begins: so what is not there is a 404
            look = self._desk.look(service) if service else self._desk.look_at_all()
            looked: Looked = await stack.enter_async_context(look)
            if service and getattr(looked, "is_absent", False):
                raise NotThere(f"there is nothing of {service}")
            return _Begun(self, stack.pop_all(), looked, service, after[:_AFTER])

    def page(
        self, looked: Looked, service: str, after: str, scope: Any, send: Any
    ) -> PageStream:
        """Give what sends to a page."""
        behind = scope.get("extensions", {}).get("http_trio.behind", {}).get("bytes")
        return PageStream(
            self._desk,
            looked,
            service,
            after,
            send,
            behind or (lambda: 0),
            lambda: self._callers.may_read(scope),
        )


_FIELDS = [(name.decode(), value.decode()) for name, value in HEADERS]


class _Begun(Response):
    """A stream as the framework takes a response."""

    def __init__(
        self,
        of: Streaming,
        stack: AsyncExitStack,
        looked: Looked,
        service: str,
        after: str,
    ) -> None:
        super().__init__()
        self._of, self._stack, self._looked = of, stack, looked
        self._service, self._after = service, after

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self._stack:
            await send(
                {"type": "http.response.start", "status": 200, "headers": HEADERS}
            )
            page = self._of.page(self._looked, self._service, self._after, scope, send)
            await page.run(receive)
