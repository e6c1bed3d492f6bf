"""The server: a store, its storage, its writer and its API in one nursery.

One file, since this is the one place where all parts of a server meet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import trio

import http_trio
from http_trio import Limits, Response
from kv_trio.api.bodies import RequestBodies
from kv_trio.api.hosts import HostCheck
from kv_trio.api.kv import KvEndpoint
from kv_trio.api.metrics import Metrics
from kv_trio.api.router import ApiRouter
from kv_trio.api.session import SessionEndpoint
from kv_trio.api.snapshot import SnapshotEndpoint
from kv_trio.api.tokens import Grants, Tokens
from kv_trio.api.txn import TxnEndpoint
from kv_trio.api.watch import WatchEndpoint
from kv_trio.api.writing.audit_log import AuditLog
from kv_trio.api.writing.writes import Writes
from kv_trio.errors import BadQuery, StorageError
from kv_trio.limits import StoreLimits
from kv_trio.state.store import Store
from kv_trio.storage.engine import StorageEngine
from kv_trio.storage.group_commit import CommittedBatch, Writer
from kv_trio.storage.handover import SUCCESSOR_S, leave, open_engine
from kv_trio.storage.history import Bounds, History
from kv_trio.watch.blocking_queries import BlockingQueries
from kv_trio.watch.event_streams import EventStreams
from kv_trio.watch.key_sets import KeySets

T = TypeVar("T")
Observer = Callable[[set[bytes], int, float], None]
"""Called with the changed keys, the store's index, and when the first was queued."""

_log = logging.getLogger(__name__)

DEFAULT_BIND = "127.0.0.1:8500"
CONNECTIONS = 10_000
"""Open connections of a server; a client beyond them gets a 429."""

LIMITS = Limits(
    connections=CONNECTIONS, request_line=128 * 1024, head=160 * 1024, idle_s=300.0
)
"""Of a server by default. A key may have 100,000 characters, as in Consul."""

STORE_LIMITS = StoreLimits()
"""What one request may make a store do, by default."""

DRAIN_S = 5.0
"""How long what is in progress has to end, by default: meanwhile no other server can
have the directory, and who comes waits for both."""

COMPACT_EVERY_S = 3600.0
"""Seconds between two times when what is beyond the bounds of history is forgotten."""

_TOO_MANY = Response(
    429,
    b"too many connections to this store; close some, or raise --connections\n",
    headers=((b"Retry-After", b"1"),),
)


