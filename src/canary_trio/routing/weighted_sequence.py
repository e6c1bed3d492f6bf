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
from heapq import heapify, heappop, heappush

from canary_trio.config.model import STABLE, WHOLE


class WeightedSequence:
    """The order in which arms are served, and what each is owed.

    >>> sequence = WeightedSequence()
    >>> [sequence.next({"canary": 2500}) for _ in range(8)].count("canary")
    2
    """

    def __init__(self) -> None:
        self._debts: dict[str, int] = {}  # `stable` is owed what the others are not
        self._shares: Mapping[str, int] | None = None  # of the latest choice
        self._arm: str | None = None  # the only one of them, beside `stable`
        self._share = 0
        self._line: _Line | None = None

    def __repr__(self) -> str:
        return f"<WeightedSequence {self.debts}>"

    @property
    def debts(self) -> Mapping[str, int]:
        """What the arms other than `stable` are owed, in ten-thousandths."""
        if self._line is not None:
            self._debts |= self._line.debts()
        return self._debts

    def copy(self) -> WeightedSequence:
        """Give another one that stands where this one does."""
        other = WeightedSequence()
        other._debts = dict(self.debts)
        return other

    def next(self, shares: Mapping[str, int]) -> str:
        """Give the arm of the next request.

        Args:
            shares: of the arms other than `stable`, in ten-thousandths; to be the same
                object as long as it says the same is faster.
        """
        if shares is not self._shares:
            self._follow(shares)
        arm, share = self._arm, self._share
        if arm is not None:
            debt = self._debts[arm] + share
            if share and debt + debt >= WHOLE:
                self._debts[arm] = debt - WHOLE
                return arm
            if share == WHOLE:
                return arm
            self._debts[arm] = debt
            return STABLE
        if self._line is None:
            return STABLE
        if not self._line.lasts():
            self._follow(shares)
        return self._line.next()

    def _follow(self, shares: Mapping[str, int]) -> None:
        """Take other shares; what the arms are owed goes on."""
        if self._line is not None:
            self._debts |= self._line.debts()
        self._shares, self._line, self._arm = shares, None, None
        if len(shares) == 1:
            ((self._arm, self._share),) = shares.items()
            self._debts.setdefault(self._arm, 0)
        elif shares:
            self._line = _Line(shares, self._debts)


class _Line:
    """The sequence of several arms while their shares stay the same.

    An arm's debt grows evenly, so it is known when it will be owed enough (`release`)
    and when it would be overdue; both stay as they are until it is served. So two heaps
    give the next one in O(log n).
    """

    __slots__ = (
        "_arms",
        "_base",
        "_count",
        "_due",
        "_served",
        "_shares",
        "_slack",
        "_waiting",
    )

    def __init__(self, shares: Mapping[str, int], debts: Mapping[str, int]) -> None:
        whole = {**shares, STABLE: WHOLE - sum(shares.values())}
        owed = {arm: debts.get(arm, 0) for arm in shares}
        owed[STABLE] = -sum(owed.values())
        self._arms = [arm for arm, share in whole.items() if share]
        self._shares = [whole[arm] for arm in self._arms]
        self._base = [owed[arm] for arm in self._arms]
        self._served = [0] * len(self._arms)
        self._slack = WHOLE // (2 * len(self._arms) - 2) if len(self._arms) > 1 else 0
        self._count = 0
        self._due: list[tuple[float, int]] = []  # (when overdue, arm): owed enough
        self._waiting = [(self._release(n), n) for n in range(len(self._arms))]
        heapify(self._waiting)

    def lasts(self) -> bool:
        """Whether the numbers are small enough for all comparisons to be exact enough."""
        return self._count < 1 << 20

    def debts(self) -> dict[str, int]:
        """Give what the arms other than `stable` are owed now."""
        return {
            arm: self._base[n] + self._count * self._shares[n] - WHOLE * self._served[n]
            for n, arm in enumerate(self._arms)
            if arm != STABLE
        }

    def next(self) -> str:
        self._count += 1
        waiting, due = self._waiting, self._due
        while waiting and waiting[0][0] <= self._count:
            n = heappop(waiting)[1]
            heappush(due, (self._overdue(n), n))
        if due:
            n = heappop(due)[1]
        else:  # after a change the debts may be anything
            n = min((self._overdue(n), n) for _, n in waiting)[1]
            waiting[:] = [entry for entry in waiting if entry[1] != n]
            heapify(waiting)
        self._served[n] += 1
        heappush(waiting, (self._release(n), n))
        return self._arms[n]

    def _release(self, n: int) -> float:
        """Give the count from which an arm is owed at least the slack."""
        missing = self._slack - self._base[n] + WHOLE * self._served[n]
        return -(-missing // self._shares[n])

    def _overdue(self, n: int) -> float:
        """Give the count at which an arm would be owed a whole request and more."""
        missing = WHOLE - self._slack - self._base[n] + WHOLE * self._served[n]
        return missing / self._shares[n]


def random_arm(shares: Mapping[str, int], draw: float) -> str:
    """Give an arm by chance: draw is uniform in [0, 1)."""
    left = draw * WHOLE
    for arm, share in shares.items():
        left -= share
        if left < 0:
            return arm
    return STABLE
