"""A canary-release reverse proxy with live configuration."""

from typing import TYPE_CHECKING

from canary_health.face import lazy_face

if TYPE_CHECKING:
    from canary_trio.config.document import dump, load
    from canary_trio.config.model import Arm, Balance, Config, Server, Sticky, Style
    from canary_trio.control.changes.documents import (
        change,
        read_history,
        read_revision,
        revise,
        write_document,
    )
    from canary_trio.control.changes.history import Change, ChangeLog, Note
    from canary_trio.control.changes.reading import read_document
    from canary_trio.control.fleet.applied import read_fleet, wait_applied
    from canary_trio.control.fleet.report import (
        CertificateNotice,
        Fleet,
        Refusal,
        Report,
    )
    from canary_trio.control.store_keys import BadName
    from canary_trio.errors import (
        BadAssignment,
        BadNote,
        CanaryError,
        InvalidConfig,
        NoDocument,
        NoRevision,
        Problem,
        TooLargeTogether,
        WrittenMeanwhile,
    )
    from canary_trio.serving.options import ProxyOptions
    from canary_trio.serving.proxy import Proxy, serve
    from canary_trio.telemetry.access_log import AccessLog, BadLog
    from canary_trio.telemetry.access_log_format import LineForm
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "config.document": "dump load",
            "config.model": "Arm Balance Config Server Sticky Style",
            "control.changes.documents": "change read_history read_revision revise write_document",
            "control.changes.history": "Change ChangeLog Note",
            "control.changes.reading": "read_document",
            "control.fleet.applied": "read_fleet wait_applied",
            "control.fleet.report": "CertificateNotice Fleet Refusal Report",
            "control.store_keys": "BadName",
            "errors": "BadAssignment BadNote CanaryError InvalidConfig NoDocument NoRevision Problem TooLargeTogether WrittenMeanwhile",
            "serving.options": "ProxyOptions",
            "serving.proxy": "Proxy serve",
            "telemetry.access_log": "AccessLog BadLog",
            "telemetry.access_log_format": "LineForm",
        },
    )

__all__ = [
    "AccessLog",
    "Arm",
    "BadAssignment",
    "BadLog",
    "BadName",
    "BadNote",
    "Balance",
    "CanaryError",
    "CertificateNotice",
    "Change",
    "ChangeLog",
    "Config",
    "Fleet",
    "InvalidConfig",
    "LineForm",
    "NoDocument",
    "NoRevision",
    "Note",
    "Problem",
    "Proxy",
    "ProxyOptions",
    "Refusal",
    "Report",
    "Server",
    "Sticky",
    "Style",
    "TooLargeTogether",
    "WrittenMeanwhile",
    "change",
    "dump",
    "load",
    "read_document",
    "read_fleet",
    "read_history",
    "read_revision",
    "revise",
    "serve",
    "wait_applied",
    "write_document",
]
