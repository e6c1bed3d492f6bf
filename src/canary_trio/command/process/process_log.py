"""The log of the process: what happens to the proxy itself, through structlog.

Modules write to the standard library's loggers, so that a program that imports this
package keeps its own logging. Only the command sets it up, here: lines for people, or
JSON for programs, on standard error. Requests are not in it: see `telemetry.access_log`,
whose options stand beside its own in `LogOptions`.

A traceback has no values of variables, of which one may be a secret, and is written plain:
one that is drawn takes half a second, in which no request is served.
"""

from __future__ import annotations

import enum
import logging
import sys
from pathlib import Path

import attrs
import structlog
from structlog.tracebacks import ExceptionDictTransformer

from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.access_log_format import LineForm


class LogForm(enum.Enum):
    """How the process log is written."""

    CONSOLE = "console"
    JSON = "json"


@attrs.frozen(kw_only=True)
class LogOptions:
    """What a process logs, where and how.

    Attributes:
        form: of the process log.
        access_log: the file of the access log; `-` is standard output, None is nowhere.
        access_log_form: of its lines.
    """

    form: LogForm = LogForm.CONSOLE
    access_log: Path | None = None
    access_log_form: LineForm = LineForm.JSON

    @property
    def has_stdout(self) -> bool:
        """Whether the access log has standard output for itself."""
        return str(self.access_log) == "-"

    @property
    def has_file(self) -> bool:
        """Whether the access log is a file, which may be rotated."""
        return self.access_log is not None and not self.has_stdout

    def open_access_log(self) -> AccessLog | None:
        """Open the access log, if there is one.

        Raises:
            BadLog: its file cannot be opened.
        """
        if self.access_log is None:
            return None
        path = None if self.has_stdout else self.access_log
        return AccessLog(path, self.access_log_form)


def configure(form: LogForm) -> None:
    """Send log records to standard error."""
    first: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.types.Processor]
    if form is LogForm.JSON:
        last = [
            structlog.processors.ExceptionRenderer(
                ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
