"""Following a range of keys in an etcd: a stream for speed, and reads for the truth.

    stream opened -> created -> whole range read -> events, and a look every LOOK_S

A stream alone is not believed, for it fails in silence: compacted, on a member that hangs or
is cut off, behind a proxy that forgot it, after a restore, for a token that ran out. So

- each opening reads the whole range *after* the stream has begun, and nothing counts before
  that read was answered; a stream begins with now, so there is no revision that could be
  compacted, or lie in the future;
- every `LOOK_S` the same member is asked for its revision by a read of the quorum. One that
  does not respond, or has lost its leader, is left for the next one. One whose revision moved
  is asked for what changed, so what the stream has swallowed is there by the next look;
- after `wait_s` the stream is opened anew.

What was read at a revision is not undone by an event that is older. A store that has gone
back, or is another one, is read whole. It is a task beside the block that watches; the
states that it gives may skip what was soon replaced, never the last.

One file, since a stream, its looks and what they hold back are one state.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

import trio

from kv_trio.client.poll_budget import PollBudget
from kv_trio.client.transport import Transport
from kv_trio.client.watch import Backoff, Contact, wait_turn
from kv_trio.errors import KvError, StoreUnreachable, UnexpectedResponse
from kv_trio.etcd.endpoints import READ_S, Endpoints
from kv_trio.etcd.range_state import Lines, RangeState
from kv_trio.etcd.wire import (
    RangeResult,
    WatchMessage,
    range_of,
    read_range,
    read_watch_message,
)
from kv_trio.state.entry import Entry

LOOK_S = 2.0
"""Seconds between two looks at the member that sends the changes."""

RANGE = "/v3/kv/range"
_WATCH = "/v3/watch"

S = TypeVar("S")


class EtcdWatch(Generic[S]):
    """The states of a range, as they come; `run` runs beside who takes them.

    Attributes:
        contact: how it stands with the etcd.
        wait_s: seconds after which the stream is opened anew, and all read again.
        changes: not counted here: a state that is not the last one costs no read.
        opened: how often that was so.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        name: bytes,
        view: Callable[[RangeState], S],
        *,
        is_prefix: bool,
        limit: int,
        wait_s: float,
        contact: Contact | None,
    ) -> None:
        """Begin with nothing known.

        Args:
            endpoints: of the etcd.
            name: the key, or the prefix.
            view: makes what is given of what is known.
            is_prefix: whether it is one.
            limit: bytes of what is read, at most.
            wait_s: see above.
            contact: kept up to date.
        """
        self.contact = contact or Contact()
        self.wait_s = wait_s
        self.changes = 1
        self.opened = 0
        self._endpoints = endpoints
        self._name = name
        self._is_prefix = is_prefix
        self._view = view
        self._limit = limit
        self._state = RangeState()
        self._is_known = False
        self._held: list[WatchMessage] | None = None  # while the range is read
        self._given: S | None = None
        self._news = trio.Event()
        self._opening = trio.CancelScope()
        self._backoff = Backoff()
        self._budget = PollBudget()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} {self._state!r}>"

    def __aiter__(self) -> Self:
        """Give the watch itself, which is its own iterator."""
        return self

    async def __anext__(self) -> S:
        """Wait for a state that is another than the last one given."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if not self._is_known:
                continue
            state = self._view(self._state)
            if self._is_other(state, self._given):
                self._given = state
                return state

    async def run(self) -> None:
        """Keep what is known up to date, until cancelled."""
        while True:
            await wait_turn(self._budget)
            member = self._endpoints.member
            error: KvError | None = None
            with trio.CancelScope() as self._opening:
                error = await self._follow_once(member)
            if error is None:
                continue
            if isinstance(error, StoreUnreachable | UnexpectedResponse):
                self._endpoints.leave(member)
            self.contact.failed(error)
            await self._backoff.pause()

    def _is_other(self, state: S, last: S | None) -> bool:
        """Tell whether a state says something else than the last that was given."""
        return last is None or getattr(state, "content", 0) != getattr(
            last, "content", 1
        )

    def _follow_range(self, name: bytes) -> None:
        """Follow all keys with another prefix, from now on."""
        self._name = name
        self._is_known = False
        self._state = RangeState()
        self._opening.cancel()

    # === one stream ===

    async def _follow_once(self, member: Transport) -> KvError | None:
        """Open one stream and follow it to its end; give what went wrong, if anything."""
        failed: KvError | None = None
        created = trio.Event()
        self._held = []

        async def read_stream(scope: trio.CancelScope) -> None:
            nonlocal failed
            try:
                await self._read_stream(member, created)
            except KvError as exc:
                failed = failed or exc
                scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_stream, nursery.cancel_scope)
            try:
                await self._look_on(member, created)
            except KvError as exc:
                failed = failed or exc
            nursery.cancel_scope.cancel()
        return failed

    async def _read_stream(self, member: Transport, created: trio.Event) -> None:
        """Take what the stream says; it ends by an error only."""
        message = {"create_request": range_of(self._name, is_prefix=self._is_prefix)}
        lines = Lines(self._limit)
        async with self._endpoints.stream(member, _WATCH, message) as parts:
            async for part in parts:
                for line in lines.take(part):
                    found = read_watch_message(member.url + _WATCH, line)
                    if found.is_end:
                        reason = found.reason or "it gave no reason"
                        await self._endpoints.renew_token(member, reason)
                        raise StoreUnreachable(f"{member.url}: no watch: {reason}")
                    if found.created:
                        created.set()
                    if self._held is not None:
                        self._held.append(found)
                    else:
                        self._take(found)
        raise StoreUnreachable(f"{member.url}: the watch ended")

    async def _look_on(self, member: Transport, created: trio.Event) -> None:
        """Read the range once the stream has begun, and look now and again."""
        opened_at = trio.current_time()
        with trio.move_on_after(READ_S):
            await created.wait()
        if not created.is_set():
            raise StoreUnreachable(f"{member.url}: no watch in {READ_S:g} s")
        await self._look(member, is_first=True)
        self.opened += 1
        while (left_s := opened_at + self.wait_s - trio.current_time()) > 0:
            await trio.sleep(min(LOOK_S, left_s))
            await self._look(member)

    async def _look(self, member: Transport, *, is_first: bool = False) -> None:
        """See that the member is well, and that nothing was missed."""
        self._held = self._held or []  # or an event could be older than what is read
        changed: bool | None = None
        state = self._state
        if not is_first:
            found = await self._read(member, count_only=True)
            if state.is_before(found.header):
                if found.header.revision == state.header.revision:
                    changed = False
                else:
                    newer = str(state.header.revision + 1)
                    found = await self._read(member, min_mod_revision=newer)
                    changed = state.take_changes(found)
        if changed is None:  # it is the first, or the store was reset, or a key is gone
            found = await self._read(member)
            if state is not self._state:
                return  # another range is to be followed meanwhile
            changed = state.take_all(found)
        self._heard()
        if changed or not self._is_known:
            self._is_known = True
            self._news.set()
        held, self._held = self._held, None
        for message in held:
            self._take(message)

    async def _read(self, member: Transport, **more: Any) -> RangeResult:
        message = range_of(self._name, is_prefix=self._is_prefix) | more
        return await self._endpoints.read(
            RANGE, message, read_range, limit=self._limit, member=member
        )

    def _take(self, message: WatchMessage) -> None:
        self._heard()
        if self._state.take_events(message.header, message.events):
            self._news.set()

    def _heard(self) -> None:
        self.contact.heard()
        self._backoff.reset()


class EtcdKeySetWatch(EtcdWatch[Mapping[str, Entry | None]]):
    """The changes of a set of keys: one watch of the prefix that they share."""

    def __init__(
        self,
        endpoints: Endpoints,
        keys: Iterable[str],
        *,
        limit: int,
        wait_s: float,
        contact: Contact | None,
    ) -> None:
        """Begin with keys; the arguments are those of `EtcdWatch`."""
        self._keys = tuple(sorted(set(keys)))
        self._has_keys = trio.Event()
        if self._keys:
            self._has_keys.set()
        self._told: dict[str, object] = {}  # what was given of each last
        super().__init__(
            endpoints,
            self._prefix(),
            self._changes,
            is_prefix=True,
            limit=limit,
            wait_s=wait_s,
            contact=contact,
        )

    async def run(self) -> None:
        """Keep what is known up to date, as soon as there is a key, until cancelled."""
        await self._has_keys.wait()
        await super().run()

    def follow(self, keys: Iterable[str]) -> None:
        """Follow these keys from now on; the states of new ones come next."""
        found = tuple(sorted(set(keys)))
        if found == self._keys:
            return
        if found:
            self._has_keys.set()
        self._keys = found
        self._told = {key: self._told[key] for key in found if key in self._told}
        prefix = self._prefix()
        if prefix != self._name:
            self._follow_range(prefix)
        self._news.set()

    def _prefix(self) -> bytes:
        return os.path.commonprefix(self._keys).encode()  # noqa: RUF071  # of keys

    def _changes(self, state: RangeState) -> Mapping[str, Entry | None]:
        changes: dict[str, Entry | None] = {}
        for key in self._keys:
            entry = state.entries.get(key.encode())
            # Its number alone is not enough: an etcd that was restored gives it twice.
            at = entry and (entry.modify_index, hash(entry.value))
            if self._told.get(key, self) != at:
                self._told[key] = at
                changes[key] = entry
        return changes

    def _is_other(self, state: Mapping[str, Entry | None], _: object) -> bool:
        return bool(state)
