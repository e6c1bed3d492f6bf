"""A canary-release reverse proxy with live configuration."""

from canary_trio.access_line import LineForm
from canary_trio.access_log import AccessLog, BadLog
from canary_trio.changes import (
    Fleet,
    change,
    read_document,
    read_fleet,
    wait_applied,
    write_document,
)
from canary_trio.config import Arm, Balance, Config, Server, Sticky, Style
from canary_trio.document import dump, load
from canary_trio.errors import (
    BadAssignment,
    CanaryError,
    InvalidConfig,
    NoDocument,
    Problem,
    WrittenMeanwhile,
)
from canary_trio.keys import BadName, Refusal, Report
from canary_trio.server import Proxy, serve

__all__ = [
    "AccessLog",
    "Arm",
    "BadAssignment",
    "BadLog",
    "BadName",
    "Balance",
    "CanaryError",
    "Config",
    "Fleet",
    "InvalidConfig",
    "LineForm",
    "NoDocument",
    "Problem",
    "Proxy",
    "Refusal",
    "Report",
    "Server",
    "Sticky",
    "Style",
    "WrittenMeanwhile",
    "change",
    "dump",
    "load",
    "read_document",
    "read_fleet",
    "serve",
    "wait_applied",
    "write_document",
]
