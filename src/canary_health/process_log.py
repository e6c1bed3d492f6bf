"""The log of a process that serves: lines for people or JSON, on standard error.

Modules write to the standard library's loggers, with fields beside the words, so that a
program that imports these packages keeps its own logging. Only the commands set it up,
here, by structlog, which nobody else imports. Each line has the time in UTC, the level, the event in words, what the
process is (service, id, worker) as far as that is known, and the fields of the event.

The rules that it obeys. What peers sent stays inside its value: a line of text holds no
control character, whoever wrote it, and a traceback is indented. A traceback has no values
of variables, of which one may be a secret. And as with the access log, nothing waits for
whoever reads: a thread writes, at most `BUFFER_BYTES` wait for it, and lines beyond that, or
that the file does not take, are counted, and told once there is room again. One file, since what a line is and how it is
written are set up together.
"""

from __future__ import annotations

import atexit
import enum
import logging
import sys
import threading
import traceback
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from structlog.types import EventDict, Processor, WrappedLogger

BUFFER_BYTES = 1024 * 1024
"""Of lines that wait at most while standard error takes its time."""

PAUSE_S = 0.05
"""Between two writes at least, so that many lines in a row wake the thread only now and then;
the first of them is written at once."""

LAST_S = 1.0
"""How long the last lines have when the process ends."""

FIRST = ("timestamp", "level", "event", "service", "id", "worker")
"""The fields that come first in a line of JSON, in this order."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]
_log = logging.getLogger(__name__)


class LogForm(enum.Enum):
    """How the process log is written."""

    TEXT = "text"
    JSON = "json"


class ProcessLog(logging.Handler):
    """Writes records to standard error, from a thread.

    Attributes:
        dropped: lines that were lost.
    """

    def __init__(self, to: TextIO | None = None) -> None:
        """Begin to write to a stream, by default to standard error."""
        super().__init__()
        self.dropped = 0
        self._to = to
        self._lines: deque[str] = deque()
        self._size = 0
        self._told = 0
        self._is_writing = False
        self._is_idle = False  # whether the thread waits for lines
        self._flushes = 0  # who waits until all is written
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; it is written soon."""
        try:
            _spread(record)
            line = self.format(record)
        except Exception as exc:  # a line that is wrong is said, and ends nothing
            record.msg, record.args = f"{record.msg!r} cannot be told: {exc!r}", ()
            record.exc_info = None
            line = self.format(record)
        with self._news:
            if self._size > BUFFER_BYTES:
                self.dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            if self._is_idle:
                self._is_idle = False
                self._news.notify_all()

    def flush(self) -> None:
        """Wait until what was taken is written, for `LAST_S` at most."""
        with self._news:
            self._flushes += 1
            self._news.notify_all()
            self._news.wait_for(lambda: not (self._lines or self._is_writing), LAST_S)
            self._flushes -= 1

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._news:
                self._is_writing = False
                self._news.notify_all()
                self._news.wait_for(lambda: self._flushes > 0, pause_s)
                pause_s = PAUSE_S
                self._is_idle = True
                self._news.wait_for(lambda: bool(self._lines))
                self._is_idle = False
                lines, self._is_writing = list(self._lines), True
                lines += self._dropped_line()
                self._lines.clear()
                self._size = 0
            try:
                to = self._to or sys.stderr
                to.write("".join(f"{line}\n" for line in lines))
                to.flush()
            except (OSError, ValueError):  # ValueError: it is closed
                with self._news:
                    self.dropped += len(lines)

    def _dropped_line(self) -> list[str]:
        """Give a line that tells what was lost since the last one; none if nothing was."""
        lost = self.dropped - self._told
        if not lost:
            return []
        self._told += lost
        told = f"{lost} lines of this log were lost"
        fields = {"msg": told, "name": __name__, "levelno": logging.WARNING}
        fields |= {"levelname": "WARNING", "kind": "log", "lost": lost}
        return [self.format(logging.makeLogRecord(fields))]


_known: dict[str, str | int] = {}
_current: ProcessLog | None = None
_form = LogForm.TEXT


def know(**fields: str | int) -> None:
    """Have these fields in each line from now on, unless it says otherwise itself."""
    _known.update(fields)


def dropped() -> int:
    """Give how many lines of the log were lost; 0 where it is not set up here."""
    return 0 if _current is None else _current.dropped


def fail_as_json(reason: str, status: int = 1) -> None:
    """Where the log is JSON, tell why the command ends, and end it; else do nothing."""
    if _current is None:
        return
    if _form is LogForm.JSON:
        _log.critical("%s", reason, extra={"status": status})
        sys.exit(status)
    _current.flush()


def configure(
    form: LogForm, *, to: TextIO | None = None, **fields: str | int
) -> ProcessLog:
    """Send log records to standard error, with these fields; see `know`.

    Args:
        form: of the lines.
        to: another stream than standard error.
        fields: that each line has.
    """
    global _current, _form  # noqa: PLW0603  # a process has one log
    _form = form
    _known.clear()
    know(**fields)
    import structlog  # noqa: PLC0415  # only who serves needs it

    first: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _current = ProcessLog(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[
                *(_as_json() if form is LogForm.JSON else _as_text()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _tell_end
    atexit.register(handler.flush)
    return handler


def _as_json() -> list[Processor]:
    import structlog  # noqa: PLC0415
    from structlog.tracebacks import ExceptionDictTransformer  # noqa: PLC0415

    transformer = ExceptionDictTransformer(show_locals=False)
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _arranged,
        structlog.processors.ExceptionRenderer(transformer),
        structlog.processors.JSONRenderer(),
    ]


def _as_text() -> list[Processor]:
    import structlog  # noqa: PLC0415

    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _arranged,
        _plain,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=_write_traceback
        ),
    ]


def _arranged(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add what is known of the process, and put first what comes first."""
    found = {**_known, **event}
    first = {name: found.pop(name) for name in FIRST if name in found}
    return {**first, **found}


def _spread(record: logging.LogRecord) -> None:
    """Have what stands in the words as values too, with the words that stay the same."""
    if isinstance(record.args, tuple) and record.args and record.msg != "%s":
        record.template = record.msg
        record.values = [
            one if isinstance(one, (int, float)) else str(one) for one in record.args
        ]


def _plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave nothing that moves a cursor or begins a line."""
    return {
        name: escaped(value) if isinstance(value, str) else value
        for name, value in event.items()
        if name not in ("template", "values")  # they are in the words
    }


def escaped(text: str) -> str:
    """Give text as one line that any terminal may show.

    >>> print(escaped("a\\nb\\x1b[2J"))
    a\\nb\\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def _write_traceback(to: TextIO, exc_info: _ExcInfo) -> None:
    """Write a traceback so that none of its lines looks like one of the log."""
    text = "".join(traceback.format_exception(*exc_info))
    to.write("\n" + "\n".join(f"    {escaped(line)}" for line in text.splitlines()))


def _tell_end(
    kind: type[BaseException], exc: BaseException, trace: TracebackType | None
) -> None:
    """Tell what ended the process as everything else is told."""
    if issubclass(kind, Exception):
        _log.critical("ended by a fault of its own", exc_info=(kind, exc, trace))
    else:
        sys.__excepthook__(kind, exc, trace)
