"""What a change does to long connections: they are kept, drained or recalled.

A change says for itself what becomes of WebSockets and streams that were routed by an
earlier one (`connections` in the document). The rule that it obeys: only those are
touched that would not be where they are by the new revision, since their arm or server
is gone or in maintenance, or their route leads elsewhere; and what ends by itself (a
response whose length is known) is let end for as long as the document says.

    keep      nothing
    drain     all of them when `time` is over
    recall    those without a known end from the first second on, spread over `time`

Nothing is noted while requests are served: when a change may recall at all, what is in
progress is looked through, in slices.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from canary_trio.config.model import ServerMode
from canary_trio.config.policies import OnChange
from canary_trio.proxy.live import LiveConfig
from canary_trio.proxy.proxied_request import ProxiedRequest
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.decision import Chance, Reason
from canary_trio.routing.weighted_sequence import WeightedSequence
from canary_trio.upstream.arm import TriedArmState
from http_trio import Exchange, HttpServer, upstream_request_of

LEAST_S = 1.0
"""What is in progress has at least so long, or `time` where that is less."""

_SPREAD = 0.1  # of the time of a drain, so that not all come back at once
_SLICE = 100  # exchanges that are looked at in one step: about a millisecond


class LongConnections:
    """Follows the changes of one proxy.

    Args:
        runtime: whose changes.
        server: whose exchanges.
        draw: gives numbers in [0, 1).
    """

    def __init__(
        self, runtime: Runtime, server: HttpServer, draw: Callable[[], float]
    ) -> None:
        self._runtime = runtime
        self._server = server
        self._draw = draw
        self._leaving: set[Exchange] = set()
        self._is_left = False
        self.recalled = 0

    def __repr__(self) -> str:
        return (
            f"<LongConnections leaving={len(self._leaving)} recalled={self.recalled}>"
        )

    @property
    def leaving(self) -> int:
        """How many are to be ended."""
        return len(self._leaving)

    async def run(self) -> None:
        """Look through what is in progress after each change, until cancelled."""
        live: LiveConfig | None = None
        while True:
            live = await self._runtime.wait_other(live)
            if live.config.connections.change is not OnChange.KEEP:
                await self._review(live)

    async def leave(self) -> None:
        """End all of them by the rule of what runs: their service is served no more."""
        self._is_left = True
        live = self._runtime.live
        if live is not None and live.config.connections.change is not OnChange.KEEP:
            await self._review(live)

    def stay(self) -> None:
        """Let those that have not ended yet be where they are: it is served again."""
        self._is_left = False

    async def _review(self, live: LiveConfig) -> None:
        for number, exchange in enumerate(self._server.exchanges):
            if number % _SLICE == 0:
                await trio.lowlevel.checkpoint()
            if self._runtime.live is not live:
                return  # the next change looks again
            if exchange not in self._leaving and self._is_misplaced(exchange, live):
                self._leaving.add(exchange)
                self._end_later(exchange, live)

    def _end_later(self, exchange: Exchange, live: LiveConfig) -> None:
        rule = live.config.connections
        after_s = rule.time
        if rule.change is OnChange.DRAIN:
            after_s *= 1 + _SPREAD * self._draw()
        elif _is_open_ended(exchange):
            least_s = min(LEAST_S, rule.time)
            after_s = least_s + (rule.time - least_s) * self._draw()
        exchange.call_later(after_s, partial(self._end, exchange))

    def _end(self, exchange: Exchange) -> None:
        """End it, unless it is over, or a later change lets it stay."""
        live = self._runtime.live
        assert live is not None, "there was a change"
        stays = live.config.connections.change is OnChange.KEEP
        request = upstream_request_of(exchange)
        if exchange.gone or stays or not self._is_misplaced(exchange, live):
            self._leaving.discard(exchange)
        elif request is not None and request.has_begun:
            self._leaving.discard(exchange)
            self.recalled += 1
            request.recall()
        else:  # its request goes on; what it becomes is seen then
            self._end_later(exchange, live)

    def _is_misplaced(self, exchange: Exchange, live: LiveConfig) -> bool:
        request = upstream_request_of(exchange)
        hooks = None if request is None else request.hooks
        if not isinstance(hooks, ProxiedRequest):
            return False
        plan, state = hooks.plan, self._runtime.arms.get(hooks.plan.name)
        if isinstance(plan.state, TriedArmState) and plan.state.whole is state:
            return _was_tried(hooks) and (
                self._is_left
                or not _has_server(live, hooks)
                or _is_routed_elsewhere(
                    *(exchange, hooks.decision.arm, live, self._runtime.chance)
                )
            )
        if state is not plan.state:
            return False  # it is of another service
        return self._is_left or is_misplaced(exchange, live, self._runtime.chance)


def _was_tried(request: ProxiedRequest) -> bool:
    """Tell whether a request was routed by a document that is tried no more."""
    return request.server is not None and request.server.removed


def _has_server(live: LiveConfig, request: ProxiedRequest) -> bool:
    """Tell whether a revision has the server of a request in the same arm."""
    arm, server = live.arms.get(request.plan.name), request.server
    return arm is not None and any(
        one.server.url == server.server.url
        for one in arm.servers
        if server is not None and one.server.mode is not ServerMode.MAINTENANCE
    )


def is_misplaced(exchange: Exchange, live: LiveConfig, chance: Chance) -> bool:
    """Tell whether a request in progress would not be where it is by a revision."""
    request = upstream_request_of(exchange)
    hooks = None if request is None else request.hooks
    if not isinstance(hooks, ProxiedRequest) or hooks.server is None:
        return False
    server = hooks.server
    return (
        hooks.plan.name not in live.arms
        or server.removed
        or server.server.mode is ServerMode.MAINTENANCE
        or _is_routed_elsewhere(exchange, hooks.decision.arm, live, chance)
    )


def _is_open_ended(exchange: Exchange) -> bool:
    request = upstream_request_of(exchange)
    return request is not None and request.is_open_ended


def _is_routed_elsewhere(
    exchange: Exchange, arm: str, live: LiveConfig, chance: Chance
) -> bool:
    """Ask where its request would go now; chance may lead it wherever a share is."""
    head, client, secure = exchange.head, exchange.client, exchange.secure
    decision = live.router.choose(
        head, client, WeightedSequence(), chance, secure=secure
    )
    if decision.reason is Reason.RATIO:
        return not live.config.shares.get(arm)
    return decision.arm != arm
