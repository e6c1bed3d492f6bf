"""A file that is read again when it changes; where it makes no sense, the last one holds.

So a file of rights can be written while a server runs, and a slip in it takes nothing away
from anybody. Why it does not hold is said once. What could not be read for a reason that may
pass, such as rights or descriptors that lack, is tried again though the file does not change.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import trio

from http_trio.net.process.resources import file_stamp, may_pass

CHECK_S = 1.0
"""Seconds between two looks at a file."""

T = TypeVar("T")


class FollowedFile(Generic[T]):
    """What a file says now.

    Attributes:
        path: of the file.
        value: what it said when it could be read last.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        read: Callable[[Path], T],
        *,
        fault: type[Exception],
        what: str,
        log: logging.Logger,
    ) -> None:
        """Read the file.

        Args:
            path: of the file.
            read: gives what it says; in a thread later on.
            fault: what `read` raises where it cannot, or where that makes no sense.
            what: its content is, in the plural, for the log.
            log: where it is told that they stay as they were.

        Raises:
            Exception: the fault, which it has.
        """
        self.path = Path(path)
        self._read = read
        self._fault = fault
        self._what = what
        self._log = log
        self._soon = trio.Event()
        self._stamp: object = file_stamp(self.path)  # first: it may change meanwhile
        self.value = read(self.path)

    def __repr__(self) -> str:
        return f"<FollowedFile {self.path}>"

    def look_soon(self) -> None:
        """Let `run` read the file at once, whether it has changed or not."""
        self._stamp = None
        self._soon.set()

    async def run(self, changed: Callable[[T], None]) -> None:
        """Read the file again whenever it changes, until cancelled.

        Args:
            changed: called with what it says from then on.
        """
        told = ""
        while True:
            with trio.move_on_after(CHECK_S):
                await self._soon.wait()
            self._soon = trio.Event()
            try:
                stamp = await trio.to_thread.run_sync(file_stamp, self.path)
                if stamp == self._stamp:
                    continue
                self._stamp = stamp
                self.value = await trio.to_thread.run_sync(self._read, self.path)
                told = ""
                changed(self.value)
            except self._fault as exc:
                if may_pass(exc):
                    self._stamp = None  # read again, though it does not change
                if str(exc) != told:
                    self._log.error("the %s stay as they were: %s", self._what, exc)
                told = str(exc)
            except Exception:  # a fault of ours: who is let in is not to end with it
                self._log.exception("the %s stay as they were", self._what)
