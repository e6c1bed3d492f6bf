"""The page /rehearse: what a proposed document would do to the requests that were noted.

The document comes as it is; of a gateway the service is named beside it: `?service=web`. What
goes out are sums (`Sums`), so nobody learns here who asked for what.
"""

from __future__ import annotations

import json
from functools import partial

import attrs
import trio

from canary_trio.admin.proxy_view import ProxyView
from canary_trio.config.document import SIZE_LIMIT, load
from canary_trio.config.model import Config
from canary_trio.errors import InvalidConfig, printable
from canary_trio.proxy.live import LiveConfig
from canary_trio.routing.rehearsal.rehearse import rehearse
from canary_trio.routing.request.request_view import read_query
from http_trio import Exchange, Response

REHEARSAL_BYTES = SIZE_LIMIT
"""Of a document that is proposed to /rehearse at most: as of any."""

_JSON = b"application/json"


class RehearsalPage:
    """What answers /rehearse; one at a time, for each takes a tenth of a second."""

    def __init__(self, view: ProxyView) -> None:
        self._view = view
        self._turn = trio.Lock()

    def __repr__(self) -> str:
        return f"<RehearsalPage of {self._view.service}>"

    def __call__(self, exchange: Exchange, body: bytes) -> None:
        """Respond to a proposed document."""
        query = exchange.head.target.partition(b"?")[2]
        name = read_query(query).get(b"service", b"").decode("utf-8", "replace")
        view = _service_of(self._view, name)
        if view is None:
            exchange.respond(_refusal(404, no_service(self._view, name)))
            return
        if view.runtime.noted.is_off:
            words = f"{view.service}: no requests are noted here (--noted-requests 0)"
            exchange.respond(_refusal(409, words))
            return
        live = view.runtime.live
        if live is None:
            exchange.respond(_refusal(503, f"{view.service} has no configuration yet"))
            return
        try:
            config = load(body)
        except InvalidConfig as exc:
            problems = [attrs.asdict(problem) for problem in exc.problems]
            exchange.respond(_json(400, {"problems": problems}))
            return
        exchange.spawn(partial(self._respond, view, live, config))

    async def _respond(
        self, view: ProxyView, live: LiveConfig, config: Config, exchange: Exchange
    ) -> None:
        runtime = view.runtime
        async with self._turn:
            steps = rehearse(
                runtime.noted, live.router, config, runtime.now(), runtime.chance
            )
            sums = None
            while sums is None:
                try:
                    next(steps)
                except StopIteration as stopped:
                    sums = stopped.value
                await trio.lowlevel.checkpoint()
        whose = {"service": view.service, "revision": live.revision}
        exchange.respond(_json(200, {**whose, **sums.shown()}))


def _service_of(view: ProxyView, name: str) -> ProxyView | None:
    if view.gateway is not None:
        return view.gateway.parts.get(name)
    return view if name in ("", view.service) else None


def no_service(view: ProxyView, name: str) -> str:
    """Say that a service is not served here."""
    if view.gateway is None:
        return f"found {printable(name)}, but this proxy serves {view.service}"
    if not name:
        return "this is a gateway: say which service, as in /rehearse?service=web"
    return f"{view.service} has no route to {printable(name)}"


def _refusal(status: int, words: str) -> Response:
    return Response(status, words.encode("utf-8", "replace") + b"\n")


def _json(status: int, shown: dict[str, object]) -> Response:
    return Response(status, json.dumps(shown, indent=2).encode() + b"\n", _JSON)
