"""One request through the proxy: choose, send, count.

The handler reads the live configuration once, so a request is routed by one revision
from its first byte to its last.
"""

from __future__ import annotations

import re

from canary_trio.marks import Mark
from canary_trio.observer import Observer
from canary_trio.routing import Decision
from canary_trio.runtime import LiveArm, Runtime, ServerState
from canary_trio.session import without_cookie
from http_trio import Answer, Condition, Delivery, Exchange, Failure, Upstream, refusal

_TRIES = 3  # servers that one request may be sent to
UNREACHABLE = frozenset({Condition.UNREACHABLE, Condition.CONNECT_TIMEOUT})
_COOKIE = re.compile(rb"\r\ncookie:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Forwarder:
    """The handler of the proxy's listeners."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._not_ready: Answer = refusal(
            503, "this proxy has no configuration yet", retry_after_s=1
        )

    def __call__(self, exchange: Exchange) -> None:
        """Send a request to the arm that it belongs to."""
        runtime = self._runtime
        live = runtime.live
        if live is None:
            runtime.observer.ended(exchange, runtime.observer.unrouted, 503, 0.0)
            exchange.respond(self._not_ready)
            return
        decision = live.routes.choose(
            exchange.head,
            exchange.client,
            runtime.sequence,
            runtime.chance,
            secure=exchange.secure,
        )
        cookie = live.routes.hidden_cookie
        if cookie is not None:
            _hide_cookie(exchange, cookie)
        mark = live.marks.note(decision)
        arm = live.arms[decision.arm]
        server = arm.pick(decision.key)
        if server is None:
            runtime.observer.ended(exchange, mark, 503, 0.0)
            exchange.respond(refusal(503, "no server is usable", retry_after_s=1))
            return
        delivery = _Counted(
            arm, server, decision, mark, runtime.observer, exchange.lane.now
        )
        exchange.forward(server.upstream, delivery)


class _Counted(Delivery):
    """A delivery that counts, and tries another server when one cannot be reached."""

    __slots__ = (
        *("_arm", "_key", "_mark", "_observer", "_server", "_started", "_tried"),
    )

    def __init__(
        self,
        arm: LiveArm,
        server: ServerState,
        decision: Decision,
        mark: Mark,
        observer: Observer,
        now: float,
    ) -> None:
        cookie = decision.cookie
        fields = b"\r\nSet-Cookie: " + cookie if cookie else b""
        super().__init__(b"", fields + mark.line)
        self._mark = mark
        self._observer = observer
        self._arm = arm
        self._key = decision.key
        self._server = server
        self._tried: tuple[ServerState, ...] = ()
        arm.state.requests += 1
        self._started = now
        server.began(now)

    def failed(self, exchange: Exchange, failure: Failure) -> Upstream | None:
        """Try the arm's other servers with what did not leave us."""
        if failure.sent or len(self._tried) + 1 >= _TRIES:
            return None
        tried = (*self._tried, self._server)
        other = self._arm.pick_other(tried, self._key)
        if other is None:
            return None
        now = exchange.lane.now
        unreachable = failure.condition in UNREACHABLE
        self._server.ended(now, False, self._started, unreachable=unreachable)
        self._server, self._tried, self._started = other, tried, now
        other.began(now)
        return other.upstream

    def ended(self, exchange: Exchange, status: int, failure: Failure | None) -> None:
        """Count what became of it."""
        server = self._server
        seconds = exchange.lane.now - exchange.began
        self._observer.ended(
            exchange,
            self._mark,
            status,
            seconds,
            server=server.server.url,
            retries=len(self._tried),
        )
        bad = failure is not None or status >= 500
        server.ended(
            exchange.lane.now,
            None if not bad and not status else not bad,
            self._started,
            unreachable=failure is not None and failure.condition in UNREACHABLE,
        )
        if bad:
            self._arm.state.errors += 1


def _hide_cookie(exchange: Exchange, name: str) -> None:
    """Keep our cookie from the upstream: it is between us and the user."""

    def rest(match: re.Match[bytes]) -> bytes:
        left = without_cookie(match[1], name)
        return b"\r\nCookie: " + left if left else b""

    exchange.fields = _COOKIE.sub(rest, exchange.fields)
