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

import trio

from kv_trio.client.backup import write_backup
from kv_trio.client.limits import ResponseLimits
from kv_trio.client.lock import hold_lock
from kv_trio.client.paths import key_path, session_path
from kv_trio.client.results import Listing, Snapshot, WriteResult
from kv_trio.client.transport import Reply, Token, Transport
from kv_trio.client.watch import Contact, PrefixWatch, Watch
from kv_trio.consul.decode import (
    read_done,
    read_entries,
    read_entry,
    read_forgotten,
    read_history,
    read_index,
    read_keys,
    read_session_id,
    read_sessions,
    read_transaction_result,
)
from kv_trio.consul.durations import format_duration
from kv_trio.consul.txn_operation import dump_operation
from kv_trio.errors import BadKey, StoreRefused, UnexpectedResponse
from kv_trio.state.entry import Entry, Revision, Session
from kv_trio.state.txn_operation import TransactionResult, TxnOperation

DEFAULT_URL = "http://127.0.0.1:8500"
WAIT_S = 30.0
GRACE_S = 5.0
"""Seconds that a blocking response may come after its wait and jitter."""
_ABSENT = HTTPStatus.NOT_FOUND


class Client:
    """A client of one server; use it as an async context manager.

    Each method raises `StoreUnreachable`, `StoreRefused` or `UnexpectedResponse`,
    whatever the server sends, and `BadKey` where no path means just this key. It may be
    cancelled at any time; whether a cancelled write took effect is not known.

    Attributes:
        limits: of what the server may respond; may be changed at any time.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: Token = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: of the server.
            token: the secret that the server is shown, or what gives it for each request.
            ca_file: the authorities that an https:// server is verified by, as PEM;
                by default the system's.

        Raises:
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self.limits = ResponseLimits()
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
        reply = await self._read(key, {}, index, wait_s, self.limits.document)
        new_index = read_index(reply.url, reply.index)
        if reply.is_absent:
            return Snapshot(None, new_index)
        return Snapshot(read_entry(reply.url, reply.body, key), new_index)

    async def list(
        self, prefix: str, *, index: int = 0, wait_s: float = WAIT_S, changes: int = 1
    ) -> Listing:
        """Read all keys with a prefix; with an index as in `get`.

        With `changes` when so many keys have changed; a Consul does not count them.
        """
        parameters = {"recurse": ""} | (
            {"changes": f"{changes}"} if changes > 1 else {}
        )
        limit = self.limits.listing
        reply = await self._read(prefix, parameters, index, wait_s, limit)
        new_index = read_index(reply.url, reply.index)
        if reply.is_absent:
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
        conditions: dict[str, object] = {"flags": flags or None, "cas": cas}
        conditions |= {"acquire": acquire, "release": release}
        parameters = {name: str(v) for name, v in conditions.items() if v is not None}
        reply = await self._request("PUT", key_path(key), parameters, value)
        return await self._read_outcome(reply, key)

    async def keys(self, prefix: str, *, separator: str = "") -> tuple[str, ...]:
        """Give the keys with a prefix; with a separator, cut after its first."""
        parameters = {"keys": ""} | ({"separator": separator} if separator else {})
        reply = await self._request_listing(key_path(prefix), parameters)
        return () if reply.is_absent else read_keys(reply.url, reply.body)

    async def delete(
        self, key: str, *, cas: int | None = None, recurse: bool = False
    ) -> bool:
        """Remove a key, or all keys with this prefix; give whether `cas` held."""
        parameters = {} if cas is None else {"cas": str(cas)}
        if recurse:
            parameters["recurse"] = ""
        reply = await self._request("DELETE", key_path(key), parameters)
        return read_done(reply.url, reply.body)

    # === sessions ===

    async def create_session(
        self, name: str, ttl_s: float, *, deletes: bool, lock_delay_s: float = 0.0
    ) -> str:
        """Begin a session; give its id.

        Args:
            name: for people who look at it.
            ttl_s: 10 to 86400 seconds; not renewed, it ends between once and twice that.
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
        reply = await self._request("PUT", "/v1/session/create", {}, body)
        return read_session_id(reply.url, reply.body)

    async def sessions(self) -> tuple[Session, ...]:
        """Give all sessions that have not ended."""
        reply = await self._request_listing("/v1/session/list", {})
        return read_sessions(reply.url, reply.body)

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""
        try:
            reply = await self._request("PUT", session_path("renew", id_), {})
        except StoreRefused as exc:
            if exc.status == _ABSENT:
                return False
            raise
        renewed = read_sessions(reply.url, reply.body)
        if [session.id.lower() for session in renewed] != [id_.lower()]:
            raise UnexpectedResponse(
                f"{reply.url}: another session, or none, is renewed"
            )
        return True

    async def destroy_session(self, id_: str) -> None:
        """End a session."""
        reply = await self._request("PUT", session_path("destroy", id_), {})
        read_done(reply.url, reply.body)

    # === transactions ===

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        """Run operations that take effect together or not at all.

        Args:
            operations: 1 to 128 of them; Consul before 1.14 takes 64.

        Returns:
            Whether they took effect, what they gave, and else which failed and why.
            A right that is missing is an error, which names the key.
        """
        try:
            dumped = [dump_operation(operation) for operation in operations]
        except UnicodeDecodeError as exc:
            raise BadKey("a key that is no UTF-8 cannot be written in JSON") from exc
        gives_values = any(operation.verb.startswith("get") for operation in operations)
        reply = await self._transport.request(
            "PUT",
            "/v1/txn",
            {},
            json.dumps(dumped).encode(),
            limit=self.limits.listing if gives_values else self.limits.document,
            also=(HTTPStatus.CONFLICT,),
        )
        return read_transaction_result(reply.url, reply.body, operations)

    # === the past, of our server alone ===

    async def history(self, key: str, *, limit: int = 100) -> tuple[Revision, ...]:
        """Give the states that a key had, the newest first, as far as they are kept."""
        parameters = {"history": "", "limit": str(limit)}
        reply = await self._request_listing(key_path(key), parameters)
        return () if reply.is_absent else read_history(reply.url, reply.body)

    async def get_at(self, key: str, index: int) -> Entry | None:
        """Give what a key was when the store was at an index; None if it was absent.

        Raises:
            StoreRefused: with status 410 if that is forgotten.
            UnexpectedResponse: the server gives another time, as a Consul does.
        """
        at, limit = {"at": str(index)}, self.limits.document
        reply = await self._transport.request(
            "GET", key_path(key), at, limit=limit, also=(_ABSENT,)
        )
        if read_index(reply.url, reply.index) not in (index, max(1, index)):
            raise UnexpectedResponse(
                f"{reply.url}: what it is at {reply.index}, expected at {index}; a Consul"
                " cannot read the past, a kv-trio can"
            )
        return None if reply.is_absent else read_entry(reply.url, reply.body, key)

    async def compact(self, index: int | None = None) -> int:
        """Forget the past up to an index, or up to now; give how many states that were."""
        parameters = {} if index is None else {"index": str(index)}
        reply = await self._request("PUT", "/v1/compact", parameters)
        return read_forgotten(reply.url, reply.body)

    async def back_up(self, path: str | os.PathLike[str]) -> int:
        """Write a copy of the store's database to a new file; give its bytes.

        It is of one consistent state, and takes its place at the end only. The file can
        be put into an empty data directory as `kv.sqlite`.

        Raises:
            FileExistsError: the file is there.
            OSError: it cannot be written.
            UnexpectedResponse: the server gives something else, as a Consul does.
        """
        return await write_backup(self._transport.stream("/v1/snapshot"), path)

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
        key_path(key)  # or a watch would try it again and again
        yield Watch(partial(self.get, key), key, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def watch_prefix(
        self,
        prefix: str,
        *,
        after: int = 0,
        wait_s: float = WAIT_S,
        contact: Contact | None = None,
    ) -> AsyncIterator[PrefixWatch]:
        """Follow all keys with a prefix, as `watch` does one; see `PrefixWatch`."""
        key_path(prefix)
        yield PrefixWatch(self.list, prefix, after, wait_s, contact or Contact())
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def lock(
        self, key: str, value: bytes = b"", *, ttl_s: float = 10.0
    ) -> AsyncIterator[str]:
        """Have a lock while the block runs; see `kv_trio.client.lock`.

        Args:
            key: what is locked. Locks are advisory: who does not take it can write it.
            value: written to the key, for people who look at it.
            ttl_s: 10 to 86400 seconds; it is free at twice that if this process dies.

        Yields:
            The id of the session that has the lock.

        Raises:
            LockLost: it was lost; the block is cancelled.

        Waits for as long as somebody else has it; cancelled, it leaves nothing behind.
        """
        key_path(key)
        async with hold_lock(self, key, value, ttl_s=ttl_s) as session:
            yield session

    # === private ===

    async def _request(
        self,
        method: str,
        path: str,
        parameters: dict[str, str],
        body: bytes | None = None,
    ) -> Reply:
        """Send what one key, or one session, comes back for."""
        return await self._transport.request(
            method, path, parameters, body, limit=self.limits.document
        )

    async def _request_listing(self, path: str, parameters: dict[str, str]) -> Reply:
        limit = self.limits.listing
        return await self._transport.request(
            "GET", path, parameters, limit=limit, also=(_ABSENT,)
        )

    async def _read(
        self,
        key: str,
        parameters: dict[str, str],
        index: int,
        wait_s: float,
        limit: int,
    ) -> Reply:
        how = {"consistent": ""}  # a Consul that has just started is behind its own log
        deadline_s = None
        if index:
            how = {"index": str(index), "wait": format_duration(wait_s)}
            deadline_s = wait_s * 17 / 16 + GRACE_S
        path, send, also = key_path(key), self._transport.request, (_ABSENT,)
        return await send(
            "GET", path, parameters | how, limit=limit, deadline_s=deadline_s, also=also
        )

    async def _read_outcome(self, reply: Reply, key: str) -> WriteResult:
        done = read_done(reply.url, reply.body)
        if reply.index:
            index = read_index(reply.url, reply.index)
            if not done and index == 1:  # as 0 is written, which would not wait
                index = 0
            return WriteResult(done, index)
        entry = (await self.get(key)).entry
        return WriteResult(done, entry.modify_index if entry else 0)
