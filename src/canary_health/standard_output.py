"""Standard output whose reader may leave, as in `canary bench URL | head -1`, or that is full.

The rule that it obeys: a command whose reader has left ends as other tools do, without a word
and with the status that a shell gives to the signal SIGPIPE, whatever wrote: `click`, a table,
bytes, a task. A full disk is told, and has a status of its own. So no status that says
something of an answer comes from where it was written to. It unwinds, so what was started is
ended; the signal itself would leave all of that.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_LEFT = 128 + 13
"""The exit status of a command whose output nobody reads any more."""

NOT_WRITTEN = 74
"""The exit status where the output cannot be written (`EX_IOERR` of sysexits.h)."""


class OutputLost(SystemExit):
    """The output goes nowhere: the command ends.

    It is no `OSError`, so nobody takes it for a fault of another file or of a socket.
    """


class _Output(io.FileIO):
    """A file that tells once that it takes nothing any more, and takes it from then on."""

    is_lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, unless it is lost."""
        if not self.is_lost:
            try:
                return super().write(data)
            except OSError as exc:
                self.is_lost = True  # what is still in buffers goes nowhere
                if isinstance(exc, BrokenPipeError):
                    raise OutputLost(READER_LEFT) from None
                with contextlib.suppress(OSError):
                    sys.stderr.write(f"cannot write the output: {exc.strerror}\n")
                raise OutputLost(NOT_WRITTEN) from None
        return memoryview(data).nbytes


@contextlib.contextmanager
def ending_with_its_output() -> Iterator[None]:
    """End the command, while the block runs, if its output goes nowhere.

    Raises:
        OutputLost: it does.
    """
    before = sys.stdout
    raw = _Output(before.fileno(), "w", closefd=False)
    through = bool(getattr(before, "write_through", False))
    sys.stdout = io.TextIOWrapper(
        raw if through else io.BufferedWriter(raw),
        before.encoding,
        before.errors,
        line_buffering=bool(getattr(before, "line_buffering", False)),
        write_through=through,
    )
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BaseExceptionGroup as group:  # of its tasks
        lost = _lost_in(group)
        if lost is None:
            raise
        raise lost from None
    finally:
        sys.stdout = before


def _lost_in(group: BaseExceptionGroup) -> OutputLost | None:
    found: BaseException | None = group.subgroup(OutputLost)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert found is None or isinstance(found, OutputLost)
    return found
