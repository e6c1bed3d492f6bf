"""The audit log: lines are taken when a write is durable, and written by a thread.

The rule that it obeys: the store goes on whatever becomes of the file, and nothing is lost in
silence. Where a disk is full, or a reader is slow, lines wait, up to `BUFFER_BYTES`; those beyond
are lost, and counted. Both are told in the process's log when they begin and when they are over,
and what is lost by a line of its own in the file, where it is missing.

A file is opened for appending, and a write ends with a whole line. `reopen` is for rotation.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import trio

from http_trio import open_to_append, opened_again
from kv_trio.api.writing.audit_lines import (
    Audited,
    WrittenBy,
    lost_line,
    request_line,
    write_line,
)
from kv_trio.errors import BadAuditLog, KvError
from kv_trio.state.entry import Outcome

_log = logging.getLogger(__name__)

BUFFER_BYTES = 4 * 1024 * 1024
"""Of lines that wait at most while a write takes its time; further ones are lost."""

LAST_S = 2.0
"""How long the last lines have when the server ends."""

RETRY_S = 1.0
"""After a write that failed the next one is tried so much later."""


class AuditLog:
    """A log of all writes, in a file or on standard output.

    Args:
        path: of the file; None for standard output.
        clock: the time, as `time.time`.

    Attributes:
        path: as given.
        written: lines that are with the kernel.
        lost: lines that never will be: too many waited.

    Raises:
        BadAuditLog: the file cannot be opened.
    """

    def __init__(
        self, path: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self.written = self.lost = 0
        self._told = 0  # of the lost ones, by a line in the file
        self._clock = clock
        self._lines: list[bytes] = []
        self._size = 0
        self._news = trio.Event()
        self._writing = threading.Lock()
        self._reopen = False
        self._torn = False
        self._trouble = ""
        try:
            self._fd = os.dup(1) if path is None else open_to_append(path)
        except OSError as exc:
            raise BadAuditLog(f"cannot open the audit log {path}: {_why(exc)}") from exc

    def __repr__(self) -> str:
        return f"<AuditLog {self.path or '-'} {self.written} written {self.lost} lost>"

    def record(
        self, sender: WrittenBy, operation: Audited, outcome: Outcome | KvError
    ) -> None:
        """Take the line of a write that is durable, or was not done."""
        self._take(write_line(self._clock(), sender, operation, outcome))

    def record_request(self, sender: WrittenBy, asked: str, why: str) -> None:
        """Take the line of a request that is no write of keys, or that was refused."""
        self._take(request_line(self._clock(), sender, asked, why))

    def reopen(self) -> None:
        """Write what follows to a new file of the same name: the old one was moved.

        Where that fails, the old file goes on.
        """
        self._reopen = self.path is not None
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled; then write the rest, for `LAST_S` at most."""
        try:
            while True:
                await self._news.wait()
                await self._flush()
                if self._trouble:
                    await trio.sleep(RETRY_S)
        finally:
            with trio.move_on_after(LAST_S, shield=True):
                await self._flush()
                os.close(self._fd)
            if self._lines:
                self.lost += len(self._lines)
                _log.error("the last %d lines of the audit log are lost", self.lost)

    def _take(self, line: bytes) -> None:
        if self._size > BUFFER_BYTES:
            if self.lost == self._told:
                _log.error("lines of the audit log are lost: too many wait")
            self.lost += 1
            return
        self._lines.append(line)
        self._size += len(line)
        self._news.set()

    async def _flush(self) -> None:
        lines, lost = tuple(self._lines), self.lost
        untold = (
            lost_line(self._clock(), lost - self._told) if lost > self._told else b""
        )
        self._news = trio.Event()
        # Abandoned, since a write that hangs must not keep the server from ending.
        whole, is_told = await trio.to_thread.run_sync(
            self._write, untold, lines, abandon_on_cancel=True
        )
        self.written += whole
        self._size -= sum(map(len, lines[:whole]))
        del self._lines[:whole]
        if self._lines:
            self._news.set()
        if is_told:
            self._told = lost

    # === in the thread ===

    def _write(self, untold: bytes, lines: tuple[bytes, ...]) -> tuple[int, bool]:
        """Write lines; give how many are with the kernel, and whether the first is."""
        with self._writing:  # a batch that was abandoned may still be at it
            if self._reopen:
                self._reopen = False
                self._open_again()
            first = (b"\n" if self._torn and lines else b"") + untold
            data, written = first + b"".join(lines), 0
            try:
                while written < len(data):
                    written += os.write(self._fd, data[written:])
            except OSError as exc:
                self._failed(_why(exc))
            else:
                self._recovered()
            if written:
                self._torn = data[written - 1] != 0x0A
            whole = data.count(b"\n", len(first), max(len(first), written))
            return whole, bool(untold) and written >= len(first)

    def _open_again(self) -> None:
        assert self.path is not None, "standard output is not opened by us"
        fd = opened_again("the audit log", self.path, self._fd)
        if fd is not None:
            self._fd, self._torn = fd, False

    def _failed(self, why: str) -> None:
        if why != self._trouble:  # once, not for each try
            self._trouble = why
            _log.error(
                "the audit log cannot be written: %s; %d bytes of lines wait at most, and"
                " those beyond are lost",
                *(why, BUFFER_BYTES),
            )

    def _recovered(self) -> None:
        if self._trouble:
            self._trouble = ""
            _log.warning(
                "the audit log is written again; %d lines of it were lost in all",
                self.lost,
            )


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
