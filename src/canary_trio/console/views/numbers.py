"""The numbers of a service over its proxies: arms, servers and proxies as tables. Pure.

What was heard of a proxy stays, with the time that it is of and the reason why there is
nothing newer, until the proxy is gone. What a proxy says may be odd, since whoever writes to
the store can name any server as one: an odd part is left out, and not believed. One file,
since the tables are made of the same statuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from canary_trio.admin.asking.arm_table import ArmRow, arm_rows, quantile
from canary_trio.admin.asking.overview import Status, of_service, status_of
from canary_trio.config.model import Arm, Config
from canary_trio.control.fleet.report import Fleet, Report
from canary_trio.errors import printable

Table = dict[str, Any]

_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


@attrs.define
class Heard:
    """What admin listeners said last.

    Attributes:
        statuses: by their addresses, or the names of proxies that have none.
        at: when, in seconds since 1970.
        faults: why one says nothing newer.
        own: the address of the one that is asked here.
    """

    own: str = ""
    statuses: dict[str, Status] = attrs.field(factory=dict)
    at: dict[str, float] = attrs.field(factory=dict)
    faults: dict[str, str] = attrs.field(factory=dict)

    def hear(self, address: str, said: Status, now: float) -> None:
        """Take what one says, or why it does not."""
        if isinstance(said, str):
            self.faults[address] = printable(said)
            return
        self.statuses[address], self.at[address] = said, now
        self.faults.pop(address, None)

    def forget(self, but: Iterable[str]) -> None:
        """Forget all but these."""
        kept = set(but)
        for table in (self.statuses, self.at, self.faults):
            for address in table.keys() - kept:
                del table[address]

    def of(self, report: Report, service: str) -> Table | None:
        """Give what one proxy said of a service."""
        said = status_of(report, self.statuses, service)
        return None if isinstance(said, str) else said


def numbers(
    service: str, fleet: Fleet, heard: Heard, config: Config | None, now: float
) -> Table:
    """Give arms, servers, proxies and the split of a service.

    Args:
        service: or gateway.
        fleet: as it reports.
        heard: what its proxies said.
        config: the document; None where it is not valid, or a gateway's.
        now: seconds since 1970.
    """
    statuses = [of_service(one, service) for one in heard.statuses.values()]
    tables = [one for one in statuses if isinstance(one, dict)]
    said = [(report, heard.of(report, service)) for report in fleet.reports]
    each = [one for _, one in said if one is not None]
    arms = {} if config is None else config.arms
    return {
        "arms": list(_arms(tables, config)),
        "servers": list(_servers(each, arms)),
        "proxies": [
            _proxy(report, one, fleet, heard, now)
            for report, one in sorted(said, key=lambda pair: pair[0].id)
        ],
        "split": _split(tables),
    }


# === arms ===


def _arms(tables: Sequence[Table], config: Config | None) -> Iterator[Table]:
    rows = arm_rows(tables)
    decided = sum(row.decisions for row in rows.values())
    known = {} if config is None else config.arms
    for name in (*known, *(name for name in rows if name not in known)):
        yield _arm(name, rows.get(name) or ArmRow(), decided, tables, config)


def _arm(
    name: str,
    row: ArmRow,
    decided: int,
    tables: Sequence[Table],
    config: Config | None,
) -> Table:
    told = list(_told_of(name, tables))
    saved = sum(one["saved"] for one in told if _is_count(one.get("saved")))
    held = dict.fromkeys(
        printable(why) for one in told for why in _texts(one.get("held_by"))
    )
    asked = row.asked
    if config is not None and name in config.arms:
        asked = config.shares.get(name, 0) / 10_000
    return {
        "name": printable(name),
        "asked": _finite(asked),
        "got": row.decisions / decided if decided > 0 else None,
        "decisions": row.decisions,
        "rate": round(_finite(row.rate), 2),
        "minute": _part(row.minute_requests, row.minute_errors, row.minute_latency),
        "total": _part(row.requests, row.errors, row.latency),
        "errors_made": row.errors,
        "errors_saved": saved,
        "errors_seen": max(0, row.errors - saved),
        "in_flight": row.in_flight,
        "healthy": row.usable,
        "servers": row.servers,
        "panic": row.panic,
        "safe_to_remove": bool(told) and not held,
        "held_by": list(held)[:20],
        "unverified": any(one.get("unverified") is True for one in told),
    }


def _told_of(name: str, tables: Iterable[Table]) -> Iterator[Table]:
    for table in tables:
        try:
            found = table["arms"][name]
        except _ODD:
            continue
        if isinstance(found, dict):
            yield found


def _part(requests: int, errors: int, latency: Mapping[float, int]) -> Table:
    return {
        "requests": requests,
        "errors": errors,
        "p50_s": _seconds(quantile(latency, 0.5)),
        "p99_s": _seconds(quantile(latency, 0.99)),
    }


# === servers ===


@attrs.define
class _ServerRow:
    asked: int = 0
    up: int = 0
    ejected: int = 0
    down: int = 0
    weight: float = 0.0
    sessions: int = 0
    sessions_max: int = 0
    queue: int = 0
    requests: int = 0
    errors: int = 0
    ejections: int = 0
    latency_s: float = 0.0
    connections: int = 0
    mode: str = "ready"
    since: float | None = None

    def add(self, told: Table) -> None:
        self.asked += 1
        if told["ejected"]:
            self.ejected += 1
        elif told["up"]:
            self.up += 1
        else:
            self.down += 1
        self.weight = max(self.weight, _number(told["weight"]))
        self.sessions += _count(told["in_flight"])
        self.sessions_max = max(self.sessions_max, _count(told["most_in_flight"]))
        self.since = max(self.since or 0.0, _number(told["since"]))
        self.queue += _count(told["pending"])
        self.requests += _count(told["requests"])
        self.errors += _count(told["failures"])
        self.ejections += _count(told["ejections"])
        self.latency_s = max(self.latency_s, _number(told["latency_s"]))
        self.connections += _count(told["connections"])
        self.mode = told["mode"]

    @property
    def status(self) -> str:
        if not self.asked:
            return "unknown"
        if self.up == self.asked:
            return "up"
        if self.ejected == self.asked:
            return "ejected"
        return "down" if not self.up and not self.ejected else "partly"


def _servers(tables: Sequence[Table], arms: Mapping[str, Arm]) -> Iterator[Table]:
    rows: dict[tuple[str, str], _ServerRow] = {
        (name, server.url): _ServerRow(mode=server.mode.value, weight=server.weight)
        for name, arm in arms.items()
        for server in arm.servers
    }
    for table in tables:
        for arm, told in _told_servers(table):
            row = rows.setdefault((arm, str(told.get("url", ""))), _ServerRow())
            try:
                attrs.evolve(row).add(
                    told
                )  # so that an odd one is not believed in part
            except _ODD:
                continue
            row.add(told)
    for (name, url), row in rows.items():
        yield _server(name, url, row, arms.get(name))


def _told_servers(table: Table) -> Iterator[tuple[str, Table]]:
    try:
        told = [(name, arm["servers"]) for name, arm in table["arms"].items()]
    except _ODD:
        return
    for name, servers in told:
        for one in servers if isinstance(servers, list) else ():
            if isinstance(one, dict):
                yield name, one


def _server(name: str, url: str, row: _ServerRow, arm: Arm | None) -> Table:
    health = None if arm is None else arm.health
    checks = ""
    if health is not None:
        what = f"grpc {health.grpc}" if health.grpc is not None else health.path
        checks = f"{what} every {health.interval:g} s"
    modes = ("ready", "drain", "maintenance")
    return {
        "arm": printable(name),
        "url": printable(url),
        "mode": row.mode if row.mode in modes else "ready",
        "status": row.status,
        "up": row.up,
        "asked": row.asked,
        "weight": row.weight,
        "sessions": row.sessions,
        "sessions_max": row.sessions_max,
        "limit": None if arm is None else arm.limits.in_flight,
        "queue": row.queue,
        "requests": row.requests,
        "errors": row.errors,
        "ejections": row.ejections,
        "latency_s": row.latency_s,
        "connections": row.connections,
        "checks": checks,
        "since": row.since,
    }


# === proxies ===


def _proxy(
    report: Report, said: Table | None, fleet: Fleet, heard: Heard, now: float
) -> Table:
    where = report.admin or report.id
    flying, age, stale = _traffic(said)
    at = heard.at.get(where)
    failed = report.failed
    problems = () if failed is None else failed.problems
    return {
        "id": report.id,
        "address": report.address,
        "admin": report.admin,
        "runs": report.running,
        "state": _state(report, fleet),
        "said": printable(fleet.said_of(report)),
        "problems": [str(one) for one in problems][:20],
        "here": bool(report.admin) and report.admin == heard.own,
        "heard": None if at is None else round(at, 3),
        "fault": heard.faults.get(where, ""),
        "in_flight": flying,
        "contact_age_s": age,
        "stale": stale,
        "certificates": [
            f"{notice.file} {notice.said(now)}" for notice in report.certificates
        ],
    }


def _state(report: Report, fleet: Fleet) -> str:
    if report in fleet.trying:
        return "trying"
    if report in fleet.live and fleet.revision:
        return "live"
    if report in fleet.staying:
        return "moving"
    return "refusing" if report in fleet.refusing else "lagging"


def _traffic(status: Table | None) -> tuple[int | None, float | None, bool]:
    try:
        assert status is not None
        flying = sum(_count(arm["in_flight"]) for arm in status["arms"].values())
        store = status["store"]
        age = store["last_contact_age_s"]
        return flying, None if age is None else _number(age), store["stale"] is True
    except (*_ODD, AssertionError):
        return None, None, False


def _split(tables: Iterable[Table]) -> Table:
    mismatch, least = False, None
    for table in tables:
        split = table.get("split")
        if not isinstance(split, dict):
            continue
        mismatch = mismatch or split.get("mismatch") is True
        try:
            p_value = _number(split.get("p_value"))
        except _ODD:
            continue
        least = p_value if least is None else min(least, p_value)
    return {"mismatch": mismatch, "p_value": least}


# === small ===


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"found {value!r}, expected a count")
    return value


def _number(value: object) -> float:
    """Give a number that JSON has; raises ValueError for what is none.

    >>> _number(0.25), _number(3)
    (0.25, 3)
    """
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"found {value!r}, expected a number")
    return value  # type: ignore[return-value]


def _seconds(us: float | None) -> float | None:
    return None if us is None or not math.isfinite(us) else round(us / 1e6, 6)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
