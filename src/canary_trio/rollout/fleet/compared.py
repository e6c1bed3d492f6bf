"""What a proxy has learnt of a new version by copies of requests: whole numbers. Pure.

Three copies of a request are answered: by the old version, by the old version again, and by
the new one. In some places the new one's answer differs from the first, in some the old
one's second answer does. Where there are more of the former, the comparison speaks against
the new version; where there are more of the latter, for it; else it says nothing.

That is a sign test. If the new version answers as the old one does, the last two answers
are drawn alike and only their order tells them apart; so, whatever the first one was, each
of them is the odd one as often as the other, given that one is. No other rule is needed to
bear with answers that hold the time, a number drawn at random or a list in any order: how
often the old version differs from itself is counted beside, and is the floor. Nor do
requests have to be independent of each other within a comparison.

The rule that it obeys: what is counted here never goes back in a window, and what is told
of it is bounded, whatever the answers hold.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable

import attrs

MOST_PLACES = 20
"""Places where answers differ that are told apart; others are counted together."""

TOLD_PLACES = 5
"""That a proxy tells its fleet of: where answers differ most often."""

OTHER_PLACES = "elsewhere"

MOST_PLACE = 100
"""Characters of a place."""


class Dropped(enum.StrEnum):
    """Why a request was not compared whose turn it was."""

    RATE = "rate"
    """As many comparisons as `rate` allows were begun in this second."""

    BUSY = "busy"
    """As many as `concurrency` allows were in progress."""

    SIZE = "size"
    """Its body, or stable's answer, has more than `size` bytes, or was streamed."""

    NO_SERVER = "no_server"
    """One of the arms had no usable server."""

    NO_ORIGINAL = "no_original"
    """It was not answered itself: its client left, or no server answered."""

    FAILED = "failed"
    """What compares it failed, which is logged."""


class Comparison(enum.StrEnum):
    """What one comparison says."""

    SAME = "same"
    """All three answers are."""

    WORSE = "worse"
    """The new version differs in more than the old one does from itself."""

    BETTER = "better"
    """The old version differs from itself in more."""

    RESTLESS = "restless"
    """Both differ, in as much: it says nothing."""


@attrs.frozen
class Ranked:
    """How one answer differs from another.

    Attributes:
        places: where: `status`, `header content-type`, `body.items.*.price`.
        weight: how much: first whether the statuses differ, then by how many fields, then
            by how many places of the body.
    """

    places: frozenset[str] = frozenset()
    weight: tuple[int, int, int] = (0, 0, 0)


def compare(new: Ranked, again: Ranked) -> Comparison:
    """Say what a comparison says: change its arguments' places, and it says the opposite.

    Args:
        new: how the new version's answer differs from the old one's first.
        again: how the old one's second answer does.
    """
    if new.weight != again.weight:
        is_worse = new.weight > again.weight
        return Comparison.WORSE if is_worse else Comparison.BETTER
    return Comparison.RESTLESS if new.places else Comparison.SAME


@attrs.frozen
class Learnt:
    """What copies of requests have shown.

    Attributes:
        made: comparisons that are over.
        differing: in which the new version differs from the old one.
        restless: in which the old one differs from itself.
        dropped: requests whose turn it was and that were not compared.
        places: where the new version differs and the old one does not, most often first.
    """

    made: int = 0
    differing: int = 0
    restless: int = 0
    dropped: int = 0
    places: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        said = (
            f"{self.made:,} comparisons, the new version differs in {self.differing:,},"
            f" the old one from itself in {self.restless:,}"
        )
        return said + (f", {self.dropped:,} dropped" if self.dropped else "")


class ComparedTally:
    """What one proxy has learnt.

    Attributes:
        made: comparisons that are over.
        worse: that speak against the new version.
        better: that speak for it.
        differing: in which it differs from the old one.
        restless: in which the old one differs from itself.
        dropped: requests that were not compared, by why.
        places: where the new one differs and the old one does not, and how often.
    """

    __slots__ = (
        "better",
        "differing",
        "dropped",
        "made",
        "places",
        "restless",
        "worse",
    )

    def __init__(self) -> None:
        self.made = self.worse = self.better = 0
        self.differing = self.restless = 0
        self.dropped: Counter[Dropped] = Counter()
        self.places: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<ComparedTally {self.learnt}>"

    def add(self, new: Ranked, again: Ranked) -> list[str]:
        """Count a comparison; give the places that are new. Arguments as of `compare`."""
        said = compare(new, again)
        self.made += 1
        self.differing += bool(new.places)
        self.restless += bool(again.places)
        self.worse += said is Comparison.WORSE
        self.better += said is Comparison.BETTER
        news = []
        for place in sorted(set(new.places) - set(again.places)):
            known = place[:MOST_PLACE]
            if known not in self.places:
                if len(self.places) >= MOST_PLACES:
                    known = OTHER_PLACES
                else:
                    news.append(known)
            self.places[known] += 1
        return news

    def drop(self, why: Dropped) -> None:
        """Count a request that is not compared."""
        self.dropped[why] += 1

    @property
    def learnt(self) -> Learnt:
        """What is told of it."""
        return Learnt(
            made=self.made,
            differing=self.differing,
            restless=self.restless,
            dropped=self.dropped.total(),
            places=tuple(self.places.most_common(TOLD_PLACES)),
        )


def added(all_of: Iterable[Learnt]) -> Learnt | None:
    """Add up what the proxies of a fleet have learnt; None if that is nothing."""
    rows = list(all_of)
    if not rows:
        return None
    places: Counter[str] = Counter()
    for one in rows:
        places.update(dict(one.places))
    return Learnt(
        made=sum(one.made for one in rows),
        differing=sum(one.differing for one in rows),
        restless=sum(one.restless for one in rows),
        dropped=sum(one.dropped for one in rows),
        places=tuple(places.most_common(TOLD_PLACES)),
    )
