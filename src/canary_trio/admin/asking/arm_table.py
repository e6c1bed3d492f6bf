"""The arms of a service over all its proxies, as rows: totals, and the last minute. Pure.

Counts are added, and so are the counts of the buckets of latency; a quantile is read from the
sum and never made of other quantiles, whose mean means nothing. What a proxy says may be
odd: it is left out then, and not believed in part. One file, since arms and documents are
added and shown in one way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from canary_trio.errors import printable

_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)

HEADS = (
    *("arm", "asked", "had", "req/s", "errors", "p50", "p99"),
    *("requests", "errors", "p50", "p99", "in progress", "health"),
)
"""The heads of the columns: up to the first p99 of the last minute, then of all time."""


@attrs.define
class ArmRow:
    """One arm, over all proxies that were asked.

    Attributes:
        asked: the share that the document asks for.
        decisions: that the ratio made for it.
        requests: that belong to it.
        errors: that it failed.
        latency: requests that it served, by the upper ends of their microseconds.
        minute_requests: within the last minute.
        minute_errors: of these.
        minute_latency: as `latency`.
        rate: requests in a second, of the last minute.
        in_flight: in progress.
        servers: of all proxies.
        usable: of these.
        panic: whether a proxy ignores the health of its servers.
    """

    asked: float = 0.0
    decisions: int = 0
    requests: int = 0
    errors: int = 0
    latency: dict[float, int] = attrs.field(factory=dict)
    minute_requests: int = 0
    minute_errors: int = 0
    minute_latency: dict[float, int] = attrs.field(factory=dict)
    rate: float = 0.0
    in_flight: int = 0
    servers: int = 0
    usable: int = 0
    panic: bool = False

    def add(self, arm: Mapping[str, Any]) -> None:
        """Add what one proxy says of it."""
        minute = arm["minute"]
        seconds = float(minute["seconds"])
        self.asked = float(arm["asked_share"])
        self.decisions += _count(arm["decisions"])
        self.requests += _count(arm["requests"])
        self.errors += _count(arm["errors"])
        _add(self.latency, arm["latency"])
        self.minute_requests += _count(minute["requests"])
        self.minute_errors += _count(minute["errors"])
        _add(self.minute_latency, minute["latency"])
        self.rate += _count(minute["requests"]) / seconds if seconds > 0 else 0.0
        self.in_flight += _count(arm["in_flight"])
        self.servers += len(arm["servers"])
        self.usable += _count(arm["usable_servers"])
        self.panic = self.panic or bool(arm["panic"])

    @property
    def health(self) -> str:
        """How its servers are, in a few words."""
        if self.panic:
            return f"panic, {self.usable}/{self.servers}"
        return f"{self.usable}/{self.servers} ready"


def arm_rows(statuses: Iterable[Mapping[str, Any] | str]) -> dict[str, ArmRow]:
    """Give the arms of what proxies say of one service; each of them is asked once."""
    rows: dict[str, ArmRow] = {}
    for status in statuses:
        if isinstance(status, str):
            continue
        try:
            told = {name: _row(arm) for name, arm in status["arms"].items()}
        except _ODD:
            continue
        for name, one in told.items():
            rows[name] = _sum(rows[name], one) if name in rows else one
    return rows


def quantile(counts: Mapping[float, int], share: float) -> float | None:
    """Give an upper estimate of the time that a share of requests took no longer than.

    Within a bucket it is interpolated, as Prometheus does; beyond the last end it is that.

    Args:
        counts: by the upper ends of their microseconds.
        share: such as 0.99.

    >>> quantile({1000: 50, 2000: 50}, 0.5), quantile({1000: 50, 2000: 50}, 0.75)
    (1000.0, 1500.0)
    >>> quantile({}, 0.5) is None
    True
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    wanted, below, start = share * total, 0, 0.0
    for end in sorted(counts):
        if below + counts[end] >= wanted and counts[end]:
            if end == float("inf"):
                return start
            return start + (end - start) * (wanted - below) / counts[end]
        below += counts[end]
        start = start if end == float("inf") else end
    return start


def cells(name: str, row: ArmRow, decided: int) -> tuple[str, ...]:
    """Give an arm's row as text.

    Args:
        name: of the arm.
        row: what is known of it.
        decided: decisions that the ratio made, for all arms.
    """
    had = f"{row.decisions / decided:.2%}" if decided else "-"
    return (
        printable(name),
        f"{row.asked:.4g}",
        had,
        f"{row.rate:.1f}",
        percent(row.minute_errors, row.minute_requests),
        _time(quantile(row.minute_latency, 0.5)),
        _time(quantile(row.minute_latency, 0.99)),
        str(row.requests),
        percent(row.errors, row.requests),
        _time(quantile(row.latency, 0.5)),
        _time(quantile(row.latency, 0.99)),
        str(row.in_flight),
        row.health,
    )


