"""Writes, which are answered when they are on disk, or the disk has refused them."""

from __future__ import annotations

from collections.abc import Callable

from http_trio import Exchange, Response
from kv_trio.consul.encode import failed
from kv_trio.errors import StorageError
from kv_trio.state.entry import Outcome
from kv_trio.state.write_batch import Operation
from kv_trio.storage.writer import Writer


def submit(
    writer: Writer,
    exchange: Exchange,
    operation: Operation,
    render: Callable[[Outcome], Response],
) -> None:
    """Queue an operation, and answer its request when it is durable.

    Args:
        writer: whose queue it is.
        exchange: the request that is answered.
        operation: what the request changes.
        render: gives the response of an operation that made sense.
    """

    def done(outcome: Outcome | StorageError) -> None:
        if isinstance(outcome, StorageError):
            exchange.respond(failed(outcome))
        elif outcome.refused:
            exchange.respond(Response(500, outcome.refused.encode()))
        else:
            exchange.respond(render(outcome))

    writer.submit(operation, done)
