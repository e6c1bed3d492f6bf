"""Tables of what was measured, and the bars that it is held to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from operator import attrgetter

import attrs

from benchmarks.measure import Load, Peer


@attrs.frozen
class Bar:
    """What a number must be beside another's; printed with what it is."""

    what: str
    measured: float
    bar: float
    aim: float | None = None
    unit: str = "x nginx"
    more_is_better: bool = False

    def __str__(self) -> str:
        sign = ">=" if self.more_is_better else "<="
        aim = (
            "" if self.aim is None else f", aim {self.aim:g}: {self._verdict(self.aim)}"
        )
        return (
            f"  {self.what:<46} {self.measured:8.2f} {self.unit:<7}"
            f" bar {sign} {self.bar:g}: {self._verdict(self.bar)}{aim}"
        )

    def _verdict(self, limit: float) -> str:
        met = self.measured >= limit if self.more_is_better else self.measured <= limit
        return "met" if met else "MISSED"


def column(loads: Mapping[str, Sequence[Load]], field: str) -> dict[str, float]:
    get = attrgetter(field)
    return {name: statistics.median(map(get, rounds)) for name, rounds in loads.items()}


def show(
    peers: Sequence[Peer],
    columns: Mapping[str, Mapping[str, float]],
    busy: Mapping[str, float] | None = None,
) -> None:
    rivals = [name for name in ("nginx", "caddy") if any(p.name == name for p in peers)]
    beside = "".join(f" {'x ' + name:>8}" for name in rivals)
    head = "".join(f"{label:>16}{beside}" for label in columns)
    print(f"  {'proxy':<24}{head}{'  busy' if busy else ''}")
    for peer in peers:
        row = f"  {peer.name:<24}"
        for found in columns.values():
            value = found[peer.name]
            row += f"{value:>16.1f}"
            row += "".join(f" {value / found[name]:>8.2f}" for name in rivals)
        print(row + (f"  {busy[peer.name]:4.0%}" if busy else ""))
