"""The log of the process: what happens to the proxy itself, through structlog.

Modules write to the standard library's loggers, so that a program that imports this
package keeps its own logging. Only the command sets it up, here: lines for people, or
JSON for programs, on standard error. Requests are not in it: see `access_log`.
"""

from __future__ import annotations

import enum
import logging
import sys

import structlog


class LogForm(enum.Enum):
    """How the process log is written."""

    CONSOLE = "console"
    JSON = "json"


def configure(form: LogForm) -> None:
    """Send what is logged to standard error."""
    first: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.types.Processor]
    if form is LogForm.JSON:
        last = [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
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
