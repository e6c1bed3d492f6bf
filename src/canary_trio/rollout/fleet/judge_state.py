"""A judge in the course of a rollout: a fleet's counts go in, verdicts come out. Pure.

`advance` is one look: what each proxy has counted beyond what was judged is added up, and
that is the judge's tick. A proxy that is late is part of a later tick, and one that has
begun anew, with another epoch, counts from nothing; no look waits for anybody. That is
sound since which counts a look finds does not depend on what they say: a proxy tells of all
arms at one moment, or not at all.

A user who fails at several proxies is one, and one who is timed there: by the hashes that
proxies tell. Those who fail beyond what a proxy tells at a time are taken for others.

Another driver goes on from what `dump` gave. The counts that were judged are kept as sums
over the fleet; if it is still the same proxies in the same epochs, the difference to their
present sums is what was not judged yet. If not, that stretch is left out. Latencies of the
stretch are left out always, and users who failed or were timed before it may count once more. Who comes
later in that step may have been judged before: what it counted by then is left out.
What groups of users had is not kept: what the fleet tells of them at the first look is only
learnt from, so a failure that nobody judged by group speaks neither for them nor against.
"""

from __future__ import annotations

import hashlib
import json
from array import array

import attrs

from canary_trio.rollout.evidence import ArmTick
from canary_trio.rollout.fleet.judge_text import pack, unpack
from canary_trio.rollout.fleet.published import ArmSums, ProxyEvidence
from canary_trio.rollout.fleet.sums import (
    NOTHING,
    FleetEvidence,
    NewCounts,
    Sums,
    digest_of,
    groups_of,
    sums_of,
    ticks_of,
)
from canary_trio.rollout.fleet.timed_users import FirstTimes
from canary_trio.rollout.judge import Judge, JudgeNumbers, JudgeSettings
from canary_trio.rollout.verdict import Verdict

MOST_STATE = 3400
"""Bytes of what `dump` gives, at most: it is part of a lock's value of 4 KiB."""

MOST_PROXIES = 10_000
"""Of a fleet whose counts are told apart; those beyond are not looked at."""


