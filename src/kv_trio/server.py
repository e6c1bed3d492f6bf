"""The server: a store, its log, its writer and its API in one nursery."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence
from functools import partial

import attrs
import trio

import http_trio
from kv_trio.api import Api
from kv_trio.core import Store
from kv_trio.log import Log
from kv_trio.watch import Watchers
from kv_trio.writer import Observer, Writer

DEFAULT_BIND = "127.0.0.1:8500"


@attrs.frozen
class KvServer:
    """A store that is being served.

    Attributes:
        store: its published state, for reading.
        url: where it listens.
        addresses: all that is bound.
    """

    store: Store
    _server: http_trio.Server

    @property
    def url(self) -> str:
        """The URL of the first TCP address."""
        return self._server.url

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is really bound."""
        return self._server.addresses

    def drain(self, deadline_s: float = 5.0) -> None:
        """Begin to stop: answer the watchers, then let `serve` return."""
        self._server.drain(deadline_s)


async def serve(  # noqa: ASYNC128  # _serve calls it
    binds: Sequence[str] = (DEFAULT_BIND,),
    *,
    data: str | os.PathLike[str] | None = None,
    observe: Observer | None = None,
    task_status: trio.TaskStatus[KvServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a store until cancelled or drained.

    Args:
        binds: addresses such as `127.0.0.1:8500`, `[::1]:0` or `unix:PATH`.
        data: the directory of its database, made if absent; None for a store that
            lives in memory only. Its numbers begin at the present second, so they do
            not restart low either.
        observe: called after each durable batch of changes, with the changed keys, the
            store's index and the `trio.current_time()` at which its first was queued.
        task_status: `started` gets the `KvServer` once it listens.

    Raises:
        StorageError, StoreLocked, StoreDamaged: the directory cannot be used.
        http_trio.BadBind: an address cannot be had.

    Cancelled, it ends the transaction that is on and drops what is queued behind it.
    """
    with contextlib.ExitStack() as owned:
        sockets = http_trio.open_listeners(binds)
        for sock in sockets:
            owned.enter_context(sock)
        if data is None:
            log, store = None, Store(first_index=int(time.time()))
        else:
            log = await trio.to_thread.run_sync(Log, data)
            owned.callback(log.close)
            store = await trio.to_thread.run_sync(log.load)
        await _serve(store, log, sockets, observe, task_status)


async def _serve(
    store: Store,
    log: Log | None,
    sockets: Sequence[socket.socket],
    observe: Observer | None,
    task_status: trio.TaskStatus[KvServer],
) -> None:
    watchers = Watchers(store)
    writer = Writer(store, log, watchers, observe)
    address = http_trio.address_of(sockets[0])
    api = Api(store, writer, watchers, node=socket.gethostname(), address=address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        nursery.start_soon(writer.expire_sessions)
        async with trio.open_nursery() as serving:
            server = await serving.start(partial(http_trio.serve, api, sockets))
            task_status.started(KvServer(store, server))
        nursery.cancel_scope.cancel()
