"""Whether the split that was asked for is the one that happened. Pure.

What is counted are the decisions that the ratio made, since the ratio was last changed:
the rules' requests and the returning users are not its doing. Chance may stray a little;
by how much is Pearson's chi-square test, and its p-value below 0.001 is called a sample
ratio mismatch (R. Kohavi et al., "Trustworthy Online Controlled Experiments", 2020,
chapter 21): the split is broken, or something chose for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from canary_trio.config.model import WHOLE, Config
from canary_trio.telemetry.statistics import chi_square_p

MISMATCH_P = 0.001
"""A p-value below this is a mismatch."""

_LEAST_EXPECTED = 5  # per arm; below it the test's distribution is not chi-square yet


@attrs.define(eq=False)
class SplitCheck:
    """What one ratio asked for, and the decisions that were made by it.

    Attributes:
        shares: of all arms that have one, in ten-thousandths.
        counts: of decisions by arm.
    """

    shares: Mapping[str, int]
    counts: dict[str, int] = attrs.field(factory=dict)
    terms: object = None
    """What else the count hangs on: another style or epoch begins a new one."""

    @classmethod
    def of(cls, config: Config, before: SplitCheck | None = None) -> SplitCheck:
        """Give the split of a configuration: the one before, if it asks for the same."""
        shares = {arm: share for arm, share in config.shares.items() if share}
        epoch = config.sticky_sessions.epoch if config.sticky_sessions else None
        terms = (config.style, epoch)
        if before is not None and (before.shares, before.terms) == (shares, terms):
            return before
        return cls(shares, terms=terms)

    @property
    def total(self) -> int:
        """The number of decisions that the ratio made."""
        return sum(self.counts.values())

    def observed(self, arm: str) -> float | None:
        """Give the share of decisions that led to an arm; None before the first."""
        total = self.total
        return self.counts.get(arm, 0) / total if total else None

    def p_value(self) -> float | None:
        """Give how likely chance alone strays this far; None while that says nothing."""
        total = self.total
        if any(self.counts[arm] for arm in self.counts if arm not in self.shares):
            return 0.0
        expected = [share * total / WHOLE for share in self.shares.values()]
        if len(expected) < 2 or min(expected) < _LEAST_EXPECTED:
            return None
        counts = [self.counts.get(arm, 0) for arm in self.shares]
        return chi_square_p(counts, expected)

    def is_mismatch(self) -> bool:
        """Tell whether the split is not the one that was asked for."""
        p = self.p_value()
        return p is not None and p < MISMATCH_P