@attrs.frozen
class KvServer:
    """A store that is being served.

    Attributes:
        store: its published state, for reading.
        blocking_queries: the blocking queries that wait.
        key_sets: the requests that wait for many keys.
        url: where it listens.
        addresses: the addresses that are bound, with their real ports.
    """

    store: Store
    blocking_queries: BlockingQueries
    key_sets: KeySets
    _server: http_trio.HttpServer
    _service: _Service

    @property
    def state(self) -> str:
        """How it stands, in a few words."""
        waiting = len(self.blocking_queries)
        return f"serves at index {self.store.index}, to {waiting} blocking queries"

    @property
    def url(self) -> str:
        """The URL of the first TCP address."""
        return self._server.url

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are bound, with their real ports."""
        return self._server.addresses

    def reload(self) -> None:
        """Read tokens and certificates again at once, and open the audit log anew."""
        self._service.tokens.reload()
        self._server.reload()
        if self._service.audit is not None:
            self._service.audit.reopen()

    def drain(self, deadline_s: float = DRAIN_S, *, lame_duck_s: float = 0.0) -> None:
        """Begin to stop: respond to those who wait, then let `serve` return.

        As `http_trio.HttpServer.drain`. Where another server waits for the directory, on
        the same ports, it listens before this one ceases to.
        """
        self._service.drain(self._server, deadline_s, lame_duck_s)

    async def beat(self, call: Callable[[], None], every_s: float) -> None:
        """Call again and again, from the event loop as it serves; until cancelled."""
        await self._server.beat(call, every_s)


async def serve(  # noqa: ASYNC128  # _serve calls it
    binds: Sequence[str | socket.socket] = (DEFAULT_BIND,),
    *,
    reuse_port: bool = False,
    wait_s: float = 0.0,
    on_waiting: Callable[[], None] = lambda: None,
    data: str | os.PathLike[str] | None = None,
    bounds: Bounds | None = None,
    tokens: str | os.PathLike[str] | None = None,
    limits: Limits = LIMITS,
    store_limits: StoreLimits = STORE_LIMITS,
    tls: http_trio.Tls | None = None,
    hosts: Sequence[str] = (),
    observe: Observer | None = None,
    audit: AuditLog | None = None,
    task_status: trio.TaskStatus[KvServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a store until cancelled or drained.

    Args:
        binds: addresses such as `127.0.0.1:8500`, `[::1]:0` or `unix:PATH`, or sockets
            that listen there. It listens once its data is loaded.
        reuse_port: whether other processes may serve on the same TCP ports.
        wait_s: how long it waits for a server that has the directory; 0 to fail at once.
        on_waiting: called once if it does.
        data: the directory of its database, made if absent; None for a store that
            lives in memory only. Its indexes begin at the present microsecond, so they
            do not restart low either.
        bounds: how much of the past is kept; `Bounds()` by default.
        tokens: a token file, see `kv_trio.api.tokens`; None lets everybody do everything.
        limits: of its connections; beyond `limits.connections` a client gets a 429.
        store_limits: what one request, and one client, may make it do.
        tls: the certificate to serve TLS with; read again when it changes.
        hosts: names with a dot by which clients know it, beside those of its addresses
            and its machine's; a request that means another host gets a 403.
        observe: called after each durable batch of changes, with the changed keys, the
            store's index and the `trio.current_time()` at which its first was queued.
        audit: where all writes are told of, with who made them.
        task_status: `started` gets the `KvServer` once it listens.

    Raises:
        StorageError, StoreLocked, StoreDamaged: the directory cannot be used.
        BadTokens: the token file cannot be used.
        http_trio.BadBind: an address cannot be had.
        http_trio.BadCertificate: the certificate cannot be used.

    Cancelled, it ends the transaction in progress and drops the queue behind it.
    """
    if tls is not None:
        tls.check()  # while it is a plain error, not one in a group
    valid_tokens = await trio.to_thread.run_sync(Tokens, tokens)
    with contextlib.ExitStack() as owned:
        sockets = http_trio.open_listeners(
            binds, reuse_port=reuse_port, listening=False
        )
        for sock in sockets:
            owned.enter_context(sock)
        engine = await open_engine(
            None if data is None else Path(data),
            bounds,
            wait_s,
            on_waiting=on_waiting,
            on_leaving=lambda: _listen(sockets),
        )
        owned.callback(engine.close)
        if shared := [*filter(http_trio.others_on_port, sockets)]:
            raise http_trio.BadBind(
                f"cannot listen on {http_trio.address_of(shared[0])}: a server that has"
                " other data listens there, too; stop one of them, or choose another port"
            )
        store = await trio.to_thread.run_sync(engine.load)
        names = [socket.gethostname(), *hosts]
        given = [
            one if isinstance(one, str) else http_trio.address_of(one) for one in binds
        ]
        names += [bind for bind in given if not bind.startswith("unix:")]
        check = HostCheck(filter(None, names))
        service = _Service(
            *(store, engine, valid_tokens, check, observe, sockets),
            limits=store_limits,
            audit=audit,
        )
        await service.run(sockets, limits, tls, task_status)


def _listen(sockets: Sequence[socket.socket]) -> None:
    """Let clients wait there, though nobody takes them yet."""
    http_trio.open_listeners(sockets)


