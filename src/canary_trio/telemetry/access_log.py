"""The access log: lines are gathered in the event loop and written by a thread.

    record -> lines in memory -> (100 ms, or 256 KiB) -> one write in a thread

The rule that it obeys: whatever becomes of the file, the traffic does not notice. A
disk that is full, a pipe that is closed and a reader that is slow cost lines, which are
counted as dropped; they never cost a wait. So these lines do not go through `logging`
or structlog, which the rest of the program uses: those format and write in the caller,
at twenty times the cost, and raise there what the disk says.

A file is opened for appending, so that several processes may share it, and a batch ends
with a whole line. `reopen` is for log rotation.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from canary_trio.errors import CanaryError
from canary_trio.telemetry.access_log_format import LineForm, formatter
from canary_trio.telemetry.task_keeper import TaskKeeper
from http_trio import open_to_append, opened_again

if TYPE_CHECKING:
    from canary_trio.telemetry.decision_labels import DecisionLabels
    from http_trio import Exchange

_log = logging.getLogger(__name__)

FLUSH_S = 0.1
"""How long a line waits for others at most."""

BATCH_BYTES = 256 * 1024
"""Lines are written as soon as so many bytes wait."""

BUFFER_BYTES = 4 * 1024 * 1024
"""Bytes that wait at most while a write takes its time; further lines are dropped."""

LAST_S = 1.0
"""How long the last lines have when the program ends."""


class BadLog(CanaryError):
    """The access log cannot be opened. The operator's fault."""


class AccessLog:
    """A log of requests, in a file or on standard output.

    Args:
        path: of the file; None for standard output.
        form: of the lines.

    Attributes:
        path: as given.
        written: lines that are with the kernel.
        trouble: why the last write failed; empty if it did not.

    Raises:
        BadLog: the file cannot be opened.
    """

    def __init__(self, path: Path | None, form: LineForm = LineForm.JSON) -> None:
        self.written = 0
        self.path = path
        self._format = formatter(form)
        self._lines: list[bytes] = []
        self._size = 0
        self._news = trio.Event()
        self._full = trio.Event()
        self._writing = threading.Lock()
        self._reopen = False
        self._torn = False
        self._refused = self._lost = 0  # counted by the event loop, and by the thread
        self.trouble = ""
        try:
            self._fd = 1 if path is None else open_to_append(path)
        except OSError as exc:
            raise BadLog(f"cannot open the access log {path}: {_why(exc)}") from exc

    def __repr__(self) -> str:
        return f"<AccessLog {self.path or '-'} {self.written} written>"

    @property
    def dropped(self) -> int:
        """Lines that were lost: too many waited, or the file took no more."""
        return self._refused + self._lost

    def record(
        self,
        exchange: Exchange,
        labels: DecisionLabels,
        status: int,
        seconds: float,
        *,
        server: str,
        request_id: bytes,
        retries: int,
        failure: str = "",
        grpc_status: int | None = None,
        user: bytes = b"",
    ) -> None:
        """Take the line of a request that has ended."""
        size = self._size
        if size > BUFFER_BYTES:
            self._refused += 1
            return
        line = self._format(
            time.time(),
            exchange,
            labels,
            status,
            seconds,
            server=server,
            request_id=request_id,
            retries=retries,
            failure=failure,
            grpc_status=grpc_status,
            user=user,
        )
        if not size:
            self._news.set()
        self._lines.append(line)
        self._size = size = size + len(line)
        if size > BATCH_BYTES:
            self._full.set()

    def reopen(self) -> None:
        """Write what follows to a new file of the same name: the old one was moved.

        Where that fails, the old file goes on.
        """
        self._reopen = self.path is not None
        self._news.set()

    async def run(self, tasks: TaskKeeper | None = None) -> None:
        """Write until cancelled; then write the rest, for `LAST_S` at most.

        Args:
            tasks: keeps it going, and counts its failures.
        """
        try:
            await (tasks or TaskKeeper()).run("access_log", self._write_batches)
        finally:
            with trio.move_on_after(LAST_S, shield=True):
                await self._flush()
                self._close()

    async def _write_batches(self) -> None:
        while True:
            await self._news.wait()
            with trio.move_on_after(FLUSH_S):
                await self._full.wait()
            await self._flush()

    async def _flush(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        self._news, self._full = trio.Event(), trio.Event()
        # Abandoned, since a write that hangs must not keep the program from ending.
        await trio.to_thread.run_sync(self._write, lines, abandon_on_cancel=True)

    def _close(self) -> None:
        if self.path is not None:
            fd, self._fd = self._fd, -1  # what comes after the end is dropped
            os.close(fd)

    # === in the thread ===

    def _write(self, lines: list[bytes]) -> None:
        with self._writing:  # a batch that was abandoned may still be at it
            if self._reopen:
                self._reopen = False
                self._open_again()
            data = b"".join(lines)
            written = 0
            try:
                if self._torn and data:
                    os.write(self._fd, b"\n")
                    self._torn = False
                while written < len(data):
                    written += os.write(self._fd, data[written:] if written else data)
            except OSError as exc:
                self.trouble = _why(exc)
            else:
                self.trouble = "" if data else self.trouble
            whole = (
                len(lines) if written == len(data) else data.count(b"\n", 0, written)
            )
            self._torn |= 0 < written < len(data) and data[written - 1] != 0x0A
            self.written += whole
            self._lost += len(lines) - whole

    def _open_again(self) -> None:
        assert self.path is not None, "standard output is not opened by us"
        fd = opened_again("the access log", self.path, self._fd)
        if fd is not None:
            self._fd, self._torn = fd, False


def _why(exc: OSError) -> str:
    return exc.strerror or str(exc)
