"""What came of a run: for people, for programs, and as an exit status. Pure."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import attrs

from canary_trio.verify.checkers import (
    Excused,
    Property,
    Violation,
    excused,
    judged_users,
    unjudged,
    violations,
)
from canary_trio.verify.histogram import Quantiles, Span, bars, drawn, spans
from canary_trio.verify.observation import ClientKind, Record

SLOWEST = 5
"""Changes whose way took longest, which are named."""

SHOWN = 20
"""Violations that are shown one by one; `--json` has all of them."""


class ExitStatus(enum.IntEnum):
    """The exit status."""

    PASSED = 0
    FAILED = 1
    NOT_JUDGED = 3


@attrs.frozen(kw_only=True)
class RunFacts:
    """What a run was, beside its record.

    Attributes:
        seed: of its plan.
        store: the kind that was started, or the URL that was given.
        proxies: how many there were.
        seconds: how long it took.
        kinds: of clients that there were.
        names: of the steps that were to be done, each once at least.
    """

    seed: int
    store: str
    proxies: int
    seconds: float
    kinds: Collection[ClientKind]
    names: Collection[str]


@attrs.frozen
class VerifyReport:
    """A record, judged.

    Attributes:
        facts: of the run.
        record: of the run.
        violations: all that must not be.
        excused: lost requests that nothing could have saved.
        unjudged: why there is no verdict.
    """

    facts: RunFacts
    record: Record
    violations: list[Violation]
    excused: list[Excused]
    unjudged: list[str]

    @classmethod
    def of(cls, record: Record, facts: RunFacts) -> VerifyReport:
        """Judge a record."""
        found = unjudged(record, facts.kinds)
        return cls(facts, record, violations(record), excused(record), found)

    @property
    def outcome(self) -> ExitStatus:
        """What is wrong comes before what could not be judged."""
        if self.violations:
            return ExitStatus.FAILED
        return ExitStatus.NOT_JUDGED if self.unjudged else ExitStatus.PASSED

    @property
    def not_done(self) -> list[str]:
        """The steps that there was no time for, of which nothing is known."""
        done = {one.name for one in self.record.steps}
        return [name for name in self.facts.names if name not in done]

    @property
    def verdict(self) -> str:
        """The outcome in words; a pass says of how much it is one."""
        said = self.outcome.name.lower().replace("_", " ")
        wanted, missing = len(self.facts.names), len(self.not_done)
        if self.outcome is not ExitStatus.PASSED or not missing:
            return said
        return f"{said}, in {wanted - missing} of {wanted} steps only"

    def counted(self) -> dict[str, int]:
        """Give how many violations there are of each property."""
        found = Counter(one.of for one in self.violations)
        return {one.value: found[one] for one in Property}

    def requests(self) -> dict[str, int]:
        """Give how many requests there were of each kind of client."""
        found = Counter(one.kind for one in self.record.observations)
        return {kind.value: found[kind] for kind in ClientKind if kind in found}

    # === for programs ===

    def table(self) -> dict[str, Any]:
        """Give all of it as JSON has it."""
        found = spans(self.record)
        usual = [one for one in found if not one.outage]
        times = {
            "from_response": [one.from_acknowledged for one in usual],
            "from_begin": [one.from_begin for one in usual],
            "across_outages": [one.from_acknowledged for one in found if one.outage],
        }
        moved = judged_users(self.record)
        return {
            "outcome": self.outcome.name.lower(),
            "seed": self.facts.seed,
            "store": self.facts.store,
            "proxies": self.facts.proxies,
            "seconds": round(self.facts.seconds, 3),
            "requests": self.requests(),
            "changes": len(self.record.written),
            "users": {"at_several_ratios": moved[0], "moved": moved[1]},
            "violations": self.counted(),
            "found": [attrs.asdict(one) for one in self.violations],
            "excused": [
                {
                    "kind": one.seen.kind.value,
                    "at": one.seen.ended,
                    "failure": one.seen.failure,
                    "why": one.why,
                    "step": self.record.step_at(one.seen.ended),
                }
                for one in self.excused
            ],
            "unjudged": self.unjudged,
            "slowest": [
                {**attrs.asdict(one), "ms": round(one.from_acknowledged * 1e3, 3)}
                for one in _slowest(usual)
            ],
            "steps": [attrs.asdict(one) for one in self.record.steps],
            "steps_not_done": self.not_done,
            "write_to_live_ms": {
                name: {
                    "quantiles": attrs.asdict(quantiles)
                    if (quantiles := Quantiles.of(seconds))
                    else None,
                    "bars": bars(seconds),
                }
                for name, seconds in times.items()
            },
        }

    # === for people ===

    def lines(self) -> Iterator[str]:
        """Give all of it as lines."""
        facts, record = self.facts, self.record
        yield (
            f"{facts.store}, {facts.proxies} proxies, seed {facts.seed},"
            f" {facts.seconds:.1f} s"
        )
        yield f"  requests  {_listed(self.requests())}"
        yield f"  steps     {_listed(Counter(one.name for one in record.steps))}"
        if self.not_done:
            yield f"  not done  {', '.join(self.not_done)}: more --seconds have time for them"
        several, moved = judged_users(record)
        yield f"  changes   {len(record.written)}"
        yield f"  users     {several:,} at several ratios, of whom {moved:,} moved"
        yield "must be 0"
        why = Counter(one.why for one in self.excused)
        for name, count in self.counted().items():
            more = ""
            if name == Property.DROPS and why:
                more = "  (excused: " + _listed(why) + ")"
            yield f"  {name:<9} {count:,}{more}"
        for one in self.violations[:SHOWN]:
            yield f"  {one.of} at {one.at:.3f} s, in step {one.step}: {one.what}"
        if len(self.violations) > SHOWN:
            yield f"  and {len(self.violations) - SHOWN:,} more, see --json"
        yield from self._times()
        for reason in self.unjudged:
            yield f"not judged: {reason}"
        yield self.verdict

    def _times(self) -> Iterator[str]:
        found = spans(self.record)
        quiet = [one for one in found if not one.outage]
        usual = [one.from_acknowledged for one in quiet]
        if (all_of := Quantiles.of(usual)) is not None:
            yield (
                f"write to live, from the store's response, {all_of.count} times (changes"
                f" x proxies): p50 {all_of.p50:g}, p90 {all_of.p90:g}, p99 {all_of.p99:g},"
                f" worst {all_of.worst:g} ms"
            )
            yield from drawn(usual)
            slowest = _slowest(quiet)[0]
            yield f"  the worst was in step {slowest.step}, on {slowest.proxy}"
        across = [one.from_acknowledged for one in found if one.outage]
        if (late := Quantiles.of(across)) is not None:
            yield (
                f"  and {late.count} while the store was away: p50 {late.p50:g}, worst"
                f" {late.worst:g} ms"
            )


def _slowest(found: list[Span]) -> list[Span]:
    return sorted(found, key=lambda one: -one.from_acknowledged)[:SLOWEST]


def _listed(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
