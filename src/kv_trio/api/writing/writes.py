"""Writes, which are answered when they are on disk, or the disk has refused them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from http_trio import Exchange, Response
from kv_trio.api.writing.audit_lines import Audited, WrittenBy
from kv_trio.api.writing.audit_log import AuditLog
from kv_trio.consul.encode import failed
from kv_trio.errors import KvError
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Outcome
from kv_trio.state.txn import Transaction
from kv_trio.storage.group_commit import Writer

_log = logging.getLogger(__name__)


class Writes:
    """All writes of clients: queued, told to the audit log, and answered."""

    def __init__(self, writer: Writer, audit: AuditLog | None) -> None:
        self._writer = writer
        self._audit = audit

    def __repr__(self) -> str:
        return "<Writes>"

    def renew(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""
        return self._writer.renew(id_)

    def tell(self, exchange: Exchange, acl: Acl | None, why: str = "") -> None:
        """Tell of a request that changed something else, or was refused for its rights."""
        if self._audit is not None:
            client = exchange.client
            sender = WrittenBy("", client) if acl is None else WrittenBy.of(acl, client)
            path = exchange.head.target.partition(b"?")[0]  # a query may have a secret
            asked = f"{exchange.method} {path.decode('ascii', 'replace')}"
            self._audit.record_request(sender, asked, why)

    def submit(
        self,
        exchange: Exchange,
        acl: Acl,
        operation: Audited,
        render: Callable[[Outcome], Response],
        respond: Callable[[Exchange, Outcome], bool] | None = None,
    ) -> None:
        """Queue an operation, and answer its request when it is durable.

        Args:
            exchange: the request that is answered.
            acl: the rights that it has, with the name of its token.
            operation: what the request changes.
            render: gives the response of an operation that made sense.
            respond: answers by itself where the response is large; gives whether it did.
        """
        audit = self._audit
        if isinstance(operation, Transaction) and not operation.writes:
            audit = None
        client = exchange.client

        def done(outcome: Outcome | KvError) -> None:
            try:
                if audit is not None:
                    audit.record(WrittenBy.of(acl, client), operation, outcome)
                if respond is not None and _respond_done(exchange, outcome, respond):
                    return
                response = _render(outcome, render)
            except Exception:  # the write is durable, and its client waits for this
                _log.exception("a response to a write cannot be rendered")
                response = Response(500, b"the store cannot show what it wrote")
            exchange.respond(response)

        exchange.hold()
        self._writer.submit(operation, done)


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
