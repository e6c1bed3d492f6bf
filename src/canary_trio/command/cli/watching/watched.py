"""What `canary watch` knows: the newest that was heard of store and proxies, with its age. Pure.

Nothing that was known is thrown away because it cannot be asked again. It is shown on, and it is
said how old it is and why there is nothing newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs

from canary_trio.admin.asking.arm_table import (
    ArmRow,
    arm_rows,
    cells,
    shown_row,
)
from canary_trio.admin.asking.overview import of_service, status_of
from canary_trio.errors import printable

if TYPE_CHECKING:
    from canary_trio.admin.asking.overview import Overview, Status

OLD_S = 3.0
"""What is older is said to be."""

CHANGES = 5
"""The last changes that are shown."""

PROXY_HEADS = ("proxy", "address", "runs", "in progress", "store", "")

_ODD = (LookupError, TypeError, ValueError, AttributeError)


@attrs.define
class Watched:
    """A service as it was last seen.

    Attributes:
        overview: of the store; None before the first one.
        fault: why the store does not say more; empty if it does.
        statuses: what each admin listener said last, by its address.
        heard: when that was.
        faults: why one says nothing more.
        changes: the last ones, as lines.
        rollout: how it stands, as lines.
    """

    service: str
    overview: Overview | None = None
    fault: str = ""
    statuses: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    heard: dict[str, float] = attrs.field(factory=dict)
    faults: dict[str, str] = attrs.field(factory=dict)
    changes: tuple[str, ...] = ()
    rollout: tuple[str, ...] = ()

    def take(self, overview: Overview) -> None:
        """Take what the store said."""
        self.overview, self.fault = overview, ""

    def lose(self, why: str) -> None:
        """Take it that the store said nothing."""
        self.fault = printable(why)

    def hear(self, said: dict[str, Status], now: float) -> None:
        """Take what admin listeners said; those of proxies that are gone are forgotten."""
        for address, status in said.items():
            if isinstance(status, str):
                self.faults[address] = printable(status)
            else:
                self.statuses[address], self.heard[address] = status, now
                self.faults.pop(address, None)
        for table in (self.statuses, self.heard, self.faults):
            for address in table.keys() - said.keys():
                del table[address]

    @property
    def rows(self) -> dict[str, ArmRow]:
        """The arms, of all that was said last."""
        said = self.statuses.values()
        return arm_rows(of_service(one, self.service) for one in said)

    def head(self, now: float) -> str:
        """Say how the service stands, in a line."""
        if self.overview is None:
            return f"{self.service}: {self.fault or 'the store is asked'}"
        fleet = self.overview.fleet
        said = (
            f"{self.service}: revision {fleet.revision},"
            f" live on {len(fleet.live)}/{len(fleet.reports)} proxies"
        )
        age_s = now - self.overview.at
        if self.fault:
            said += f"; as of {_age(age_s)} ago: {self.fault}"
        elif age_s > OLD_S:
            said += f"; as of {_age(age_s)} ago"
        return said

    def notes(self, now: float) -> Iterator[str]:
        """Give what waits, with its countdown, and how a rollout stands."""
        from canary_trio.control.changes.pending import words_of  # noqa: PLC0415

        if self.overview is not None and self.overview.pending is not None:
            shown = self.overview.pending.shown(round(now * 1000))
            yield f">>> {words_of(self.service, shown)}"
        yield from map(printable, self.rollout)

    def proxies(self, now: float) -> Iterator[tuple[str, ...]]:
        """Give a row for each live proxy, as `PROXY_HEADS` says."""
        if self.overview is None:
            return
        known: dict[str, Status] = {**self.faults, **self.statuses}
        for report in self.overview.fleet.reports:
            where = report.admin or report.id
            status = status_of(report, known, self.service)
            flying, contact = _traffic(status)
            why = self.faults.get(where, "")
            if why and where in self.heard:
                why = f"as of {_age(now - self.heard[where])} ago: {why}"
            runs = self.overview.fleet.said_of(report).removeprefix("runs ")
            yield report.id, report.address, runs, flying, contact, why

    def line(self, now: float) -> str:
        """Give all that matters as one line, for who has no terminal."""
        parts = [self.head(now), *self.notes(now)]
        for name, row in self.rows.items():
            decided = sum(one.decisions for one in self.rows.values())
            shown = cells(name, row, decided)
            parts.append(
                f"{shown[0]}: asked {shown[1]}, had {shown[2]}, {shown[3]}/s,"
                f" errors {shown[4]}, p50 {shown[5]}, p99 {shown[6]}, {row.health}"
            )
        parts += [f"{row[0]}: {row[-1]}" for row in self.proxies(now) if row[-1]]
        return " | ".join(parts)

    def as_json(self, now: float) -> str:
        """Give the same for programs, on one line."""
        found = self.overview
        pending = None if found is None else found.pending
        table: dict[str, Any] = {
            "time": round(now, 3),
            "service": self.service,
            "revision": None if found is None else found.revision,
            "age_s": None if found is None else round(now - found.at, 3),
            "fault": self.fault,
            "pending": None if pending is None else pending.shown(round(now * 1000)),
            "arms": {name: shown_row(row) for name, row in self.rows.items()},
            "proxies": [
                dict(zip((*PROXY_HEADS[:-1], "fault"), row, strict=True))
                for row in self.proxies(now)
            ],
        }
        return json.dumps(table)


def arm_cells(rows: dict[str, ArmRow]) -> list[tuple[str, ...]]:
    """Give the cells of the last minute, and health."""
    decided = sum(row.decisions for row in rows.values())
    all_ = (cells(name, row, decided) for name, row in rows.items())
    return [(*row[:7], row[-2], row[-1]) for row in all_]


def _traffic(status: Status) -> tuple[str, str]:
    try:
        if isinstance(status, str):
            return "-", "-"
        flying = sum(int(arm["in_flight"]) for arm in status["arms"].values())
        age = status["store"]["last_contact_age_s"]
        contact = "never" if age is None else f"{float(age):.1f} s ago"
        return str(flying), contact + (" (stale)" if status["store"]["stale"] else "")
    except _ODD:
        return "-", "-"


def _age(seconds: float) -> str:
    """Say how old something is.

    >>> _age(3.2), _age(90), _age(7300)
    ('3 s', '1 min 30 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole // 60 % 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
