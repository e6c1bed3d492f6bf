"""A store that is only values: as quick as the test, on its clock, and down when told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import NoReturn

import attrs
import trio

from kv_trio import (
    Entry,
    Listing,
    Snapshot,
    StoreUnreachable,
    TransactionResult,
    TxnOperation,
    WriteResult,
)
from kv_trio.etcd.transactions import plan


class ModelStore:
    """A `KeyStore` of which only what the tests need is there.

    Attributes:
        faults: so many of the next requests fail; every other one after it took effect.
    """

    url = "http://model"
    read_only = ""

    def __init__(self) -> None:
        self.faults = 0
        self.entries: dict[bytes, Entry] = {}
        self._index = 10
        self._ids = count(1)
        self._changed = trio.Event()

    async def get(self, key: str) -> Snapshot:
        await self._arrive()
        return Snapshot(self.entries.get(key.encode()), self._index)

    async def list(self, prefix: str) -> Listing:
        await self._arrive()
        found = sorted(key for key in self.entries if key.startswith(prefix.encode()))
        return Listing(tuple(self.entries[key] for key in found), self._index)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        cas: int | None = None,
        acquire: str | None = None,
        release: str | None = None,
    ) -> WriteResult:
        verb = "set" if cas is None else "cas"
        session = acquire or release or ""
        if session:
            verb = "lock" if acquire else "unlock"
        operation = TxnOperation(verb, key, value, index=cas or 0, session=session)
        result = await self.transact([operation])
        return WriteResult(result.done, self._index)

    async def delete(self, key: str, *, cas: int | None = None) -> bool:
        verb = "delete" if cas is None else "delete-cas"
        return (await self.transact([TxnOperation(verb, key, index=cas or 0)])).done

    async def transact(self, operations: Sequence[TxnOperation]) -> TransactionResult:
        await self._arrive()
        made = plan(operations, {o.key: self.entries.get(o.key) for o in operations})
        if made.failed:
            return TransactionResult(False, failed=made.failed)
        if made.writes:
            self._index += 1
            for key, entry in made.after.items():
                if entry is made.before[key]:
                    continue
                if entry is None:
                    del self.entries[key]
                else:
                    created = entry.create_index or self._index
                    self.entries[key] = attrs.evolve(
                        entry, create_index=created, modify_index=self._index
                    )
            self._tell()
        if self.faults:
            self.faults -= 1
            raise StoreUnreachable("the response was lost")
        return made.result(self._index)

    @asynccontextmanager
    async def watch(self, key: str, **_: object) -> AsyncIterator[_Watch]:
        yield _Watch(self, key.encode())
        await trio.lowlevel.checkpoint()

    def watch_prefix(self, prefix: str, **_: object) -> NoReturn:
        raise AssertionError(f"no command of the model follows a prefix: {prefix}")

    def lock(self, key: str, value: bytes = b"", **_: object) -> NoReturn:
        raise AssertionError(f"no command of the model locks: {key}, {value!r}")

    async def create_session(self, name: str, ttl_s: float, *, deletes: bool) -> str:
        await self._arrive()
        assert deletes, (name, ttl_s)
        return self.new_session()

    async def renew_session(self, id_: str) -> bool:
        await self._arrive()
        return bool(id_)

    async def destroy_session(self, id_: str) -> None:
        await self._arrive()
        self.end_session(id_)

    def new_session(self) -> str:
        return f"session-{next(self._ids)}"

    def end_session(self, session: str) -> None:
        """Delete what it holds, as a store does when its time is over."""
        self.entries = {k: e for k, e in self.entries.items() if e.session != session}
        self._index += 1
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _arrive(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.faults % 2:
            self.faults -= 1
            raise StoreUnreachable("gone")

    async def _wait_changed(self) -> None:
        await self._changed.wait()


class _Watch:
    wait_s = 30.0

    def __init__(self, store: ModelStore, key: bytes) -> None:
        self._store, self._key = store, key
        self._given: int | None = None

    def __aiter__(self) -> _Watch:
        return self

    async def __anext__(self) -> Snapshot:
        while True:
            entry = self._store.entries.get(self._key)
            at = entry.modify_index if entry else 0
            if at != self._given:
                self._given = at
                await trio.lowlevel.checkpoint()
                return Snapshot(entry, at)
            await self._store._wait_changed()  # it is its own