def table_lines(rows: Mapping[str, ArmRow]) -> Iterator[str]:
    """Give all arms as a table of text."""
    decided = sum(row.decisions for row in rows.values())
    table = [HEADS, *(cells(name, row, decided) for name, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    minute = sum(widths[3:7]) + 6
    lead = sum(widths[:3]) + 6
    yield "  " + " " * lead + "last minute".ljust(minute) + "  in all"
    for row in table:
        yield "  " + "  ".join(_aligned(row, widths)).rstrip()


@attrs.define
class DocumentRow:
    """One of two documents over all proxies, since the other one is tried.

    Attributes:
        requests: that it decided on.
        errors: of these, with 5xx.
        latency: of these, by the upper ends of their microseconds.
    """

    requests: int = 0
    errors: int = 0
    latency: dict[float, int] = attrs.field(factory=dict)


def document_rows(
    statuses: Iterable[Mapping[str, Any] | str], revision: int
) -> dict[str, DocumentRow]:
    """Give both documents of a trial, of what proxies say that try this revision."""
    rows: dict[str, DocumentRow] = {}
    for status in statuses:
        if isinstance(status, str):
            continue
        try:
            trial = status["trial"]
            if trial is None or trial["revision"] != revision:
                continue
            for name, told in trial["documents"].items():
                requests, errors = _count(told["requests"]), _count(told["errors"])
                row = rows.setdefault(name, DocumentRow())
                _add(row.latency, told["latency"])
                row.requests += requests
                row.errors += errors
        except _ODD:
            continue
    return rows


def document_lines(rows: Mapping[str, DocumentRow]) -> Iterator[str]:
    """Give both documents of a trial as a table of text."""
    table: list[tuple[str, ...]] = [("document", "requests", "errors", "p50", "p99")]
    for name, row in rows.items():
        times = (_time(quantile(row.latency, share)) for share in (0.5, 0.99))
        counts = (str(row.requests), percent(row.errors, row.requests))
        table.append((printable(name), *counts, *times))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        found = (t.rjust(w) for t, w in zip(line[1:], widths[1:], strict=True))
        yield "  " + "  ".join([line[0].ljust(widths[0]), *found]).rstrip()


def shown_document(row: DocumentRow) -> dict[str, Any]:
    """Give a document's row as JSON has it; times in seconds."""
    return _part(row.requests, row.errors, row.latency)


def shown_row(row: ArmRow) -> dict[str, Any]:
    """Give an arm's row as JSON has it; times in seconds."""
    return {
        "asked_share": row.asked,
        "decisions": row.decisions,
        "in_flight": row.in_flight,
        "servers": row.servers,
        "usable_servers": row.usable,
        "panic": row.panic,
        "total": _part(row.requests, row.errors, row.latency),
        "minute": {
            **_part(row.minute_requests, row.minute_errors, row.minute_latency),
            "rate": round(row.rate, 3),
        },
    }


def percent(part: int, whole: int) -> str:
    """Give a share in percent; of nothing, none.

    >>> percent(1, 3), percent(0, 0)
    ('33.33%', '-')
    """
    return f"{part / whole:.2%}" if whole else "-"


def _part(requests: int, errors: int, latency: Mapping[float, int]) -> dict[str, Any]:
    times = {"p50_s": quantile(latency, 0.5), "p99_s": quantile(latency, 0.99)}
    seconds = {
        name: None if us is None else round(us / 1e6, 6) for name, us in times.items()
    }
    return {"requests": requests, "errors": errors, **seconds}


def _row(arm: Mapping[str, Any]) -> ArmRow:
    row = ArmRow()
    row.add(arm)
    return row


def _sum(one: ArmRow, other: ArmRow) -> ArmRow:
    """Add two rows; the share that is asked for is the later one's."""
    for name in ("latency", "minute_latency"):
        _add(getattr(one, name), getattr(other, name))
    for name in (
        *("decisions", "requests", "errors", "minute_requests", "minute_errors"),
        *("rate", "in_flight", "servers", "usable"),
    ):
        setattr(one, name, getattr(one, name) + getattr(other, name))
    one.asked, one.panic = other.asked, one.panic or other.panic
    return one


def _add(counts: dict[float, int], more: Mapping[Any, Any]) -> None:
    for end, count in more.items():
        counts[float(end)] = counts.get(float(end), 0) + _count(count)


def _count(value: Any) -> int:
    """Give a count; raises ValueError for what no proxy has counted.

    >>> _count(3)
    3
    """
    found = int(value)
    if not 0 <= found < 2**63:
        raise ValueError("no count")
    return found


def _time(us: float | None) -> str:
    """Give a time in words.

    >>> _time(None), _time(420.0), _time(12_345.0), _time(2_500_000.0)
    ('-', '0.42 ms', '12.3 ms', '2.5 s')
    """
    if us is None:
        return "-"
    return f"{us / 1e6:.3g} s" if us >= 1e6 else f"{us / 1e3:.3g} ms"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for at, (text, width) in enumerate(zip(row, widths, strict=True)):
        yield text.ljust(width) if at in (0, len(row) - 1) else text.rjust(width)
