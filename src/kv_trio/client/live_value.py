"""A value that is kept current: a key's JSON as an attrs object.

    async with live(client, "limits", Limits) as limits:
        use(limits.current)
        await limits.changed()

A document that does not fit the type is reported (`invalid`, and the log) and never
becomes current; neither does an absent key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, Protocol, Self, TypeVar

import attrs
import cattrs
import trio

from kv_trio.client.background import run_in_background
from kv_trio.client.client import WAIT_S
from kv_trio.client.results import Snapshot
from kv_trio.client.watch import Contact

T = TypeVar("T")

_log = logging.getLogger(__name__)
_converter = cattrs.Converter(forbid_extra_keys=True)


class WatchesKeys(Protocol):
    """Whoever follows a key: a `Client`, or an `EtcdClient`."""

    def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Snapshot]]:
        """Give the present state, then each next one."""
        ...


@attrs.frozen
class Invalid:
    """A document that was refused.

    Attributes:
        index: the number of the change that brought it.
        faults: what is wrong, each with its path where that is known.
    """

    index: int
    faults: tuple[str, ...]


class Live(Generic[T]):
    """A value that is kept current; made by `live`.

    Attributes:
        current: the last valid one.
        index: the number of the change that brought it.
        invalid: the document that was refused since; None if none was.
        contact: how the watch stands with its server.
    """

    def __init__(self, current: T, index: int, contact: Contact) -> None:
        self.current = current
        self.index = index
        self.invalid: Invalid | None = None
        self.contact = contact
        self._given_index = index
        self._news = trio.Event()

    def __repr__(self) -> str:
        return f"<Live index={self.index} {self.current!r}>"

    async def changed(self) -> T:
        """Wait for a value that this method has not given yet, and give it.

        It misses no last value, however late it is called. Where several tasks wait,
        each has an iterator of its own: `states`.
        """
        self._given_index = await self._wait_other_than(self._given_index)
        return self.current

    def states(self) -> States[T]:
        """Give an iterator: of the current value, then of each next one as it comes."""
        return States(self)

    async def _wait_other_than(self, index: int) -> int:
        """Wait until the value is another than that of an index; give its index."""
        while self.index == index:
            await self._news.wait()
        await trio.lowlevel.checkpoint()
        return self.index

    def _take(self, current: T, index: int) -> None:
        self.current, self.index, self.invalid = current, index, None
        self._news.set()
        self._news = trio.Event()


class States(Generic[T]):
    """An iterator of a live value; it needs no closing."""

    def __init__(self, kept: Live[T]) -> None:
        self._kept = kept
        self._given_index = -1

    def __repr__(self) -> str:
        return f"<States of {self._kept!r}>"

    def __aiter__(self) -> Self:
        """Give the iterator itself."""
        return self

    async def __anext__(self) -> T:
        """Wait for a value that this iterator has not given yet."""
        self._given_index = await self._kept._wait_other_than(self._given_index)  # noqa: SLF001
        return self._kept.current


@asynccontextmanager
async def live(
    client: WatchesKeys, key: str, kind: type[T], *, wait_s: float = WAIT_S
) -> AsyncIterator[Live[T]]:
    """Keep a value current while the block runs.

    Entering waits for the first valid document, for as long as that takes.

    Args:
        client: of the store that has the key: a `Client`, or an `EtcdClient`.
        key: whose value is JSON for the type.
        kind: an attrs class; unknown fields are refused.
        wait_s: the longest time after which the store is asked again.
    """
    contact = Contact()
    async with client.watch(key, wait_s=wait_s, contact=contact) as states:
        while True:
            first = await anext(states)
            value = _read(first, kind, key)
            if not isinstance(value, Invalid) and first.entry is not None:
                break
        kept = Live(value, first.entry.modify_index, contact)

        async def follow() -> None:
            async for state in states:
                found = _read(state, kind, key)
                if isinstance(found, Invalid):
                    kept.invalid = found
                elif state.entry is not None:
                    kept._take(found, state.entry.modify_index)  # noqa: SLF001

        async with run_in_background(follow):
            yield kept


def _read(state: Snapshot, kind: type[T], key: str) -> T | Invalid:
    """Read a state; a fault is reported once, here."""
    if state.entry is None:
        faults = ["the key is absent"]
    else:
        try:
            return _converter.structure(json.loads(state.entry.value), kind)
        except ValueError as exc:
            faults = [f"no JSON: {exc}"]
        except Exception as exc:  # cattrs raises what a type's own code raises
            faults = cattrs.transform_error(exc, path=key)
    _log.warning("%s stays as it was: %s", key, "; ".join(faults))
    return Invalid(state.index, tuple(faults))
