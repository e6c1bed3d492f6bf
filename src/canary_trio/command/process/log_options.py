"""What a proxy logs: the process log, and the access log.

How the first is written is in `canary_health.process_log`, which both commands share; it is
imported where processes begin to serve. Requests are in the second: see
`telemetry.access_log`.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from canary_health.process_log import LogForm
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.access_log_format import LineForm


@attrs.frozen(kw_only=True)
class LogOptions:
    """What a process logs, where and how.

    Attributes:
        form: of the process log.
        access_log: the file of the access log; `-` is standard output, None is nowhere.
        access_log_form: of its lines.
    """

    form: LogForm = LogForm.TEXT
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
