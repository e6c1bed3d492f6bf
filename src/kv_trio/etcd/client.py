"""The client of an etcd, by its JSON gateway: what the store's client does, for an etcd.

The methods, values and errors are those of `kv_trio.Client`, as far as an etcd has what they
need: a session is a lease, its id a number; a key that a session holds is one with its
lease, so it is deleted at the session's end, whatever `deletes` says. The index is etcd's
revision. There are no flags.

One file, since it is one class, with a method for each operation.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from kv_trio.client.background import run_in_background
from kv_trio.client.client import WAIT_S
from kv_trio.client.limits import ResponseLimits
from kv_trio.client.lock import hold_lock
from kv_trio.client.poll_budget import PollBudget
from kv_trio.client.results import Listing, Snapshot, WriteResult
from kv_trio.client.transport import Token
from kv_trio.client.watch import Contact, wait_turn
from kv_trio.errors import BadKey, StoreRefused, StoreUnreachable
from kv_trio.etcd.endpoints import Endpoints
from kv_trio.etcd.range_state import RangeState
from kv_trio.etcd.transactions import Plan, check_operations, plan
from kv_trio.etcd.watch import RANGE, EtcdKeySetWatch, EtcdWatch
from kv_trio.etcd.wire import encode, range_of, read_lease, read_range, read_txn
from kv_trio.state.txn_operation import TransactionResult, TxnOperation

TRIES = 16
"""Of a transaction whose keys others write at the same time, before it is given up."""

_TXN = "/v3/kv/txn"
_ABSENT = HTTPStatus.NOT_FOUND

S = TypeVar("S")


class EtcdClient:
    """A client of one etcd; use it as an async context manager.

    Attributes:
        limits: of what the server may respond; may be changed at any time.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: `etcd://HOST[:PORT],...`, or `etcds://` with TLS.
            token: `NAME:PASSWORD` of a user, where the etcd asks for one, or what gives it
                when it asks.
            ca_file: the authorities that its members are verified by, as PEM; by
                default the system's.
            cert_file: the certificate that they are shown, as PEM with its private key,
                where they ask for one.

        Raises:
            ValueError: the URL, or the token, is none.
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self.limits = ResponseLimits()
        self._endpoints = Endpoints(
            url, token=token, ca_file=ca_file, cert_file=cert_file
        )

    def __repr__(self) -> str:
        return f"<EtcdClient {self.url}>"

    @property
    def url(self) -> str:
        """The URL of the etcd."""
        return self._endpoints.url

    @property
    def members(self) -> tuple[str, ...]:
        """The URLs of its members."""
        return self._endpoints.urls

    async def __aenter__(self) -> Self:
        """Open the client."""
        await self._endpoints.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        await self._endpoints.__aexit__(kind, error, trace)  # noqa: ASYNC102  # shields

    # === keys ===

    async def get(
        self, key: str, *, index: int = 0, wait_s: float = WAIT_S
    ) -> Snapshot:
        """Read a key; with an index, when it is passed or after wait_s seconds."""
        if index:
            with trio.move_on_after(wait_s):
                async with self.watch(key) as states:
                    async for state in states:
                        if state.index > index:
                            return state
        message = range_of(_key(key), is_prefix=False)
        limit = self.limits.document
        found = await self._endpoints.read(RANGE, message, read_range, limit=limit)
        if not found.entries:
            return Snapshot(None, found.header.revision)
        return Snapshot(found.entries[0], found.entries[0].modify_index)

    async def list(self, prefix: str) -> Listing:
        """Read all keys with a prefix."""
        message = range_of(_key(prefix), is_prefix=True)
        limit = self.limits.listing
        found = await self._endpoints.read(RANGE, message, read_range, limit=limit)
        return Listing(found.entries, found.header.revision)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        """Write a key; its lease stays, unless a session acquires or releases it.

        Args:
            key: what to write.
            value: up to 1.5 MiB, as etcd takes it by default.
            cas: only if this is the revision of its last change; 0: only if it is absent.
            acquire: only if this session has it, or nobody has.
            release: only if this session has it, which gives it up.
        """
        operation = TxnOperation("set", _key(key), value)
        if cas is not None:
            operation = TxnOperation("cas", _key(key), value, index=cas)
        elif session := acquire or release:
            verb = "lock" if acquire else "unlock"
            operation = TxnOperation(verb, _key(key), value, session=session)
        made, result = await self._transact([operation])
        if result.done:
            return WriteResult(True, result.index)
        entry = made.before[operation.key]
        return WriteResult(False, entry.modify_index if entry else 0)

    async def delete(self, key: str, *, cas: int | None = None) -> bool:
        """Remove a key; give whether `cas` held."""
        operation = TxnOperation("delete", _key(key))
        if cas is not None:
            operation = TxnOperation("delete-cas", _key(key), index=cas)
        return (await self._transact([operation]))[1].done

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        """Run operations that take effect together or not at all.

        Args:
            operations: 1 to 128 of them, of the verbs that `transactions.plan` has.

        Raises:
            BadQuery: there are too many, or one has another verb.
        """
        return (await self._transact(operations))[1]

    # === sessions ===

    async def create_session(
        self, name: str, ttl_s: float, *, deletes: bool, lock_delay_s: float = 0.0
    ) -> str:
        """Begin a session, a lease; give its id.

        Args:
            name: nobody sees it: leases have none.
            ttl_s: not renewed for so long, rounded up to a whole second, it ends.
            deletes: the keys that it holds are deleted at its end in any case.
            lock_delay_s: there is none.
        """
        del name, deletes, lock_delay_s
        message = {"TTL": str(math.ceil(ttl_s))}
        id_, _ = await self._lease("/v3/lease/grant", message)
        return id_

    async def renew_session(self, id_: str) -> bool:
        """Start a session's time anew; False if it has ended."""
        _, ttl_s = await self._lease("/v3/lease/keepalive", {"ID": _lease_id(id_)})
        return ttl_s > 0

    async def destroy_session(self, id_: str) -> None:
        """End a session, and delete the keys that it holds."""
        try:
            message = {"ID": _lease_id(id_)}
            limit = self.limits.document
            await self._endpoints.write(
                "/v3/lease/revoke", message, read_lease, limit=limit
            )
        except StoreRefused as exc:
            if exc.status != _ABSENT:
                raise

    async def token_name(self) -> str:
        """Give the name of the user that the token is of; empty if there is none."""
        await trio.lowlevel.checkpoint()
        return self._endpoints.user_name

    # === watching and locking ===

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[EtcdWatch[Snapshot]]:
        """Follow a key: an iterator of its states, the present one first.

        Args:
            key: what to follow.
            wait_s: the longest time after which all is asked anew.
            contact: kept up to date, so that others see how the watch stands.
        """
        name = _key(key)

        def snapshot(state: RangeState) -> Snapshot:
            entry = state.entries.get(name)
            at = entry.modify_index if entry else state.header.revision
            return Snapshot(entry, at)

        watch = EtcdWatch(
            self._endpoints,
            name,
            snapshot,
            is_prefix=False,
            limit=self.limits.document,
            wait_s=wait_s,
            contact=contact,
        )
        async with run_in_background(watch.run):
            yield watch

    @asynccontextmanager
    async def watch_prefix(
        self,
        prefix: str,
        *,
        after: int = 0,
        wait_s: float = WAIT_S,
        contact: Contact | None = None,
    ) -> AsyncIterator[EtcdWatch[Listing]]:
        """Follow all keys with a prefix, as `watch` does one; what is there comes first."""
        del after  # all is read once, and then what changes comes by itself

        def listing(state: RangeState) -> Listing:
            entries = tuple(state.entries[key] for key in sorted(state.entries))
            return Listing(entries, state.header.revision)

        watch = EtcdWatch(
            self._endpoints,
            _key(prefix),
            listing,
            is_prefix=True,
            limit=self.limits.listing,
            wait_s=wait_s,
            contact=contact,
        )
        async with run_in_background(watch.run):
            yield watch

    @asynccontextmanager
    async def watch_keys(
        self,
        keys: Iterable[str],
        *,
        wait_s: float = WAIT_S,
        contact: Contact | None = None,
    ) -> AsyncIterator[EtcdKeySetWatch]:
        """Follow many keys, whose present states come first."""
        limit = self.limits.listing
        watch = EtcdKeySetWatch(
            self._endpoints, keys, limit=limit, wait_s=wait_s, contact=contact
        )
        async with run_in_background(watch.run):
            yield watch

    @asynccontextmanager
    async def lock(
        self, key: str, value: bytes = b"", *, ttl_s: float = 10.0
    ) -> AsyncIterator[str]:
        """Have a lock while the block runs, as `kv_trio.Client.lock`."""
        async with hold_lock(self, key, value, ttl_s=ttl_s) as session:
            yield session

    # === private ===

    async def _transact(
        self, operations: Sequence[TxnOperation]
    ) -> tuple[Plan, TransactionResult]:
        check_operations(operations)
        budget = PollBudget(burst=TRIES)
        for _ in range(TRIES):
            await wait_turn(budget)
            made, revision = await self._plan(operations)
            if made.failed or not made.writes:
                return made, made.result(revision)
            limit = self.limits.document
            found = await self._endpoints.write(
                _TXN, made.message(), read_txn, limit=limit
            )
            if found.succeeded:
                return made, made.result(found.header.revision)
        raise StoreUnreachable(
            f"{self.url}: others write the same keys all the time; given up after"
            f" {TRIES} tries, and nothing is written"
        )

    async def _plan(self, operations: Sequence[TxnOperation]) -> tuple[Plan, int]:
        keys = list(dict.fromkeys(operation.key for operation in operations))
        reads = [{"request_range": {"key": encode(key)}} for key in keys]
        limit = self.limits.listing
        message = {"success": reads}
        found = await self._endpoints.read(_TXN, message, read_txn, limit=limit)
        entries = {entry.key: entry for one in found.ranges for entry in one.entries}
        before = {key: entries.get(key) for key in keys}
        return plan(operations, before), found.header.revision

    async def _lease(self, path: str, message: Mapping[str, Any]) -> tuple[str, int]:
        # Sent twice it does no harm: a lease that nobody knows of ends by itself.
        limit = self.limits.document
        return await self._endpoints.read(path, message, read_lease, limit=limit)


def _key(key: str) -> bytes:
    """Give a key as bytes.

    Raises:
        BadKey: it is empty, or has half a character.
    """
    try:
        return key.encode()
    except UnicodeEncodeError as exc:
        raise BadKey(f"{key!r} cannot be a key: it has a lone surrogate") from exc


def _lease_id(id_: str) -> str:
    """Give the id of a session as etcd has it.

    Raises:
        BadKey: it is none.
    """
    if not (id_.isascii() and id_.isdigit() and len(id_) < 20):
        raise BadKey(f"{id_!r} is no id of an etcd's lease, expected a number")
    return id_
