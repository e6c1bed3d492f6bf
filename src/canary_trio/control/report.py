"""What proxies say of themselves in the store, one by one and as a fleet. Pure."""

from __future__ import annotations

import json
from typing import Any

import attrs

from canary_trio.errors import Problem, printable


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
    """

    id: str = attrs.field(converter=printable)
    running: int
    attempted: int
    failed: Refusal | None = None
    address: str = attrs.field(default="", converter=printable)
    admin: str = attrs.field(default="", converter=printable)

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
            return cls(failed=failed, **shown)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _revision(value: object) -> int:
    """Give a revision back; raises ValueError for what is none."""
    if type(value) is int and 0 <= value < 2**64:
        return value
    raise ValueError("no revision")


@attrs.frozen
class Fleet:
    """The live proxies of a service, as they report.

    Attributes:
        revision: the one that they are looked at for.
    """

    revision: int
    reports: tuple[Report, ...]

    @property
    def live(self) -> tuple[Report, ...]:
        """Those that route by the revision, or a later one."""
        return tuple(
            report for report in self.reports if report.running >= self.revision
        )

    @property
    def refusing(self) -> tuple[Report, ...]:
        """Those that have refused it."""
        return tuple(
            report
            for report in self.reports
            if report.failed is not None
            and report.failed.revision >= self.revision > report.running
        )

    @property
    def lagging(self) -> tuple[Report, ...]:
        """Those that neither route by it yet, nor have refused it."""
        done = {report.id for report in (*self.live, *self.refusing)}
        return tuple(report for report in self.reports if report.id not in done)

    @property
    def is_applied(self) -> bool:
        """Whether there are proxies, and each routes by it or has refused it."""
        return bool(self.reports) and not self.lagging
