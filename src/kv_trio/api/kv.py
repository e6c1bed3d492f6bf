"""`/v1/kv`: Consul's endpoint for keys, and what we add to it.

Added: `?history` (the states that a key had), `?at=INDEX` (what it was then), and an
event stream for those who accept `text/event-stream`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from http_trio import Exchange, Response
from kv_trio.api.writes import submit
from kv_trio.consul.encode import (
    JSON,
    bad_query,
    describe_revision,
    dump_json,
    failed,
    index_headers,
    index_of,
    method_not_allowed,
    respond_entries,
)
from kv_trio.consul.parameters import (
    BlockingRead,
    Read,
    RequestTarget,
    check_session_id,
    parse_index,
    parse_last_event_id,
    parse_limit,
    parse_read,
    parse_unsigned,
)
from kv_trio.errors import BadQuery, Compacted, StoreDamaged
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Outcome
from kv_trio.state.operations import Delete, Put
from kv_trio.state.store import Store
from kv_trio.storage.history import History
from kv_trio.storage.writer import Writer
from kv_trio.watch.blocking_queries import BlockingQueries, must_wait
from kv_trio.watch.event_streams import EventStreams

T = TypeVar("T")

VALUE_LIMIT = 512 * 1024
"""Bytes of a value."""

METHODS = "OPTIONS,GET,PUT,POST,DELETE"
OLDEST = b"X-Kv-Oldest-Index"
"""The field that says from which index on the past is known."""

_EVENTS = b"text/event-stream"


class KvEndpoint:
    """Answers the requests to `/v1/kv`."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        watchers: BlockingQueries,
        streams: EventStreams,
        ask: Callable[[Callable[[History], Response]], Awaitable[Response]],
    ) -> None:
        self._store = store
        self._writer = writer
        self._watchers = watchers
        self._streams = streams
        self._ask = ask
        self._draw: Callable[[], float] = random.random

    def __repr__(self) -> str:
        return "<KeysApi>"

    def handle(self, exchange: Exchange, target: RequestTarget, access: Acl) -> None:
        """Answer a request: at once, after its write, or when a change ends its wait.

        Raises:
            BadQuery: it makes no sense, or is not allowed.
        """
        key, parameters = target.key, target.parameters
        match exchange.head.method:
            case b"GET" if "history" in parameters or "at" in parameters:
                self._read_past(exchange, key, parameters, access)
            case b"GET" if _wants_events(exchange):
                self._stream(exchange, key, parameters, access)
            case b"GET":
                self._read(exchange, target.question, access)
            case b"PUT" | b"POST":
                self._put(exchange, target, access)
            case b"DELETE":
                self._delete(exchange, key, parameters, access)
            case _:
                exchange.respond(method_not_allowed(exchange.method, METHODS))

    def _read(self, exchange: Exchange, question: BlockingRead, access: Acl) -> None:
        read, index = question.read, question.index
        _check_read(read, access)
        if index and must_wait(self._store, index, index_of(self._store, read)):
            jitter_s = question.wait_s / 16 * self._draw()
            self._watchers.park(exchange, read, access, question.wait_s + jitter_s)
        else:
            exchange.respond(self._watchers.responses.find(read, access))

    def _stream(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        access: Acl,
    ) -> None:
        read = parse_read(key, parameters)
        _check_read(read, access)
        after = parse_last_event_id(exchange.header(b"last-event-id"))
        if after is None and "index" in parameters:
            after = parse_index(parameters)
        self._streams.open(
            exchange, key, prefix=read.is_prefix, access=access, after=after
        )

    def _read_past(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        access: Acl,
    ) -> None:
        read = parse_read(key, parameters)
        _check_read(read, access)
        index = self._store.index
        ask: Callable[[History], Response]
        if "at" in parameters:
            past = parse_unsigned(parameters, "at", status=400)
            if past is None or past > index:
                raise BadQuery(400, f"at={past}: the store is at index {index}")
            ask = partial(_respond_at, read=read, index=past, access=access)
        else:
            if read.is_prefix:
                raise BadQuery(400, "Conflicting flags: history is of one key")
            limit = parse_limit(parameters)
            ask = partial(_respond_history, read=read, until=index, limit=limit)
        exchange.spawn(partial(self._respond_past, ask))

    async def _respond_past(
        self, ask: Callable[[History], Response], exchange: Exchange
    ) -> None:
        try:
            response = await self._ask(ask)
        except Compacted as exc:
            oldest = ((OLDEST, b"%d" % exc.oldest),)
            response = Response(410, str(exc).encode(), headers=oldest)
        except StoreDamaged as exc:
            response = failed(exc)
        exchange.respond(response)

    def _put(self, exchange: Exchange, target: RequestTarget, access: Acl) -> None:
        key = target.key
        if not key:
            raise BadQuery(400, "Missing key name")
        condition = target.condition
        if not access.may_write(key):
            raise BadQuery(403, "Permission denied")

        def write(_: Exchange, value: bytes) -> None:
            acquire, release = condition.acquire, condition.release
            try:
                for session in (acquire, release):
                    if session is not None:
                        check_session_id(session)
            except BadQuery as exc:
                exchange.respond(bad_query(exc))
                return
            put = Put(key, value, condition.flags, condition.cas, acquire, release)
            submit(self._writer, exchange, put, _render_outcome)

        exchange.collect(VALUE_LIMIT, write, _too_large)

    def _delete(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        access: Acl,
    ) -> None:
        recurse = "recurse" in parameters
        cas = parse_unsigned(parameters, "cas")
        if recurse and cas is not None:
            flags = f"cas={parameters['cas']}&recurse={parameters['recurse']}"
            raise BadQuery(400, f"Conflicting flags: {flags}")
        if not key and not recurse:
            raise BadQuery(400, "Missing key name")
        may = access.may_write_under if recurse else access.may_write
        if not may(key):
            raise BadQuery(403, "Permission denied")
        submit(self._writer, exchange, Delete(key, recurse, cas), _render_outcome)


