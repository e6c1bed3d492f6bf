"""What proxies say of themselves in the store, one by one and as a fleet. Pure.

One file, since what a report says is what a fleet is asked about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs

from canary_trio.control.store_keys import proxies_prefix
from canary_trio.errors import Problem, printable

NOTICE_S = 30 * 86400.0
"""How long before a certificate expires the fleet is told of it."""

MOST_NOTICES = 10
"""Certificates that one proxy tells of at most: those that end first."""

_DAY_S = 86400.0
_LATEST = 2**40  # of what RFC 5280 has, the year 9999, is below


@attrs.frozen
class CertificateNotice:
    """A certificate of a proxy that somebody should see to.

    Attributes:
        file: that it was read from.
        names: the first ones that it is for.
        not_before: when it becomes valid, in whole seconds since 1970.
        not_after: when it expires.
        has_hosts: whether a host is among its alternative names.
    """

    file: str = attrs.field(converter=printable)
    names: tuple[str, ...]
    not_before: int
    not_after: int
    has_hosts: bool = True

    @classmethod
    def load(cls, shown: dict[str, Any]) -> CertificateNotice:
        """Read one; raises ValueError, TypeError or KeyError for what is none."""
        names = tuple(map(printable, shown.pop("names")))
        for name in ("not_before", "not_after"):
            if type(shown[name]) is not int or abs(shown[name]) > _LATEST:
                raise ValueError("no time")
        if type(shown["has_hosts"]) is not bool:
            raise ValueError("neither true nor false")
        return cls(names=names, **shown)

    def days_left(self, now: float) -> float:
        """Give the days until it expires; below 0 once it has."""
        return round((self.not_after - now) / _DAY_S, 2)

    def said(self, now: float) -> str:
        """Say what is to be seen to."""
        left = self.days_left(now)
        if left < 0:
            return f"expired {-left:.1f} days ago"
        if self.not_before > now:
            days = (self.not_before - now) / _DAY_S
            return f"is not valid for another {days:.1f} days"
        if not self.has_hosts:
            return "has no host among its alternative names, so clients refuse it"
        return f"expires in {left:.1f} days"


@attrs.frozen
class Refusal:
    """A revision that a proxy could not run, and why."""

    revision: int
    problems: tuple[Problem, ...]


@attrs.frozen
class Report:
    """What a proxy says of itself.

    Attributes:
        id: its name.
        running: the revision that it routes by; 0 for none.
        attempted: the newest that it has seen.
        failed: the last one that it refused, if it runs none that is newer.
        address: where it listens.
        admin: where its status is.
        move: why it is not yet at the store that its document names (`config_server`);
            empty where it is, or where none is named.
        certificates: that expire soon, or are not valid; no others.
        digest: of the document that runs, see `digest_of`; empty where nobody knows.
        tries_over: the revision of the document in place of which it tries the one that it
            runs; 0 where it tries none.
        beside: the revision that a share of its users tries, beside the one that it runs; 0
            for none.
    """

    id: str = attrs.field(converter=printable)
    running: int
    attempted: int
    failed: Refusal | None = None
    address: str = attrs.field(default="", converter=printable)
    admin: str = attrs.field(default="", converter=printable)
    move: str = attrs.field(default="", converter=printable)
    certificates: tuple[CertificateNotice, ...] = ()
    digest: str = attrs.field(default="", converter=printable)
    tries_over: int = 0
    beside: int = 0

    def shown(self, now: float) -> dict[str, Any]:
        """Give the report as a value of JSON, with what its certificates have left."""
        shown = attrs.asdict(self)
        for notice, row in zip(self.certificates, shown["certificates"], strict=True):
            row |= {"days_left": notice.days_left(now), "said": notice.said(now)}
        return shown

    def dump(self) -> bytes:
        """Give the report as JSON."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def load(cls, data: bytes) -> Report | None:
        """Read a report from JSON; None if it is not one."""
        try:
            shown: dict[str, Any] = json.loads(data)
            failed = shown.pop("failed")
            if failed is not None:
                problems = tuple(Problem(**problem) for problem in failed["problems"])
                failed = Refusal(_revision(failed["revision"]), problems)
            for name in ("running", "attempted"):
                shown[name] = _revision(shown[name])
            for name in ("tries_over", "beside"):
                shown[name] = _revision(shown.get(name, 0))
            notices = map(CertificateNotice.load, shown.pop("certificates", ()))
            return cls(failed=failed, certificates=tuple(notices), **shown)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


