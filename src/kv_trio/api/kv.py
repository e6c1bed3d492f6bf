"""`/v1/kv`: Consul's endpoint for keys, and what we add to it.

Added: `?history` (the states that a key had), `?at=INDEX` (what it was then), and an
event stream for those who accept `text/event-stream`. One file, since all of it is one
path, whose methods and parameters decide together what is meant.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from http_trio import Exchange, Response
from kv_trio.api.bodies import RequestBodies
from kv_trio.api.writing.writes import Writes
from kv_trio.consul.encode import (
    JSON,
    bad_query,
    describe_revision,
    dump_json,
    failed,
    index_headers,
    index_of,
    method_not_allowed,
    render_entries,
)
from kv_trio.consul.listing import LargeListing, list_entries, list_keys, size_of
from kv_trio.consul.parameters import (
    BlockingRead,
    Read,
    RequestTarget,
    check_session_given,
    check_session_id,
    parse_index,
    parse_last_event_id,
    parse_limit,
    parse_read,
    parse_unsigned,
)
from kv_trio.errors import BadQuery, Compacted, StoreDamaged
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Outcome, Revision
from kv_trio.state.operations import Delete, Put
from kv_trio.state.store import Store
from kv_trio.storage.history import History
from kv_trio.watch.blocking_queries import (
    ANY,
    BlockingQueries,
    Gathering,
    gather,
    must_wait,
)
from kv_trio.watch.event_streams import EventStreams
from kv_trio.watch.large_responses import Places, send_in_pieces, too_many_responses

PastQuery = Callable[[History], Response | LargeListing]
"""Reads the past, in a thread."""

VALUE_LIMIT = 512 * 1024
"""Bytes of a value."""

PAST_READS = 8
"""Reads of the past (`?history`, `?at`) at a time; others wait a little."""

METHODS = "OPTIONS,GET,PUT,POST,DELETE"
OLDEST = b"X-Kv-Oldest-Index"
"""The field that says from which index on the past is known."""

_EVENTS = b"text/event-stream"


class KvEndpoint:
    """Answers the requests to `/v1/kv`."""

    def __init__(
        self,
        store: Store,
        writes: Writes,
        blocking_queries: BlockingQueries,
        streams: EventStreams,
        read_history: Callable[[PastQuery], Awaitable[Response | LargeListing]],
        bodies: RequestBodies,
        *,
        limits: StoreLimits,
    ) -> None:
        self._store = store
        self._writes = writes
        self._blocking_queries = blocking_queries
        self._streams = streams
        self._read_history = read_history
        self._bodies = bodies
        self._limits = limits
        self._past_places = Places(PAST_READS)
        self._draw: Callable[[], float] = random.random

    def __repr__(self) -> str:
        return "<KvEndpoint>"

    def handle(self, exchange: Exchange, target: RequestTarget, acl: Acl) -> None:
        """Answer a request: at once, after its write, or when a change ends its wait.

        Raises:
            BadQuery: it makes no sense, or is not allowed.
        """
        key, parameters = target.key, target.parameters
        match exchange.head.method:
            case b"GET" if "history" in parameters or "at" in parameters:
                self._read_past(exchange, key, parameters, acl)
            case b"GET" if _wants_events(exchange):
                self._stream(exchange, key, parameters, acl)
            case b"GET":
                self._read(exchange, target.blocking_read, acl)
            case b"PUT" | b"POST":
                self._put(exchange, target, acl)
            case b"DELETE":
                self._delete(exchange, key, parameters, acl)
            case _:
                exchange.respond(method_not_allowed(exchange.method, METHODS))

    def _read(self, exchange: Exchange, blocking: BlockingRead, acl: Acl) -> None:
        read, index, store = blocking.read, blocking.index, self._store
        _check_read(read, acl)
        gathering: Gathering | None = None
        if index and blocking.changes > 1 and read.is_prefix:
            gathering = gather(store, read, acl, index, blocking.changes)
        elif index and must_wait(store, index, index_of(store, read)):
            gathering = ANY
        if gathering is None:
            self._blocking_queries.respond(exchange, read, acl)
        else:
            wait_s = blocking.wait_s + blocking.wait_s / 16 * self._draw()
            self._blocking_queries.park(exchange, read, acl, wait_s, gathering)

    def _stream(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        read = parse_read(key, parameters)
        _check_read(read, acl)
        after = parse_last_event_id(exchange.header(b"last-event-id"))
        if after is None and "index" in parameters:
            after = parse_index(parameters)
        self._streams.open(exchange, key, prefix=read.is_prefix, acl=acl, after=after)

    def _read_past(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        read = parse_read(key, parameters)
        _check_read(read, acl)
        index = self._store.index
        query: PastQuery
        if "at" in parameters:
            past = parse_unsigned(parameters, "at", status=400)
            if past is None or past > index:
                raise BadQuery(400, f"at={past}: the store is at index {index}")
            query = partial(_render_at, read=read, index=past, acl=acl)
        else:
            if read.is_prefix:
                raise BadQuery(400, "Conflicting flags: history is of one key")
            limit = parse_limit(parameters)
            query = partial(_render_history, read=read, until=index, limit=limit)
        exchange.spawn(partial(self._respond_past, query))

    async def _respond_past(self, query: PastQuery, exchange: Exchange) -> None:
        try:
            async with self._past_places.take(exchange.client):
                found = await self._read_history(query)
                if isinstance(found, Response):
                    exchange.respond(found)
                else:
                    start = Response(200, b"", JSON, found.headers)
                    steps = found.steps(self._limits)
                    turn = self._blocking_queries.large.turn
                    await send_in_pieces(exchange, start, steps, turn)
        except Compacted as exc:
            oldest = ((OLDEST, b"%d" % exc.oldest),)
            exchange.respond(Response(410, str(exc).encode(), headers=oldest))
        except StoreDamaged as exc:
            exchange.respond(failed(exc))
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        except trio.TooSlowError:
            exchange.respond(too_many_responses())

    def _put(self, exchange: Exchange, target: RequestTarget, acl: Acl) -> None:
        key = target.key
        if not key:
            raise BadQuery(400, "Missing key name")
        condition = target.condition
        if not acl.may_write(key):
            raise BadQuery(403, "Permission denied")

        def write(_: Exchange, value: bytes) -> None:
            acquire, release = condition.acquire, condition.release
            try:
                if release is not None:
                    check_session_given(release)  # it is compared, not looked up
                if acquire is not None:
                    check_session_id(acquire)
                    self._check_rights(acquire, acl)
            except BadQuery as exc:
                exchange.respond(bad_query(exc))
                return
            put = Put(key, value, condition.flags, condition.cas, acquire, release)
            self._writes.submit(exchange, acl, put, _render_outcome)

        self._bodies.collect(exchange, acl, VALUE_LIMIT, write, _too_large)

    def _check_rights(self, id_: str, acl: Acl) -> None:
        session = self._store.session(id_)
        if session and not acl.may_use(session, self._store.held_by(id_)):
            raise BadQuery(403, "Permission denied")

    def _delete(
        self,
        exchange: Exchange,
        key: bytes,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        recurse = "recurse" in parameters
        cas = parse_unsigned(parameters, "cas")
        if recurse and cas is not None:
            flags = f"cas={parameters['cas']}&recurse={parameters['recurse']}"
            raise BadQuery(400, f"Conflicting flags: {flags}")
        if not key and not recurse:
            raise BadQuery(400, "Missing key name")
        may = acl.may_write_under if recurse else acl.may_write
        if not may(key):
            raise BadQuery(403, "Permission denied")
        delete = Delete(key, recurse, cas, self._limits.changed_keys)
        self._writes.submit(exchange, acl, delete, _render_outcome)


def _wants_events(exchange: Exchange) -> bool:
    if _EVENTS not in exchange.head.raw:  # most often: no need to take fields apart
        return False
    return _EVENTS in (exchange.header(b"accept") or b"")


def _check_read(read: Read, acl: Acl) -> None:
    """Check the right to read a key; of a prefix, what is not allowed is left out."""
    if not read.is_prefix and not acl.may_read(read.key):
        raise BadQuery(403, "Permission denied")


def _render_at(
    history: History, *, read: Read, index: int, acl: Acl
) -> Response | LargeListing:
    if read.is_prefix:
        entries = [
            entry
            for prefix in acl.readable_under(read.key)
            for entry in history.under_at(prefix, index)
        ]
    else:
        entry = history.at(read.key, index)
        entries = [] if entry is None else [entry]
    headers = index_headers(index)
    if read.keys:
        listing = list_keys([entry.key for entry in entries], read, headers)
    else:
        listing = list_entries(entries, read, headers)
    single = not read.is_prefix or listing.is_small
    return render_entries(entries, read, index) if single else listing


def _render_history(
    history: History, *, read: Read, until: int, limit: int
) -> Response | LargeListing:
    revisions = history.of(read.key, until=until, limit=limit)
    oldest = ((OLDEST, b"%d" % history.oldest_of(read.key)),)
    headers = index_headers(max(1, until)) + oldest
    if not revisions:
        return Response(404, content_type=None, headers=headers)
    listing = LargeListing(revisions, _write_revision, _size_of_revision, headers)
    if not listing.is_small and not read.pretty:
        return listing
    shown = [describe_revision(revision) for revision in revisions]
    return Response(200, dump_json(shown, pretty=read.pretty), JSON, headers)


def _write_revision(revision: Revision) -> bytes:
    return dump_json(describe_revision(revision))


def _size_of_revision(revision: Revision) -> int:
    return len(revision.key) if revision.entry is None else size_of(revision.entry)


def _render_outcome(outcome: Outcome) -> Response:
    index = ((b"X-Consul-Index", b"%d" % max(1, outcome.index)),)
    return Response(200, b"true" if outcome.done else b"false", JSON, index)


def _too_large(exchange: Exchange, size: int) -> None:
    text = (
        f"Request body({size} bytes) too large, max size: {VALUE_LIMIT} bytes. "
        "See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )
    exchange.respond(Response(413, text.encode()))
