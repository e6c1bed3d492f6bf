"""Fuzz targets of what a proxy reads of others: its own file, and what proxies say.

The file may be damaged, the key of the secret may be written by hand, and what stands in
the store as another proxy's report, or comes from its admin listener, may be anybody's.
"""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import UTC, datetime

from canary_trio.admin.asking.client import AdminUnreachable, parse_status
from canary_trio.command.cli.views.status import status_lines
from canary_trio.config import document
from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.control.fleet_secret import BadSecret, FleetSecret
from canary_trio.control.last_good import read_last_good
from canary_trio.errors import InvalidConfig

_SECRET = base64.b64encode(b"s" * 32)
_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_DOCUMENT = b'{"arms": {"stable": {"servers": ["http://a"]}}}'


def remembered_file(data: bytes) -> None:
    """It is damaged, or it has a document that is valid or not, and a secret that signs."""
    try:
        good = read_last_good(data)
    except ValueError as exc:
        assert str(exc)
        return
    assert good.secret is None or good.secret.at(_NOW)
    with contextlib.suppress(InvalidConfig):
        document.load(good.document)


def fleet_secret(data: bytes) -> None:
    """It is refused without being shown, or is read again as it was, and one signs."""
    try:
        secret = FleetSecret.load(data)
    except BadSecret as exc:
        assert str(exc).isprintable()
        return
    assert FleetSecret.load(secret.dump()) == secret
    assert secret.at(_NOW)
    secret.next_change(_NOW)


def proxy_report(data: bytes) -> None:
    """It is none, or can be told and shown on a terminal."""
    report = Report.load(data)
    if report is None:
        return
    assert Report.load(report.dump()) == report
    fleet = Fleet(7, (report,))
    assert (report in fleet.live) or fleet.refusing or fleet.lagging
    shown = [report.id, report.address, report.admin]
    if report.failed is not None:
        shown += map(str, report.failed.problems)
    for line in shown:
        _check_printable(line)


def proxy_status(data: bytes) -> None:
    """It is unusable, or its lines can be shown on a terminal."""
    try:
        status = parse_status(data)
    except AdminUnreachable as exc:
        lines = status_lines(str(exc), "127.0.0.1:1")
    else:
        lines = status_lines(status, "127.0.0.1:1")
    for line in lines:
        _check_printable(line)


def _check_printable(line: str) -> None:
    line.encode()  # no half of a surrogate pair
    assert not any(c in "\x1b\n\r\x9b\u202e" or c < " " for c in line), line


def _file(**fields: object) -> bytes:
    text = base64.b64encode(_DOCUMENT).decode()
    good = {"revision": 7, "document": text, "secret": _SECRET.decode()}
    return json.dumps(good | fields).encode()


_REPORT = {
    "id": "a",
    "running": 6,
    "attempted": 7,
    "failed": {
        "revision": 7,
        "problems": [{"path": "$", "found": "\x1b[2J", "expected": "x"}],
    },
    "address": "127.0.0.1:80",
    "admin": "unix:/a",
}
_SERVER = {
    "url": "http://a",
    "mode": "ready",
    "up": True,
    "ejected": False,
    "in_flight": 0,
    "requests": 1,
    "failures": 0,
    "ejections": 0,
}
_ARM = {
    "asked_share": 0.5,
    "observed_share": None,
    "requests": 1,
    "errors": 0,
    "in_flight": 0,
    "safe_to_remove": False,
    "held_by": ["ratio"],
    "servers": [_SERVER],
}
_STATUS = {
    "split": {"mismatch": True, "p_value": 1e-9},
    "arms": {"stable": _ARM},
    "removed_arms": {"old\ud800": {"in_flight": 1}},
    "rate_limits": {"a\x1b[2J": {"passed": 1, "refused": 2, "dry_run": 3}},
}

SEEDS: dict[str, tuple[bytes, ...]] = {
    "remembered_file": (
        _file(),
        _file(document="e30="),
        _file(revision=2**63),
        _file(secret="c2hvcnQ="),
        _file(secret=None, document=7),
        b"[" * 3000,
        b'{"revision": ' + b"9" * 5000 + b"}",
    ),
    "fleet_secret": (
        _SECRET,
        _SECRET
        + b" from 2026-05-01T12:01:00Z\n"
        + _SECRET
        + b" until 2026-06-01T00:00Z",
        _SECRET + b"\r\n\r\n",
        _SECRET + b" from 9999-12-31T23:59:59-23:59",
        _SECRET + b" until",
        b"c2hvcnQ=",
    ),
    "proxy_report": (
        json.dumps(_REPORT).encode(),
        json.dumps(_REPORT | {"failed": None, "running": 2**64 - 1}).encode(),
        json.dumps(_REPORT | {"id": "\ud800", "admin": ["x"]}).encode(),
        json.dumps(_REPORT | {"running": True, "failed": {"revision": 1}}).encode(),
        b"[" * 3000,
    ),
    "proxy_status": (
        json.dumps(_STATUS).encode(),
        json.dumps(_STATUS | {"split": None, "arms": {}}).encode(),
        json.dumps(_STATUS | {"split": {"mismatch": 1, "p_value": 10**400}}).encode(),
        json.dumps(_STATUS | {"arms": {"a": _ARM | {"asked_share": "x"}}}).encode(),
        json.dumps(_STATUS | {"arms": {"a": _ARM | {"servers": {"url": 1}}}}).encode(),
        json.dumps(_STATUS | {"arms": {"a": _ARM | {"requests": "NEST"}}})
        .replace('"NEST"', "[" * 990 + "]" * 990)
        .encode(),
        b"[]",
        b'"\\ud800"',
        b"[" * 100_000,
    ),
}
