"""How arms and their servers fare, told as events: each by itself, or many as one.

A whole data centre that goes down takes every server of every service with it. So all of
one kind in the process are one crowd: see `Events.tell_one_of`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import attrs

from canary_trio.telemetry.events import EventKind, Events
from canary_trio.upstream.arm import ArmState
from canary_trio.upstream.server import ArmNews, ServerState


@attrs.frozen
class _Told:
    """How a change is told.

    Attributes:
        one: words of one, with `arm`, `server`, `why` and `fallback` to be filled in.
        many: words of several, behind how many.
    """

    kind: EventKind
    level: int
    one: str
    many: str


_HOW = {
    ArmNews.EJECTED: _Told(
        *(EventKind.EJECTION, logging.WARNING),
        "{server} of arm {arm} is taken out for {seconds} s: {why}",
        "servers are taken out, since requests failed at them",
    ),
    ArmNews.READMITTED: _Told(
        *(EventKind.RETURN, logging.INFO),
        "{server} of arm {arm} is taken back",
        "servers are taken back",
    ),
    ArmNews.DOWN: _Told(
        *(EventKind.EJECTION, logging.WARNING),
        "{server} of arm {arm} is down: {why}",
        "servers are down, by their checks",
    ),
    ArmNews.UP: _Told(
        *(EventKind.RETURN, logging.INFO),
        "{server} of arm {arm} is up",
        "servers are up again",
    ),
    ArmNews.PANIC: _Told(
        *(EventKind.PANIC, logging.WARNING),
        "too few servers of arm {arm} are healthy, so their health is ignored",
        "arms have too few healthy servers, so their health is ignored",
    ),
    ArmNews.CALM: _Told(
        *(EventKind.PANIC, logging.INFO),
        "the health of arm {arm} counts again",
        "arms are judged by health again",
    ),
    ArmNews.EMPTY: _Told(
        *(EventKind.FALLBACK, logging.WARNING),
        "arm {arm} has no usable server; {instead}",
        "arms have no usable server",
    ),
    ArmNews.SERVING: _Told(
        *(EventKind.FALLBACK, logging.INFO),
        "arm {arm} has a usable server again",
        "arms have a usable server again",
    ),
}


class ArmEvents:
    """What one service tells of its arms."""

    def __init__(
        self,
        service: str,
        events: Events,
        arms: Mapping[str, ArmState],
        now: Callable[[], float],
    ) -> None:
        self._service = service
        self._events = events
        self._arms = arms
        self._now = now

    def tell(self, name: str, news: ArmNews, server: ServerState | None) -> None:
        """Tell a change of an arm, or of one of its servers."""
        arm = self._arms[name]
        how, url, seconds, why = _HOW[news], None, None, None
        if server is not None:
            url = server.name
            why = server.check_error or "its checks fail"
        if news is ArmNews.EJECTED and server is not None:
            seconds = round(server.ejected_until - self._now(), 1)
            why = (
                "nobody can connect to it" if server.unreachable else "requests failed"
            )
        fallback = arm.server_set.fallback if news is ArmNews.EMPTY else None
        instead = f"{fallback} serves" if fallback else "its requests are answered 503"
        told = how.one.format(
            arm=name, server=url, seconds=seconds, why=why, instead=instead
        )
        place = f"{self._service} {name}"
        self._events.tell_one_of(
            *(news, how.kind, told),
            name=place if url is None else f"{place} {url}",
            sum_up=lambda count, names: f"{count} {how.many}: {names}",
            level=how.level,
            service=self._service,
            arm=name,
            server=url,
            fallback=fallback,
            why=why if how.level == logging.WARNING else None,
            seconds=seconds,
            usable=len(arm.server_set.usable) if server is None else None,
            of=len(arm.server_set.servers),
        )