def _wants_events(exchange: Exchange) -> bool:
    if _EVENTS not in exchange.head.raw:  # most often: no need to take fields apart
        return False
    return _EVENTS in (exchange.header(b"accept") or b"")


def _check_read(read: Read, access: Acl) -> None:
    """Check the right to read a key; of a prefix, what is not allowed is left out."""
    if not read.is_prefix and not access.may_read(read.key):
        raise BadQuery(403, "Permission denied")


def _respond_at(history: History, *, read: Read, index: int, access: Acl) -> Response:
    if read.is_prefix:
        entries = history.under_at(read.key, index)
        entries = [entry for entry in entries if access.may_read(entry.key)]
    else:
        entry = history.at(read.key, index)
        entries = [] if entry is None else [entry]
    return respond_entries(entries, read, index)


def _respond_history(
    history: History, *, read: Read, until: int, limit: int
) -> Response:
    revisions = history.of(read.key, until=until, limit=limit)
    oldest = ((OLDEST, b"%d" % history.oldest_of(read.key)),)
    headers = index_headers(max(1, until)) + oldest
    if not revisions:
        return Response(404, content_type=None, headers=headers)
    shown = [describe_revision(revision) for revision in revisions]
    return Response(200, dump_json(shown, pretty=read.pretty), JSON, headers)


def _render_outcome(outcome: Outcome) -> Response:
    index = ((b"X-Consul-Index", b"%d" % max(1, outcome.index)),)
    return Response(200, b"true" if outcome.done else b"false", JSON, index)


def _too_large(exchange: Exchange, size: int) -> None:
    text = (
        f"Request body({size} bytes) too large, max size: {VALUE_LIMIT} bytes. "
        "See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )
    exchange.respond(Response(413, text.encode()))
