"""Following: the loop that a long poll needs.

It survives what happens to servers: a restart, an index that goes back (read anew from
0), an answer that does not come (the wait, its jitter and a grace), and errors (full
jitter between 50 ms and 2 s; AWS Architecture Blog, "Exponential Backoff and Jitter",
2015). It may skip states that were soon replaced; it never skips the last one, and
never gives the same one twice.
"""

from __future__ import annotations

import random
from typing import Generic, Protocol, Self, TypeVar

import attrs
import trio

from kv_trio.errors import KvError

BACKOFF_S = (0.05, 2.0)
"""The first and the longest pause between two tries."""


@attrs.define
class Contact:
    """How a watch stands with its server.

    Attributes:
        last_s: `trio.current_time()` of the last good answer; None before the first.
        error: why the last try failed; empty if it did not.
    """

    last_s: float | None = None
    error: str = ""


class State(Protocol):
    """What is followed, at one time."""

    @property
    def index(self) -> int:
        """What a blocking read waits to be passed."""

    @property
    def content(self) -> object:
        """What makes it another state than the last one."""


S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


class Ask(Protocol[S_co]):
    """A blocking read."""

    async def __call__(self, *, index: int, wait_s: float) -> S_co:
        """Read, when the index is passed or after wait_s seconds; with 0 at once."""


class Watch(Generic[S]):
    """The states of what is followed, as they come; made by `Client.watch`.

    Attributes:
        contact: how it stands with the server.
        wait_s: may be changed while it runs; the next question waits so long.
    """

    def __init__(self, ask: Ask[S], name: str, wait_s: float, contact: Contact) -> None:
        self.contact = contact
        self.wait_s = wait_s
        self._ask = ask
        self._name = name
        self._index = 0
        self._last: S | None = None
        self._pause_s = BACKOFF_S[0]

    def __repr__(self) -> str:
        return f"<Watch {self._name} index={self._index}>"

    def __aiter__(self) -> Self:
        """Give itself."""
        return self

    async def __anext__(self) -> S:
        """Wait for a state that is another than the last one given."""
        while True:
            try:
                state = await self._ask(index=self._index, wait_s=self.wait_s)
            except KvError as exc:
                await self._back_off(exc)
                continue
            self.contact.last_s = trio.current_time()
            self.contact.error = ""
            self._pause_s = BACKOFF_S[0]
            if state.index < self._index:
                self._index = 0  # the store was reset, or restored: believe nothing
                continue
            self._index = max(1, state.index)  # 0 would not wait
            if self._last is None or state.content != self._last.content:
                self._last = state
                return state

    async def _back_off(self, exc: KvError) -> None:
        self.contact.error = str(exc)
        await trio.sleep(random.random() * self._pause_s)
        self._pause_s = min(self._pause_s * 2, BACKOFF_S[1])
