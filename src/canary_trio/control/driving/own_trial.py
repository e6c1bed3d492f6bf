"""What one proxy of the fleet tries: another document in place of the store's.

The rule that it obeys: the store's document is taken first, and is what is remembered on
disk; the one that is tried comes after it, once, and only as long as it is tried over that
very revision. What a share of the users tries runs beside the store's, on every proxy. Where it
cannot run here, that is reported, and the store's goes on. One thing is installed at a time,
so the last to be asked for is the one that runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.driving.unconfirmed import Unconfirmed
from kv_trio import Entry

FOLLOWS_S = 0.1
"""So long what a share tries goes on once nothing waits: if it was confirmed, nobody goes back."""


class Take(Protocol):
    """Runs a document, or refuses it and says so."""

    async def __call__(
        self, document: bytes, revision: int, *, is_trial: bool = False
    ) -> None:
        """Run it; one that is tried is not remembered."""


class TryBeside(Protocol):
    """Lets a share of the users try a document beside the one that runs."""

    @property
    def revision(self) -> int:
        """That is tried so; 0 for none."""

    async def follow(self, trial: PendingChange | None) -> None:
        """Try it, unless that is so, or it was refused; None to try none any more."""


class OwnTrial:
    """Which document a proxy runs: the store's, or one that it tries.

    Args:
        unconfirmed: what waits of the service.
        proxy_id: the proxy's name.
        take: runs a document.
        beside: what a share of the users tries.
        running: gives the revision that runs.
        refused: gives the revision that was refused last; 0 for none.
    """

    def __init__(
        self,
        unconfirmed: Unconfirmed,
        proxy_id: str,
        *,
        take: Take,
        beside: TryBeside,
        running: Callable[[], int],
        refused: Callable[[], int],
    ) -> None:
        self._unconfirmed = unconfirmed
        self._id = proxy_id
        self._take, self._beside = take, beside
        self._running, self._refused = running, refused
        self._installing = trio.Lock()
        self._document: Entry | None = None  # as the store has it
        self._tried = 0  # the revision that is tried here; 0 for none

    def __repr__(self) -> str:
        return f"<OwnTrial of {self._id} tries={self._tried}>"

    @property
    def over(self) -> int:
        """The revision in place of which another document is tried; 0 for none."""
        document = self._document
        is_tried = self._tried and self._tried == self._running()
        return document.modify_index if document is not None and is_tried else 0

    @property
    def beside(self) -> int:
        """The revision that a share of the users tries beside the one that runs; 0 for none."""
        return self._beside.revision

    async def apply(self, document: Entry) -> None:
        """Take the store's document, and then what is tried over it."""
        async with self._alone():
            self._document = document
            trial = self._trial()
            if trial is None or self._running() != trial.index:
                await self._take(document.value, document.modify_index)
                self._tried = 0
                await self._follow()

    async def look(self) -> None:
        """Try what is to be tried, or go back, as the store says now."""
        if self.beside and self._any() is None:
            await trio.sleep(
                FOLLOWS_S
            )  # if it is confirmed the document is about to come
        async with self._alone():
            await self._follow()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Install nothing else meanwhile; where nobody does, at once.

        To take a lock that is free gives others a turn, which takes a millisecond where the
        proxy is busy, and so long the change is late.
        """
        try:
            self._installing.acquire_nowait()
        except trio.WouldBlock:
            await self._installing.acquire()
        try:
            yield
        finally:
            self._installing.release()

    def _trial(self) -> PendingChange | None:
        """Give what is to be tried in place of the store's document; None for nothing."""
        trial = self._any()
        return None if trial is None or trial.share else trial

    def _any(self) -> PendingChange | None:
        document = self._document
        if document is None:
            return None
        return self._unconfirmed.trial_of(self._id, document.modify_index)

    async def _follow(self) -> None:
        trial, before, document = self._trial(), self._tried, self._document
        self._tried = 0 if trial is None else trial.index
        if self._tried != before and document is not None:
            if trial is not None:
                await self._take(trial.document.encode(), trial.index, is_trial=True)
            elif before in (self._running(), self._refused()):
                await self._take(document.value, document.modify_index)
        found = self._any()
        is_live = document is not None and self._running() == document.modify_index
        await self._beside.follow(found if found and found.share and is_live else None)
