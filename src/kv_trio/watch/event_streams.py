"""Event streams: the changes of a key or a prefix, sent as they happen.

Server-sent events (WHATWG HTML, section 9.2): each change is an event `put` or
`delete` with Consul's JSON and its index as the id, so a client that comes back with
`Last-Event-ID` goes on where it was. The changes of one transaction are sent at once,
and the id stands at the last of them.

A stream begins with what is past, which is read from disk in a thread; what happens
meanwhile waits in its backlog, so nothing falls between. A client that is more than
`BEHIND` bytes behind is cut off, and comes back. One file, since a stream's past, its
backlog and its present pass into one another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import attrs
import trio

from http_trio import Exchange, Response
from kv_trio.consul.encode import (
    describe_delete,
    dump_json,
    index_headers,
    visible_under,
    write_entry,
)
from kv_trio.consul.listing import PIECE
from kv_trio.consul.parameters import Read
from kv_trio.errors import BadQuery, Compacted
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Revision
from kv_trio.state.store import Store
from kv_trio.storage.history import History
from kv_trio.watch.client_counts import ClientCounts
from kv_trio.watch.key_index import KeyIndex
from kv_trio.watch.large_responses import (
    AHEAD,
    LEAST_RATE,
    LargeResponses,
    wait_taken,
)

T = TypeVar("T")
ReadHistory = Callable[[Callable[[History], T]], Awaitable[T]]

BEHIND = 1024 * 1024
"""Bytes that a client may be behind before it is cut off."""

BACKLOG = 65_536
BACKLOG_BYTES = 16 * 1024 * 1024
"""Changes, and bytes of their values, that may come while a stream sends what is past."""

HEARTBEAT_S = 15.0
"""Seconds between two signs of life on a stream where nothing happens."""

_NO_STORE = ((b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no"))


@attrs.define(eq=False)
class _Stream:
    """One client's stream.

    Attributes:
        prefix: whether all keys that begin with `key` are followed.
        backlog: the changes since it was opened; None once its past was sent.
    """

    exchange: Exchange
    key: bytes
    prefix: bool
    acl: Acl
    backlog: list[Revision] | None = attrs.field(factory=list)
    waiting: int = 0  # bytes of the values in the backlog

    def may_show(self, revision: Revision) -> bool:
        """Tell whether the client may see a change."""
        return self.acl.may_read(revision.key)


class EventStreams:
    """The event streams of a store."""

    def __init__(
        self,
        store: Store,
        read_history: ReadHistory[list[Revision]],
        large: LargeResponses,
        counts: ClientCounts,
    ) -> None:
        self._store = store
        self._read_history = read_history
        self._large = large
        self._counts = counts
        self._streams: KeyIndex[_Stream] = KeyIndex()

    def __repr__(self) -> str:
        return f"<EventStreams {len(self)}>"

    def __len__(self) -> int:
        return len(self._streams)

    def open(
        self,
        exchange: Exchange,
        key: bytes,
        *,
        prefix: bool,
        acl: Acl,
        after: int | None,
    ) -> None:
        """Answer with a stream of the changes after an index.

        Args:
            exchange: whose client gets it.
            key: what is followed.
            prefix: whether all keys that begin with it are.
            acl: what the client may see.
            after: None to begin with the present state. Where the changes after it are
                forgotten, an event `reset` says so, and the present state follows.

        Raises:
            BadQuery: too many of its client are open.
        """
        self._counts.add(exchange.client)
        stream = _Stream(exchange, key, prefix, acl)
        headers = index_headers(max(1, self._store.index)) + _NO_STORE
        exchange.begin(Response(200, b"", b"text/event-stream", headers))
        self._streams.add(stream, key, prefix=prefix)
        self._keep_alive(stream, exchange)
        until = self._store.index
        if after is not None and after <= until:
            exchange.spawn(partial(self._replay, stream, after, until))
        elif prefix and self._large.takes(Read(key, recurse=True), acl):
            exchange.spawn(partial(self._begin, stream))
        else:  # without an index, or with one of another store: start anew
            past, stream.backlog = self._present(stream), None
            self._send(stream, render_events(past))

    def publish(self, revisions: Iterable[Revision]) -> None:
        """Send the revisions of a batch to those whom they concern."""
        if not len(self._streams):
            return
        parts: dict[_Stream, list[Revision]] = {}
        for revision in revisions:
            for stream in self._streams.matching(revision.key):
                if stream.may_show(revision):
                    parts.setdefault(stream, []).append(revision)
        rendered: dict[tuple[tuple[bytes, int], ...], bytes] = {}
        for stream, part in parts.items():
            if stream.backlog is not None:
                self._keep(stream, stream.backlog, part)
                continue
            identity = tuple((revision.key, revision.index) for revision in part)
            if identity not in rendered:
                rendered[identity] = render_events(part)
            self._send(stream, rendered[identity])

    def revoke(self, holds: Callable[[Acl], bool]) -> None:
        """End the streams of those whose rights do not hold any more."""
        for stream in list(self._streams):
            if not holds(stream.acl):
                self._forget(stream)
                stream.exchange.finish()

    async def _begin(self, stream: _Stream, exchange: Exchange) -> None:
        """Send the present state, where it is too large to be sent at once."""
        await self._catch_up(stream, exchange, lambda: self._present(stream))

    async def _replay(
        self, stream: _Stream, after: int, until: int, exchange: Exchange
    ) -> None:
        def since(history: History) -> list[Revision]:
            key, recurse = stream.key, stream.prefix
            return history.since(key, recurse=recurse, after=after, until=until)

        try:
            past = await self._read_history(since)
        except (Compacted, BadQuery) as exc:  # forgotten, or too much of it
            oldest = exc.oldest if isinstance(exc, Compacted) else self._store.index
            notice = dump_json({"Oldest": oldest})
            self._send(stream, b"event: reset\ndata: %b\n\n" % notice)
            await self._catch_up(stream, exchange, lambda: self._present(stream))
            return
        except Exception:
            self._forget(stream)
            raise  # which cuts it
        visible = [change for change in past if stream.may_show(change)]
        await self._catch_up(stream, exchange, lambda: visible)

    def _present(self, stream: _Stream) -> list[Revision]:
        """Give the present state as revisions, in the order of their changes.

        In this order a client that is cut off in the middle can go on from there. It has
        all that waits in the backlog, which begins anew.
        """
        stream.backlog, stream.waiting = [], 0
        if stream.prefix:
            entries = visible_under(self._store, stream.key, stream.acl)
        else:
            entry = self._store.get(stream.key)
            entries = [] if entry is None else [entry]
        all_ = [Revision(entry.key, entry.modify_index, entry) for entry in entries]
        return sorted(all_, key=lambda revision: revision.index)

    async def _catch_up(
        self, stream: _Stream, exchange: Exchange, gather: Callable[[], list[Revision]]
    ) -> None:
        """Send what is past, and then what came meanwhile, in pieces."""
        try:
            async with self._large.places.take(exchange.client):
                past = gather()
                while past or stream.backlog:
                    if not await self._send_past(stream, exchange, past):
                        self._forget(stream)
                        exchange.cut()
                        return
                    past, stream.backlog, stream.waiting = stream.backlog or [], [], 0
                stream.backlog = None
        except trio.TooSlowError:
            self._forget(stream)
            exchange.cut()

    async def _send_past(
        self, stream: _Stream, exchange: Exchange, past: list[Revision]
    ) -> bool:
        """Send revisions as the client takes them; give whether it is quick enough."""
        until = trio.current_time() + exchange.limits.write_s
        for piece in event_pieces(past):
            await trio.lowlevel.checkpoint()
            if exchange.gone or stream.backlog is None:
                return False
            exchange.send(piece)
            until += len(piece) / LEAST_RATE
            if not await wait_taken(exchange, AHEAD, until):
                return False
        return True

    def _keep(
        self, stream: _Stream, backlog: list[Revision], part: list[Revision]
    ) -> None:
        """Keep changes until the client has what was before them."""
        backlog += part
        stream.waiting += sum(len(one.entry.value) for one in part if one.entry)
        if len(backlog) > BACKLOG or stream.waiting > BACKLOG_BYTES:
            self._forget(stream)
            stream.exchange.cut()

    def _send(self, stream: _Stream, data: bytes) -> None:
        behind = stream.exchange.send(data)
        if behind > max(BEHIND, len(data)):
            self._forget(stream)
            stream.exchange.cut()

    def _keep_alive(self, stream: _Stream, exchange: Exchange) -> None:
        """Park the exchange until the next sign of life; ends it in a drain."""
        if exchange.draining:
            self._forget(stream)
            exchange.finish()
            return

        def due(exchange: Exchange) -> None:
            if not exchange.draining and stream.backlog is None:
                self._send(stream, b":\n\n")
            if not exchange.gone:
                self._keep_alive(stream, exchange)

        exchange.park(HEARTBEAT_S, due, lambda _: self._forget(stream))

    def _forget(self, stream: _Stream) -> None:
        if self._streams.discard(stream, stream.key, prefix=stream.prefix):
            self._counts.discard([stream.exchange.client])


def render_events(revisions: list[Revision]) -> bytes:
    """Write revisions, in the order of their indexes, as events."""
    return b"".join(_events(revisions))


def event_pieces(revisions: list[Revision]) -> Iterator[bytes]:
    """Write revisions as `render_events` does, in pieces of whole events."""
    piece: list[bytes] = []
    size = 0
    for event in _events(revisions):
        piece.append(event)
        size += len(event)
        if size >= PIECE:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def _events(revisions: list[Revision]) -> Iterator[bytes]:
    for number, revision in enumerate(revisions, 1):
        if revision.entry is None:
            kind, shown = b"delete", dump_json(describe_delete(revision))
        else:
            kind, shown = b"put", write_entry(revision.entry)
        event = b"event: %b\ndata: %b\n\n" % (kind, shown)
        is_last = number == len(revisions) or revisions[number].index != revision.index
        if is_last:  # of its transaction
            event = b"id: %d\n%b" % (revision.index, event)
        yield event
