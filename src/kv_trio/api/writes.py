"""Writes, which are answered when they are on disk, or the disk has refused them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from http_trio import Exchange, Response
from kv_trio.consul.encode import failed
from kv_trio.errors import KvError
from kv_trio.state.entry import Outcome
from kv_trio.state.write_batch import Operation
from kv_trio.storage.group_commit import Writer

_log = logging.getLogger(__name__)


def submit(
    writer: Writer,
    exchange: Exchange,
    operation: Operation,
    render: Callable[[Outcome], Response],
    respond: Callable[[Exchange, Outcome], bool] | None = None,
) -> None:
    """Queue an operation, and answer its request when it is durable.

    Args:
        writer: whose queue it is.
        exchange: the request that is answered.
        operation: what the request changes.
        render: gives the response of an operation that made sense.
        respond: answers by itself where the response is large; gives whether it did.
    """

    def done(outcome: Outcome | KvError) -> None:
        try:
            if respond is not None and _respond_done(exchange, outcome, respond):
                return
            response = _render(outcome, render)
        except Exception:  # the write is durable, and its client waits for this
            _log.exception("a response to a write cannot be rendered")
            response = Response(500, b"the store cannot show what it wrote")
        exchange.respond(response)

    writer.submit(operation, done)


def _respond_done(
    exchange: Exchange,
    outcome: Outcome | KvError,
    respond: Callable[[Exchange, Outcome], bool],
) -> bool:
    if isinstance(outcome, KvError) or not outcome.done:
        return False
    return respond(exchange, outcome)


def _render(
    outcome: Outcome | KvError, render: Callable[[Outcome], Response]
) -> Response:
    if isinstance(outcome, KvError):
        return failed(outcome)
    if outcome.refused:
        status = 413 if outcome.too_large else 500
        return Response(status, outcome.refused.encode("utf-8", "replace"))
    return render(outcome)