class _Service:
    """The parts of a server, put together."""

    def __init__(
        self,
        store: Store,
        engine: StorageEngine,
        tokens: Tokens,
        hosts: HostCheck,
        observe: Observer | None,
        sockets: Sequence[socket.socket],
        *,
        limits: StoreLimits,
        audit: AuditLog | None,
    ) -> None:
        self._store = store
        self._engine = engine
        engine.history.limits = limits
        self.tokens = tokens
        self._leaving = trio.Event()
        self._observe = observe
        self._blocking_queries = BlockingQueries(store, limits)
        self._key_sets = KeySets(
            store,
            self._blocking_queries.large,
            self._blocking_queries.counts,
            limits,
        )
        self._streams = EventStreams(
            store,
            self._read_history,
            self._blocking_queries.large,
            self._blocking_queries.counts,
        )
        self._writer = Writer(store, engine, self._committed)
        self.audit = audit
        self.writes = Writes(self._writer, audit)
        self._metrics = Metrics(store, self._blocking_queries, self._streams)
        bodies = RequestBodies(limits.bodies_bytes, tokens.holds)
        large = self._blocking_queries.large
        self._metrics.follow_parts(large, self._key_sets, self._writer, bodies, audit)
        node = socket.gethostname()
        self._api = ApiRouter(
            KvEndpoint(
                store,
                self.writes,
                self._blocking_queries,
                self._streams,
                self._read_history,
                bodies,
                limits=limits,
            ),
            SessionEndpoint(
                store,
                self.writes,
                self._blocking_queries,
                bodies,
                limits=limits,
                node=node,
            ),
            TxnEndpoint(self.writes, large, bodies, limits=limits),
            SnapshotEndpoint(engine, self._run_blocking, limits),
            WatchEndpoint(self._key_sets, bodies, limits=limits),
            writes=self.writes,
            tokens=tokens,
            metrics=self._metrics,
            hosts=hosts,
            compact=self._compact,
            is_leaving=self._leaving.is_set,
            node=node,
            address=http_trio.address_of(sockets[0]),
        )

    async def run(
        self,
        sockets: Sequence[socket.socket],
        limits: Limits,
        tls: http_trio.Tls | None,
        task_status: trio.TaskStatus[KvServer],
    ) -> None:
        async with trio.open_nursery() as nursery:
            if self.audit is not None:
                nursery.start_soon(self.audit.run)
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self._writer.expire_sessions)
            nursery.start_soon(self._writer.run_checkpoints)
            nursery.start_soon(self.tokens.follow, self._granted)
            nursery.start_soon(self._compact_old)
            async with trio.open_nursery() as serving:
                run = partial(
                    http_trio.serve,
                    self._api,
                    sockets,
                    limits=limits,
                    overload=_TOO_MANY,
                    tls=tls,
                )
                server = await serving.start(run)
                self._writer.after_batch = server.after_batch
                task_status.started(
                    KvServer(
                        self._store,
                        self._blocking_queries,
                        self._key_sets,
                        server,
                        self,
                    )
                )
            nursery.cancel_scope.cancel()

    def drain(
        self, server: http_trio.HttpServer, deadline_s: float, lame_duck_s: float
    ) -> None:
        """Let a server end; who waits for the directory has a moment to listen."""
        self._leaving.set()
        if self._engine.blocks:
            server.drain(deadline_s, lame_duck_s=lame_duck_s + SUCCESSOR_S)
            server.loop.spawn(leave, self._engine, server, deadline_s, lame_duck_s)
        else:
            server.drain(deadline_s, lame_duck_s=lame_duck_s)

    def _committed(self, batch: CommittedBatch) -> None:
        woken = self._blocking_queries.wake(batch.keys)
        woken += self._key_sets.wake(batch.keys)
        self._streams.publish(batch.write_batch.revisions())
        if batch.write_batch.sessions:
            self._blocking_queries.wake_for_sessions()
        self._metrics.committed(batch.operations, batch.commit_s, woken)
        if self._observe is not None:
            self._observe(batch.keys, batch.write_batch.index, batch.queued_at)

    def _granted(self, grants: Grants) -> None:
        self._blocking_queries.revoke(grants.holds)
        self._key_sets.revoke(grants.holds)
        self._streams.revoke(grants.holds)

    async def _read_history(self, read: Callable[[History], T]) -> T:
        """Read the history, in a thread if it is on a disk."""
        if self._engine.blocks:
            return await trio.to_thread.run_sync(read, self._engine.history)
        await trio.lowlevel.checkpoint()
        return read(self._engine.history)

    async def _compact(self, index: int | None) -> int:
        """Forget the past up to an index, or up to the present.

        Raises:
            BadQuery: the store has not come to that index yet.
            StorageError: the disk refuses.
        """
        present = self._store.index
        if index is not None and index > present:
            raise BadQuery(400, f"index={index}: the store is at index {present}")
        return await self._run_blocking(
            lambda: self._engine.compact(present if index is None else index)
        )

    async def _compact_old(self) -> None:
        while True:
            try:
                await self._run_blocking(self._engine.compact_old)
            except StorageError as exc:
                _log.warning("the history is not compacted: %s", exc)
            except Exception:
                _log.exception("the history is not compacted")
            await trio.sleep(COMPACT_EVERY_S)

    async def _run_blocking(self, run: Callable[[], T]) -> T:
        if self._engine.blocks:
            return await trio.to_thread.run_sync(run)
        await trio.lowlevel.checkpoint()
        return run()
