"""Event streams: the changes of a key or a prefix, sent as they happen.

Server-sent events (WHATWG HTML, section 9.2): each change is an event `put` or
`delete` with Consul's JSON and its index as the id, so a client that comes back with
`Last-Event-ID` goes on where it was. The changes of one transaction are sent at once,
and the id stands at the last of them.

A stream begins with what is past, which is read from disk in a thread; what happens
meanwhile waits in its backlog, so nothing falls between. A client that is more than
`BEHIND` bytes behind is cut off, and comes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

import attrs

from http_trio import Exchange, Response
from kv_trio.consul.encode import describe, describe_delete, dump_json, index_headers
from kv_trio.errors import Compacted
from kv_trio.state.acl import Acl
from kv_trio.state.entry import Revision
from kv_trio.state.store import Store
from kv_trio.storage.history import History
from kv_trio.watch.key_index import KeyIndex

T = TypeVar("T")
ReadHistory = Callable[[Callable[[History], T]], Awaitable[T]]

BEHIND = 1024 * 1024
"""Bytes that a client may be behind before it is cut off."""

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

    def may_show(self, revision: Revision) -> bool:
        """Tell whether the client may see a change."""
        return self.acl.may_read(revision.key)


class EventStreams:
    """The event streams of a store."""

    def __init__(self, store: Store, read_history: ReadHistory[list[Revision]]) -> None:
        self._store = store
        self._read_history = read_history
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
        """
        stream = _Stream(exchange, key, prefix, acl)
        headers = index_headers(max(1, self._store.index)) + _NO_STORE
        exchange.begin(Response(200, b"", b"text/event-stream", headers))
        self._streams.add(stream, key, prefix=prefix)
        self._keep_alive(stream, exchange)
        until = self._store.index
        if after is None or after > until:  # an index of another store: start anew
            self._catch_up(stream, self._present(stream))
        else:
            exchange.spawn(partial(self._replay, stream, after, until))

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
                stream.backlog += part
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

    async def _replay(
        self, stream: _Stream, after: int, until: int, exchange: Exchange
    ) -> None:
        del exchange

        def since(history: History) -> list[Revision]:
            key, recurse = stream.key, stream.prefix
            return history.since(key, recurse=recurse, after=after, until=until)

        try:
            past = await self._read_history(since)
        except Compacted as exc:
            notice = dump_json({"Oldest": exc.oldest})
            self._send(stream, b"event: reset\ndata: %b\n\n" % notice)
            stream.backlog = []  # the present state has it all
            past = self._present(stream)
        self._catch_up(stream, [change for change in past if stream.may_show(change)])

    def _present(self, stream: _Stream) -> list[Revision]:
        """Give the present state as revisions, in the order of their changes.

        In this order a client that is cut off in the middle can go on from there.
        """
        if stream.prefix:
            entries = self._store.under(stream.key)
        else:
            entry = self._store.get(stream.key)
            entries = [] if entry is None else [entry]
        all_ = [Revision(entry.key, entry.modify_index, entry) for entry in entries]
        visible = [revision for revision in all_ if stream.may_show(revision)]
        return sorted(visible, key=lambda revision: revision.index)

    def _catch_up(self, stream: _Stream, past: list[Revision]) -> None:
        missed, stream.backlog = stream.backlog or [], None
        self._send(stream, render_events(past + missed))

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
            if not exchange.draining:
                self._send(stream, b":\n\n")
            if not exchange.gone:
                self._keep_alive(stream, exchange)

        exchange.park(HEARTBEAT_S, due, lambda _: self._forget(stream))

    def _forget(self, stream: _Stream) -> None:
        self._streams.discard(stream, stream.key, prefix=stream.prefix)


def render_events(revisions: list[Revision]) -> bytes:
    """Write revisions, in the order of their indexes, as events."""
    lines: list[bytes] = []
    for number, revision in enumerate(revisions, 1):
        if revision.entry is None:
            kind, shown = b"delete", describe_delete(revision)
        else:
            kind, shown = b"put", describe(revision.entry)
        is_last = number == len(revisions) or revisions[number].index != revision.index
        if is_last:  # of its transaction
            lines.append(b"id: %d\n" % revision.index)
        lines.append(b"event: %b\ndata: %b\n\n" % (kind, dump_json(shown)))
    return b"".join(lines)
