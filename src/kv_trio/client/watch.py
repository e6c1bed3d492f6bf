"""Watching: the loop that a long poll needs, and the pauses between tries.

Each loop has a `PollBudget`, so that it has a rate whatever a store does.

A watch survives what happens to servers: a restart, an index that goes back (read anew
from 0), a response that does not come (the wait, its jitter and a grace), and errors. After
an error it does not know any more which store responds, and reads anew too: one that lost
its state would let a higher index wait for its whole time (linkerd PR 1332). It
may skip states that were soon replaced; it never skips the last one, and never gives
the same one twice. One file, since the loop and its pauses are read together.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

import attrs
import trio

from kv_trio.client.poll_budget import PollBudget
from kv_trio.client.results import Listing
from kv_trio.errors import KvError

BACKOFF_S = (0.05, 2.0)
"""The longest first pause between two tries, and the longest of all."""


class Backoff:
    """The pauses between the tries of one client, so that many do not come at once.

    Each is drawn evenly from 0 up to a bound, which doubles with each try until it is at
    its longest ("full jitter": AWS Architecture Blog, "Exponential Backoff and Jitter",
    2015).
    """

    def __init__(
        self,
        first_s: float = BACKOFF_S[0],
        longest_s: float = BACKOFF_S[1],
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Begin with the first bound.

        Args:
            first_s: the bound of the first pause, in seconds.
            longest_s: the highest bound.
            draw: gives a number from 0 up to 1.
        """
        self._first_s = first_s
        self._longest_s = longest_s
        self._draw = draw
        self._bound_s = first_s

    def __repr__(self) -> str:
        return f"<Backoff below {self._bound_s:g} s>"

    def reset(self) -> None:
        """Begin anew, after a try that was good."""
        self._bound_s = self._first_s

    def next_s(self) -> float:
        """Give the seconds of the next pause, and double the bound."""
        pause_s = self._draw() * self._bound_s
        self._bound_s = min(self._bound_s * 2, self._longest_s)
        return pause_s

    async def pause(self) -> None:
        """Sleep for the next pause."""
        await trio.sleep(self.next_s())


async def wait_turn(budget: PollBudget) -> None:
    """Sleep until a loop may make its next request; most often not at all."""
    pause_s = budget.next_s(trio.current_time())
    if pause_s:
        await trio.sleep(pause_s)


BUSY = 0.7
"""A thread that ran, or waited for a processor, for this share of the time has none to spare."""

SOON_S = 0.05
"""News that come sooner after each other are a series, of which it is asked what they cost."""

_SCHEDSTAT = "/proc/thread-self/schedstat"  # ns that it ran, and that it waited


def _used_s() -> float:
    """Give the seconds for which this thread ran, or waited for a processor."""
    try:
        descriptor = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ran, waited = os.read(descriptor, 100).split()[:2]
        finally:
            os.close(descriptor)
        return (int(ran) + int(waited)) / 1e9
    except (OSError, ValueError):  # no Linux, or one that does not count it
        return time.thread_time()


class OwnLoad:
    """How busy this thread is while news come."""

    def __init__(self) -> None:
        self._at = self._used_s = -math.inf

    def __repr__(self) -> str:
        return f"<OwnLoad since {self._at:.3f}>"

    def is_busy(self) -> bool:
        """Tell whether it had no pause since the last look, if that was just now."""
        at, before = time.monotonic(), self._at
        self._at = at
        if at - before > SOON_S:
            self._used_s = -math.inf
            return False
        used_s, self._used_s = self._used_s, _used_s()
        return self._used_s - used_s >= BUSY * (at - before) and used_s >= 0.0


@attrs.define
class Contact:
    """How a watch stands with its server.

    Attributes:
        last_s: `trio.current_time()` of the last good response; None before the first.
        error: why the last try failed; empty if it did not.
        failures: tries that failed, in all.
    """

    last_s: float | None = None
    error: str = ""
    failures: int = 0

    def heard(self) -> None:
        """Take that the server gave a good response."""
        self.last_s = trio.current_time()
        self.error = ""

    def failed(self, exc: Exception) -> None:
        """Take that a try failed, and why."""
        self.error = str(exc)
        self.failures += 1


class State(Protocol):
    """The state of a key, or of all keys with a prefix, at one time."""

    @property
    def index(self) -> int:
        """The number of its last change; a blocking read waits for a higher one."""

    @property
    def content(self) -> object:
        """What a watch compares to tell one state from the next."""


S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


class BlockingReader(Protocol[S_co]):
    """Reads, and waits for a change if told to."""

    async def __call__(self, *, index: int, wait_s: float) -> S_co:
        """Read once the index is passed, or after wait_s seconds; with index 0 at once."""


class Watch(Generic[S]):
    """The states of a key or a prefix, as they come; made by `Client.watch`.

    Attributes:
        contact: how it stands with the server.
        wait_s: seconds that the next blocking read waits; may be changed at any time.
    """

    def __init__(
        self,
        read: BlockingReader[S],
        name: str,
        wait_s: float,
        contact: Contact,
        *,
        after: int = 0,
    ) -> None:
        self.contact = contact
        self.wait_s = wait_s
        self._read = read
        self._name = name
        self._index = after
        self._last: S | None = None
        self._backoff = Backoff()
        self._budget = PollBudget()
        self._load = OwnLoad()
        self._asking: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<Watch {self._name} index={self._index}>"

    def ask_anew(self) -> None:
        """Read at once, as if nothing were known: the store may be another one now."""
        self._index = 0
        if self._asking is not None:
            self._asking.cancel()

    def __aiter__(self) -> Self:
        """Give the watch itself, which is its own iterator."""
        return self

    async def __anext__(self) -> S:
        """Wait for a state that is another than the last one given."""
        while True:
            await wait_turn(self._budget)
            state: S | None = None
            try:
                with trio.CancelScope() as self._asking:
                    state = await self._read(index=self._index, wait_s=self.wait_s)
            except KvError as exc:
                self.contact.failed(exc)
                self._index = 0
                await self._backoff.pause()
                continue
            finally:
                self._asking = None
            if state is None:
                continue  # it is to be asked anew
            self.contact.heard()
            self._backoff.reset()
            if state.index < self._index:
                self._index = 0  # the store was reset, or restored: read it anew
                continue
            self._index = max(1, state.index)  # 0 would not wait
            if self._last is None or state.content != self._last.content:
                self._last = state
                self._budget.brought_news(is_busy=self._load.is_busy())
                return state


class PrefixReader(Protocol):
    """Reads all keys with a prefix, and waits for changes if told to."""

    async def __call__(
        self, prefix: str, *, index: int, wait_s: float, changes: int
    ) -> Listing:
        """Read once so many keys changed after the index, or after wait_s seconds."""


class PrefixWatch(Watch[Listing]):
    """The states of all keys with a prefix, as they come; made by `Client.watch_prefix`.

    Begun after an index, the first of them is the next, or what there is after `wait_s`.

    Attributes:
        changes: of so many keys the next state is waited for; may be changed at any time. A
            Consul does not count, and gives one at the first change.
    """

    def __init__(
        self,
        read: PrefixReader,
        prefix: str,
        after: int,
        wait_s: float,
        contact: Contact,
    ) -> None:
        self.changes = 1

        async def read_prefix(*, index: int, wait_s: float) -> Listing:
            return await read(prefix, index=index, wait_s=wait_s, changes=self.changes)

        super().__init__(read_prefix, prefix, wait_s, contact, after=after)
