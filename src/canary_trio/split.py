"""Traffic without a key is split exactly: a low-discrepancy sequence. Pure.

Each request owes every arm its share; the arm that is owed is served, and its debt
falls by one. The debts survive a change of the shares, so the ratio stays exact over
any number of unrelated changes. Which arm is next is Tijdeman's rule (R. Tijdeman, "The
chairman assignment problem", 1980): among the arms that are owed at least 1/(2n-2), the
one that would be overdue first. With it no arm is ever more than one request off its
share. For two arms that is Bresenham's line. All in ten-thousandths of a request.
"""

from __future__ import annotations

from collections.abc import Mapping

from canary_trio.config import STABLE, WHOLE


class Sequence:
    """The order in which arms are served, and what each is owed.

    >>> sequence = Sequence()
    >>> [sequence.next({"canary": 2500}) for _ in range(8)].count("canary")
    2
    """

    def __init__(self) -> None:
        self._debts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Sequence {self._debts}>"

    def next(self, shares: Mapping[str, int]) -> str:
        """Give the arm of the next request.

        Args:
            shares: of the arms other than `stable`, in ten-thousandths.
        """
        if not shares:
            return STABLE
        if len(shares) == 1:
            return self._next_of_two(*next(iter(shares.items())))
        return self._next_of_many(shares)

    def _next_of_two(self, arm: str, share: int) -> str:
        debt = self._debts.get(arm, 0) + share
        if share and 2 * debt >= WHOLE:
            self._debts[arm] = debt - WHOLE
            return arm
        if share == WHOLE:
            return arm
        self._debts[arm] = debt
        return STABLE

    def _next_of_many(self, shares: Mapping[str, int]) -> str:
        whole = {STABLE: WHOLE - sum(shares.values()), **shares}
        owed = {arm: share for arm, share in whole.items() if share}
        debts = self._debts
        for arm, share in owed.items():
            debts[arm] = debts.get(arm, 0) + share
        slack = WHOLE // (2 * len(owed) - 2) if len(owed) > 1 else 0
        eligible = [arm for arm in owed if debts[arm] >= slack] or list(owed)
        chosen = min(eligible, key=lambda arm: (WHOLE - slack - debts[arm]) / owed[arm])
        debts[chosen] -= WHOLE
        return chosen


def random_arm(shares: Mapping[str, int], draw: float) -> str:
    """Give an arm by chance: draw is uniform in [0, 1)."""
    at = draw * WHOLE
    for arm, share in shares.items():
        at -= share
        if at < 0:
            return arm
    return STABLE
