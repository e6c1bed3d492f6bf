"""`/v1/txn`: Consul's endpoint for operations that take effect together."""

from __future__ import annotations

from functools import partial

from http_trio import Exchange, Response
from kv_trio.api.bodies import RequestBodies
from kv_trio.api.kv import VALUE_LIMIT
from kv_trio.api.writing.writes import Writes
from kv_trio.consul.encode import (
    JSON,
    bad_query,
    describe,
    dump_json,
    method_not_allowed,
    write_entry,
)
from kv_trio.consul.listing import LargeListing, size_of
from kv_trio.consul.txn import parse_transaction
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Entry, Outcome
from kv_trio.state.txn_operation import TransactionResult
from kv_trio.watch.large_responses import LargeResponses

METHODS = "OPTIONS,PUT,POST"
BODY_LIMIT = 512 * 1024
"""Bytes of a transaction's JSON."""

_LIMIT_DOCS = "https://www.consul.io/docs/agent/options.html#txn_max_req_len"
_READ_ONLY = {"Index": 0, "LastContact": 0, "KnownLeader": True, "ConsistencyLevel": ""}
_KNOWN_LEADER = ((b"X-Consul-Knownleader", b"true"), (b"X-Consul-Lastcontact", b"0"))


class TxnEndpoint:
    """Answers the requests to `/v1/txn`."""

    def __init__(
        self,
        writes: Writes,
        large: LargeResponses,
        bodies: RequestBodies,
        *,
        limits: StoreLimits,
    ) -> None:
        self._writes = writes
        self._large = large
        self._bodies = bodies
        self._limits = limits

    def __repr__(self) -> str:
        return "<TxnEndpoint>"

    def handle(self, exchange: Exchange, acl: Acl) -> None:
        """Answer a request when its transaction is durable.

        Raises:
            BadQuery: its sender may do nothing at all.
        """
        if exchange.method not in ("PUT", "POST"):
            exchange.respond(method_not_allowed(exchange.method, METHODS))
            return
        if not acl.read and not acl.write:
            raise BadQuery(403, "Permission denied")  # before its body is waited for

        def run(_: Exchange, body: bytes) -> None:
            try:
                transaction = parse_transaction(
                    body, acl, value_limit=VALUE_LIMIT, limits=self._limits
                )
            except BadQuery as exc:
                exchange.respond(bad_query(exc))
                return
            render = partial(render_outcome, writes=transaction.writes)
            respond = partial(self._respond_large, writes=transaction.writes)
            self._writes.submit(exchange, acl, transaction, render, respond)

        self._bodies.collect(exchange, acl, BODY_LIMIT, run, _too_large)

    def _respond_large(
        self, exchange: Exchange, outcome: Outcome, *, writes: bool
    ) -> bool:
        listing = list_results(outcome, writes=writes)
        if listing.is_small:
            return False
        self._large.send(exchange, lambda: listing, is_written=writes)
        return True


def list_results(outcome: Outcome, *, writes: bool) -> LargeListing:
    """Give what a transaction that took effect found, to be written in pieces."""
    assert isinstance(outcome, TransactionResult), "it comes of a transaction"
    rest = {"Errors": None} if writes else {"Errors": None} | _READ_ONLY
    return LargeListing(
        outcome.results,
        _write_result,
        size_of,
        () if writes else _KNOWN_LEADER,
        opening=b'{"Results":[',
        closing=b"]," + dump_json(rest)[1:],
    )


def _write_result(entry: Entry) -> bytes:
    return b'{"KV":%b}' % write_entry(entry)


def render_outcome(outcome: Outcome, *, writes: bool) -> Response:
    """Render the response to a transaction that was tried."""
    assert isinstance(outcome, TransactionResult), "it comes of a transaction"
    errors = [
        {"OpIndex": failure.position, "What": failure.reason}
        for failure in outcome.failed
    ]
    results = [{"KV": describe(entry)} for entry in outcome.results]
    shown: dict[str, object] = {
        "Results": None if errors else results,
        "Errors": errors or None,
    }
    status = 409 if errors else 200
    if not writes:
        return Response(status, dump_json(shown | _READ_ONLY), JSON, _KNOWN_LEADER)
    return Response(status, dump_json(shown), JSON)


def _too_large(exchange: Exchange, size: int) -> None:
    text = (
        f"Request body({size} bytes) too large, max size: {BODY_LIMIT} bytes."
        f" See {_LIMIT_DOCS}."
    )
    exchange.respond(Response(413, text.encode()))