@attrs.frozen
class Sighting:
    """When a proxy was alive, as it noted itself.

    Attributes:
        id: its name.
        address: where it listened.
        at: seconds since 1970, by its clock.
    """

    id: str = attrs.field(converter=printable)
    address: str = attrs.field(converter=printable)
    at: float

    def dump(self) -> bytes:
        """Give it as JSON."""
        return json.dumps(attrs.asdict(self)).encode()

    @classmethod
    def load(cls, data: bytes) -> Sighting | None:
        """Read it from JSON; None if it is none."""
        try:
            shown = cls(**json.loads(data))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        is_time = type(shown.at) in (int, float) and 0 <= shown.at < 2**53
        return shown if is_time else None


def sightings_in(values: Mapping[bytes, bytes], service: str) -> list[Sighting]:
    """Give the notes of proxies that do not report, the newest first.

    Args:
        values: of the store, by their keys; those of the service's proxies among them.
        service: or gateway, whose proxies they are.
    """
    prefix = proxies_prefix(service).encode()
    found = []
    for key, value in values.items():
        report_key, _, last = key.rpartition(b"/")
        if last == b"seen" and key.startswith(prefix) and report_key not in values:
            sighting = Sighting.load(value)
            if sighting is not None and prefix + sighting.id.encode() == report_key:
                found.append(sighting)
    return sorted(found, key=lambda sighting: -sighting.at)


def _revision(value: object) -> int:
    """Give a revision back; raises ValueError for what is none."""
    if type(value) is int and 0 <= value < 2**64:
        return value
    raise ValueError("no revision")


def digest_of(document: bytes) -> str:
    """Give 48 bits that tell a document from another one of the same revision.

    A store that was restored gives its numbers a second time.

    >>> digest_of(b"{}")
    '44136fa355b3'
    """
    return hashlib.sha256(document).hexdigest()[:12]


@attrs.frozen
class Fleet:
    """The live proxies of a service, as they report.

    A proxy routes by a revision if it runs just that one, not if its number is higher:
    that may be one of another store, or of this one before it was restored.

    Attributes:
        revision: the one that they are looked at for: what the store holds.
        digest: of that document; empty where nobody knows.
        asked: the revision that was asked for; None for the one that is there.
    """

    revision: int
    reports: tuple[Report, ...]
    digest: str = ""
    asked: int | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the store has what was asked for no more, and holds an older one."""
        return self.asked is not None and self.asked > self.revision

    def runs_it(self, report: Report) -> bool:
        """Tell whether a proxy routes by what the store holds."""
        return report.running == self.revision and (
            not report.digest or not self.digest or report.digest == self.digest
        )

    def said_of(self, report: Report) -> str:
        """Say what a proxy runs."""
        if report in self.trying:
            return f"tries {report.running} in place of {report.tries_over}"
        said = f"runs {report.running or 'nothing'}"
        if report.beside:
            said += f", and tries {report.beside} beside it"
        if report.running < self.revision or self.runs_it(report):
            return said
        return f"{said}, which this store does not have"

    @property
    def trying(self) -> tuple[Report, ...]:
        """Those that try another document in place of the revision, as they are to."""
        return tuple(
            report
            for report in self.reports
            if report.tries_over and report.tries_over == self.revision
        )

    @property
    def live(self) -> tuple[Report, ...]:
        """Those that route by the revision where it sends them."""
        return tuple(report for report in self._routing if not report.move)

    @property
    def staying(self) -> tuple[Report, ...]:
        """Those that route by it, but are not yet at the store that it names."""
        return tuple(report for report in self._routing if report.move)

    @property
    def refusing(self) -> tuple[Report, ...]:
        """Those that have refused it."""
        return tuple(
            report
            for report in self.reports
            if report.failed is not None
            and report.failed.revision == self.revision != report.running
        )

    @property
    def lagging(self) -> tuple[Report, ...]:
        """Those that neither route by it yet, nor have refused it, nor try another."""
        settled = (*self._routing, *self.refusing, *self.trying)
        done = {report.id for report in settled}
        return tuple(report for report in self.reports if report.id not in done)

    @property
    def is_settled(self) -> bool:
        """Whether each proxy routes by it where it is to be, or has refused it."""
        return not self.lagging and not self.staying

    @property
    def is_applied(self) -> bool:
        """Whether there are proxies, and all are settled."""
        return bool(self.reports) and self.is_settled

    @property
    def _routing(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if self.runs_it(report))