@attrs.frozen
class JudgedArms:
    """Who is compared with whom, by name.

    Attributes:
        arm: the version that is judged.
        against: what it is compared with.
        control: a third arm, of the same version as `against`; None for none.
    """

    arm: str
    against: str
    control: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that there are."""
        named = (self.arm, self.against, self.control)
        return tuple(name for name in named if name is not None)


@attrs.frozen
class _Judged:
    """What was judged of a fleet: a digest of who it was, and sums by arm."""

    fleet: str
    sums: Sums


class JudgeState:
    """A judge, and what of a fleet's counts it has been told.

    Attributes:
        arms: who is compared with whom.
        judge: that compares them.
        window: whose counts are taken; another one is another step.
        looks: that found something new.
    """

    __slots__ = (
        "_failed",
        "_known",
        "_present",
        "_restored",
        "_resumed",
        "_timed",
        "arms",
        "judge",
        "looks",
        "window",
    )

    def __init__(self, settings: JudgeSettings, arms: JudgedArms) -> None:
        self.arms = arms
        self.judge = Judge(settings)
        self.window = ""
        self.looks = 0
        self._forget()

    def __repr__(self) -> str:
        return f"<JudgeState {self.window!r} looks={self.looks} {self.judge!r}>"

    def dump(self) -> str:
        """Give what another driver needs to go on, as text of at most `MOST_STATE` bytes."""
        numbers = self.judge.numbers()
        text = self._dump(numbers)
        if len(text) > MOST_STATE:  # the warm-up of latencies begins anew
            numbers = attrs.evolve(numbers, warm_ups=({},) * len(numbers.warm_ups))
            text = self._dump(numbers)
        if len(text) > MOST_STATE:  # so do the bounds of ratios, which are only shown
            nothing = array("f", bytes(4 * len(numbers.shown)))
            text = self._dump(attrs.evolve(numbers, shown=nothing))
        return text

    @classmethod
    def load(cls, text: str, settings: JudgeSettings, arms: JudgedArms) -> JudgeState:
        """Go on from what `dump` gave.

        Raises:
            ValueError: it is none, or one of other settings or other arms.
        """
        state = cls(settings, arms)
        try:
            table = json.loads(text)
            if table["of"] != state._kind:
                raise ValueError("found a judge of other settings or arms")
            state.window, state.looks = str(table["window"]), int(table["looks"])
            state.judge.restore(unpack(table["judge"]))
            sums = tuple((int(n), int(x), int(u)) for n, x, u in table["sums"])
            if len(sums) != len(arms.names):
                raise ValueError("found sums of other arms")
            state._restored = _Judged(str(table["fleet"]), sums)
        except (TypeError, KeyError, AttributeError, OverflowError) as exc:
            raise ValueError(f"found no state of a judge: {exc!r}") from exc
        return state

    # === private ===

    def _forget(self) -> None:
        """Begin with nothing that was judged in this window."""
        self._known: dict[str, ProxyEvidence] = {}  # of all that told something
        self._present: FleetEvidence = {}  # of those that were there at the last look
        self._failed: dict[str, set[bytes]] = {name: set() for name in self.arms.names}
        self._timed = {name: FirstTimes() for name in self.arms.names}
        self._restored: _Judged | None = None
        self._resumed = False  # so whoever is new may have been judged before

    @property
    def _kind(self) -> str:
        said = repr((self.judge.settings, self.arms)).encode()
        return hashlib.blake2b(said, digest_size=6).hexdigest()

    def _dump(self, numbers: JudgeNumbers) -> str:
        judged = self._restored or _Judged(
            digest_of(self._present), sums_of(self.arms.names, self._present)
        )
        table = {
            "of": self._kind,
            "window": self.window,
            "looks": self.looks,
            "judge": pack(numbers),
            "fleet": judged.fleet,
            "sums": judged.sums,
        }
        return json.dumps(table, separators=(",", ":"))

    def _take(self, evidence: FleetEvidence) -> dict[str, ArmTick]:
        """Give what is new of each arm; nothing if that is nothing."""
        now = {
            name: one
            for name, one in list(evidence.items())[:MOST_PROXIES]
            if one.window == self.window and all(a in one.arms for a in self.arms.names)
        }
        if not now:
            return {}
        restored, self._restored, self._present = self._restored, None, now
        if restored is not None:
            self._known, self._resumed = dict(now), True
            self.judge.learn(groups_of(self.arms.names, now))
            return self._since(restored, now)
        news = {name: NewCounts() for name in self.arms.names}
        for proxy, one in now.items():
            before = self._known.get(proxy)
            known = one.arms if self._resumed else {}
            if before is not None and before.epoch == one.epoch:
                known = before.arms
            for name, new in news.items():
                new.add(
                    *(one.arms[name], known.get(name, NOTHING)),
                    *(self._failed[name], self._timed[name]),
                )
        self._known.update(now)
        return ticks_of(news)

    def _since(self, judged: _Judged, now: FleetEvidence) -> dict[str, ArmTick]:
        """Give what is new since another driver judged, if the fleet is the same."""
        if judged.fleet != digest_of(now):
            return {}
        every = [one.arms[name] for one in now.values() for name in self.arms.names]
        by_user = any(sums.users is not None for sums in every)
        news = {name: NewCounts() for name in self.arms.names}
        present = sums_of(self.arms.names, now)
        for new, before, after in zip(news.values(), judged.sums, present, strict=True):
            were, are = (before[2], after[2]) if by_user else (None, None)
            now_, then = ArmSums(*after[:2], are), ArmSums(*before[:2], were)
            new.add(now_, then, set(), FirstTimes())
        return ticks_of(news)


def advance(
    state: JudgeState, evidence: FleetEvidence, window: str, *, compares: bool = False
) -> tuple[JudgeState, Verdict]:
    """Take in what is new of a fleet's counts, and say what is known now.

    Args:
        state: before; it is used up.
        evidence: what the proxies tell at this moment.
        window: that is judged; where it is another one than before, a step has begun.
        compares: whether copies of requests are compared in it.
    """
    state.judge.compares = compares
    if state.window != window:
        if state.window:
            state.judge.begin_step()
        state.window = window
        state._forget()  # noqa: SLF001  # its own
    ticks = state._take(evidence)  # noqa: SLF001  # its own
    if ticks:
        arms = state.arms
        control = None if arms.control is None else ticks[arms.control]
        state.judge.observe(ticks[arms.arm], ticks[arms.against], control)
        state.looks += 1
    return state, state.judge.verdict()
