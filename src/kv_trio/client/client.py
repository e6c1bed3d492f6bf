"""The client: the store's API as methods.

It speaks Consul's KV API, so it works on a Consul unchanged. Our server says more (the
number of a write); of a Consul that is read afterwards. `history`, `get_at`, `compact`
and `back_up` are our server's alone.

One file, since it is one class, with a method for each operation of the API.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote

import trio

from kv_trio.client.lock import hold_lock
from kv_trio.client.results import Listing, Snapshot, WriteResult
from kv_trio.client.transport import Reply, Transport
from kv_trio.client.watch import Contact, Watch
from kv_trio.consul.decode import (
    read_entries,
    read_history,
    read_index,
    read_json,
    read_session_id,
    read_sessions,
    read_transaction_result,
)
from kv_trio.consul.durations import format_duration
from kv_trio.consul.txn import dump_operation
from kv_trio.errors import StoreRefused
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn import TransactionResult, TxnOperation

DEFAULT_URL = "http://127.0.0.1:8500"
WAIT_S = 30.0
GRACE_S = 5.0
"""Seconds that a blocking response may come after its wait and jitter."""
_ABSENT = HTTPStatus.NOT_FOUND


class Client:
    """A client of one server; use it as an async context manager.

    Each method raises `StoreUnreachable`, `StoreRefused` or `UnexpectedAnswer`, and
    may be cancelled at any time; whether a cancelled write took effect is not known.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: of the server.
            token: the secret that the server is shown.
            ca_file: the authorities that an https:// server is verified by, as PEM;
                by default the system's.

        Raises:
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self._transport = Transport(url, token, ca_file)

    def __repr__(self) -> str:
        return f"<Client {self.url}>"

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self._transport.url

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        await self._transport.__aexit__(kind, error, trace)  # noqa: ASYNC102  # shields

    # === keys ===

    async def get(
        self, key: str, *, index: int = 0, wait_s: float = WAIT_S
    ) -> Snapshot:
        """Read a key; with an index, when it is passed or after wait_s seconds."""
        reply = await self._read(key, {}, index, wait_s)
        new_index = read_index(reply.url, reply.index)
        if reply.status == _ABSENT:
            return Snapshot(None, new_index)
        return Snapshot(read_entries(reply.url, reply.body)[0], new_index)

    async def list(
        self, prefix: str, *, index: int = 0, wait_s: float = WAIT_S
    ) -> Listing:
        """Read all keys with a prefix; with an index as in `get`."""
        reply = await self._read(prefix, {"recurse": ""}, index, wait_s)
        new_index = read_index(reply.url, reply.index)
        if reply.status == _ABSENT:
            return Listing((), new_index)
        return Listing(read_entries(reply.url, reply.body), new_index)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        flags: int = 0,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        """Write a key.

        Args:
            key: what to write.
            value: up to 512 KiB.
            flags: any unsigned 64-bit number, for whoever reads it.
            cas: only if this is the number of its last change; 0: only if it is absent.
            acquire: only if this session gets, or has, its lock.
            release: only if this session has its lock, which it loses.
        """
        conditions = {
            "flags": flags or None,
            "cas": cas,
            "acquire": acquire,
            "release": release,
        }
        parameters = {name: str(v) for name, v in conditions.items() if v is not None}
        reply = await self._transport.request("PUT", _path(key), parameters, value)
        return await self._read_outcome(reply, key)

    async def keys(self, prefix: str, *, separator: str = "") -> tuple[str, ...]:
        """Give the keys with a prefix; with a separator, cut after its first."""
        parameters = {"keys": ""} | ({"separator": separator} if separator else {})
        reply = await self._transport.request(
            "GET", _path(prefix), parameters, also=(_ABSENT,)
        )
        if reply.status == _ABSENT:
            return ()
        return tuple(read_json(reply.url, reply.body))

    async def delete(
        self, key: str, *, cas: int | None = None, recurse: bool = False
    ) -> bool:
        """Remove a key, or all keys with this prefix; give whether `cas` held."""
        parameters = {} if cas is None else {"cas": str(cas)}
        if recurse:
            parameters["recurse"] = ""
        reply = await self._transport.request("DELETE", _path(key), parameters)
        return bool(read_json(reply.url, reply.body))

    # === sessions ===

    async def create_session(
        self, name: str, ttl_s: float, *, deletes: bool, lock_delay_s: float = 0.0
    ) -> str:
        """Begin a session; give its id.

        Args:
            name: for people who look at it.
            ttl_s: 10 to 86400 seconds after which it ends, unless it is renewed.
            deletes: whether the keys that it holds are deleted at its end.
            lock_delay_s: seconds for which nobody can take a lock that it lost.
        """
        fields = {
            "Name": name,
            "TTL": format_duration(ttl_s),
            "Behavior": "delete" if deletes else "release",
            "LockDelay": format_duration(lock_delay_s),
        }
        body = json.dumps(fields).encode()
        reply = await self._transport.request("PUT", "/v1/session/create", {}, body)
        return read_session_id(reply.url, reply.body)

    async def sessions(self) -> tuple[Session, ...]:
        """Give all sessions that have not ended."""
        reply = await self._transport.request("GET", "/v1/session/list", {})
        return read_sessions(reply.url, reply.body)

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""
        try:
            await self._transport.request("PUT", f"/v1/session/renew/{id_}", {})
        except StoreRefused as exc:
            if exc.status == _ABSENT:
                return False
            raise
        return True

    async def destroy_session(self, id_: str) -> None:
        """End a session."""
        await self._transport.request("PUT", f"/v1/session/destroy/{id_}", {})

    # === transactions ===

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        """Run operations that take effect together or not at all.

        Args:
            operations: 1 to 128 of them; Consul before 1.14 takes 64.

        Returns:
            Whether they took effect, what they gave, and else which failed and why.
        """
        body = json.dumps(
            [dump_operation(operation) for operation in operations]
        ).encode()
        reply = await self._transport.request(
            "PUT", "/v1/txn", {}, body, also=(HTTPStatus.CONFLICT,)
        )
        return read_transaction_result(reply.url, reply.body)

    # === the past, of our server alone ===

    async def history(self, key: str, *, limit: int = 100) -> tuple[Revision, ...]:
        """Give the states that a key had, the newest first, as far as they are kept."""
        parameters = {"history": "", "limit": str(limit)}
        reply = await self._transport.request(
            "GET", _path(key), parameters, also=(_ABSENT,)
        )
        if reply.status == _ABSENT:
            return ()
        return read_history(reply.url, reply.body)

    async def get_at(self, key: str, index: int) -> Entry | None:
        """Give what a key was when the store was at an index; None if it was absent.

        Raises:
            StoreRefused: with status 410 if that is forgotten.
        """
        reply = await self._transport.request(
            "GET", _path(key), {"at": str(index)}, also=(_ABSENT,)
        )
        if reply.status == _ABSENT:
            return None
        return read_entries(reply.url, reply.body)[0]

    async def compact(self, index: int | None = None) -> int:
        """Forget the past up to an index, or up to now; give how many states that were."""
        parameters = {} if index is None else {"index": str(index)}
        reply = await self._transport.request("PUT", "/v1/compact", parameters)
        return int(read_json(reply.url, reply.body)["Forgotten"])

    async def back_up(self, path: str | os.PathLike[str]) -> int:
        """Write a copy of the store's database to a new file; give its bytes.

        It is of one consistent state, and takes its place at the end only. The file can
        be put into an empty data directory as `kv.sqlite`.

        Raises:
            FileExistsError: the file is there.
            OSError: it cannot be written.
        """
        target = trio.Path(path)
        unfinished = target.with_name(target.name + ".partial")
        if await target.exists():
            raise FileExistsError(f"{path} exists; a backup overwrites nothing")
        size = 0
        try:
            await unfinished.touch(mode=0o600)  # a copy has all secrets of a store
            await unfinished.chmod(0o600)
            async with (
                await unfinished.open("wb") as file,
                self._transport.stream("/v1/snapshot") as chunks,
            ):
                async for chunk in chunks:
                    await file.write(chunk)
                    size += len(chunk)
            await unfinished.rename(target)
        except BaseException:
            with trio.CancelScope(shield=True):
                await unfinished.unlink(missing_ok=True)
            raise
        return size

    # === watching and locking ===

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch[Snapshot]]:
        """Follow a key: an iterator of its states, the present one first.

        Args:
            key: what to follow.
            wait_s: the longest time after which it asks again.
            contact: kept up to date, so that others see how the watch stands.
        """
        yield Watch(partial(self.get, key), key, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def watch_prefix(
        self, prefix: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch[Listing]]:
        """Follow all keys with a prefix, as `watch` does one."""
        yield Watch(partial(self.list, prefix), prefix, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def lock(
        self, key: str, value: bytes = b"", *, ttl_s: float = 10.0
    ) -> AsyncIterator[str]:
        """Have a lock while the block runs; see `kv_trio.client.lock`.

        Args:
            key: what is locked. Locks are advisory: who does not take it can write it.
            value: written to the key, for people who look at it.
            ttl_s: 10 to 86400 seconds after which it is free if this process dies.

        Yields:
            The id of the session that has the lock.

        Raises:
            LockLost: it was lost; the block is cancelled.

        Waits for as long as somebody else has it; cancelled, it leaves nothing behind.
        """
        async with hold_lock(self, key, value, ttl_s=ttl_s) as session:
            yield session

    # === private ===

    async def _read(
        self, key: str, parameters: dict[str, str], index: int, wait_s: float
    ) -> Reply:
        deadline_s = None
        if index:
            parameters |= {"index": str(index), "wait": format_duration(wait_s)}
            deadline_s = wait_s * 17 / 16 + GRACE_S
        return await self._transport.request(
            "GET", _path(key), parameters, deadline_s=deadline_s, also=(_ABSENT,)
        )

    async def _read_outcome(self, reply: Reply, key: str) -> WriteResult:
        done = bool(read_json(reply.url, reply.body))
        if reply.index:
            return WriteResult(done, read_index(reply.url, reply.index))
        entry = (await self.get(key)).entry
        return WriteResult(done, entry.modify_index if entry else 0)


def _path(key: str) -> str:
    return "/v1/kv/" + quote(key, safe="/,._-~")
