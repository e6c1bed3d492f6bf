"""Copies of requests for another arm, whose responses are compared and thrown away.

A copy is made when the original is over: by then its response is with the client, and
what is to be compared is known. So whatever becomes of the copy, the original has
nothing to wait for; the copy is a task with a connection, a time limit and a place
among few of its own, and does not count for its server's health. What is left is that
both share one processor.

The request is copied as the other arm would get it, with `X-Canary-Mirror: 1` added, so
that the receiver can tell it apart. Whether it may be done twice is known to the operator
alone: by default only methods that ask for nothing to be changed are copied. What streams
is not held, and so not copied; of gRPC that leaves the calls that came in one piece.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from canary_trio.config.policies import MirrorRule
from canary_trio.proxy.fields.header_changes import compile_changes
from canary_trio.proxy.mirroring.copies import Copy, stands_for
from canary_trio.telemetry.mirror_counters import MirrorCounters, MirrorOutcome, Skip
from canary_trio.telemetry.task_keeper import TaskKeeper
from canary_trio.upstream.arm import LiveArm
from http_trio import (
    NoResponse,
    fetch,
)

if TYPE_CHECKING:
    from http_trio import ForwardedRequest

_log = logging.getLogger(__name__)

_SPARE = 64 * 1024  # bytes that a copy's response is read beyond the original's size


class Mirror:
    """The mirror of one revision."""

    __slots__ = (
        "_arm",
        "_changes",
        "_copies",
        "_learnt",
        "_methods",
        "_mirror",
        "_tasks",
        "_told",
    )

    def __init__(
        self,
        mirror: MirrorRule,
        arm: LiveArm,
        copies: MirrorCounters,
        tasks: TaskKeeper,
    ) -> None:
        self._tasks = tasks
        self._told = ""
        self._mirror = mirror
        self._arm = arm
        self._changes = compile_changes(arm.config.request_headers)
        self._copies = copies
        self._learnt = copies.of_arm(mirror.arm)
        self._methods = frozenset(method.encode() for method in mirror.methods)

    def __repr__(self) -> str:
        return f"<Mirroring to {self._mirror.arm} {self._copies!r}>"

    @property
    def arm(self) -> str:
        """The arm that gets the copies."""
        return self._mirror.arm

    def offer(
        self, request: ForwardedRequest, status: int, fields: bytes, *, answered: bool
    ) -> None:
        """Take a request whose response has been sent; copy it if it is its turn.

        Args:
            request: the original, which has ended.
            status: that went out.
            fields: of the request, before any arm's changes to it.
            answered: whether a server gave the response.

        What goes wrong here is counted and told as what fails in a copy.
        """
        try:
            self._offer(request, status, fields, answered=answered)
        except Exception as exc:
            self._told = self._tasks.note("mirror", exc, self._told)

    def _offer(
        self, request: ForwardedRequest, status: int, fields: bytes, *, answered: bool
    ) -> None:
        exchange = request.exchange
        head = exchange.head
        if head.method not in self._methods or head.upgrade is not None:
            return
        if not self._copies.is_next(self._mirror.share):
            return
        body = b"" if head.framing == 0 else request.body
        if not answered or not status or exchange.gone:
            self._skip(Skip.NO_ORIGINAL)
        elif body is None or len(body) > self._mirror.body:
            self._skip(Skip.BODY)
        elif self._copies.in_progress >= self._mirror.concurrency:
            self._skip(Skip.BUSY)
        else:
            server = self._arm.pick(None)
            if server is None:
                self._skip(Skip.NO_SERVER)
            else:
                fields = self._changes.without(fields) + self._changes.lines
                original = status, request.content_bytes
                copy = Copy(exchange, fields, body, server.upstream)
                exchange.loop.spawn(self._make, copy, original)
                self._copies.in_progress += 1  # last: who is not made gives none back

    def _skip(self, why: Skip) -> None:
        self._learnt.skips[why] += 1

    async def _make(self, copy: Copy, original: tuple[int, int]) -> None:
        begun = trio.current_time()
        outcomes = self._learnt.outcomes
        try:
            with trio.move_on_after(self._mirror.timeout) as scope:
                response = await fetch(
                    copy.upstream,
                    copy.request,
                    method=copy.method,
                    body_limit=original[1] + _SPARE,
                    lead=copy.lead,
                )
                seconds = trio.current_time() - begun
                found = stands_for(response), response.size
                self._learnt.compare(original, found, seconds)
            if scope.cancelled_caught:
                outcomes[MirrorOutcome.LATE] += 1
        except NoResponse as exc:
            _log.debug("a copy had no response: %s", exc)
            outcomes[MirrorOutcome.NO_RESPONSE] += 1
        except Exception as exc:
            outcomes[MirrorOutcome.NO_RESPONSE] += 1
            self._told = self._tasks.note("mirror", exc, self._told)
        finally:
            self._copies.in_progress -= 1
