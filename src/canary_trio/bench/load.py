"""The generator: it keeps a pace, or a number of requests under way, and watches itself.

Open loop: requests are sent when they are due, whatever became of those before. Closed
loop: each response lets the next request go. Both arms are asked at once, in one loop over
all their connections. The rule that it obeys: what it did itself is measured beside what it
measures: its processor time, and how much later than due it sent. One file, since
both loops share one pace.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import trio

from canary_trio.bench.plan import GeneratorCost, LoadPlan
from canary_trio.bench.schedule import due_times
from canary_trio.bench.sender import ArmSender
from canary_trio.rollout.latency import BOUNDS_S, interval_of

PRECISE_S = 0.002
"""So long before a request is due trio is not asked to wait: it counts in milliseconds."""

TURN_S = 0.005
"""After so long other tasks have their turn, such as the one that waits for Ctrl-C."""

LOOK_S = 0.05
"""How often it is looked for requests that take too long."""

PAUSE_S = 0.01
"""In the closed loop, until the next request after one that failed."""

_AT_ONCE = 64  # requests that are due, until responses are looked at


class Generator:
    """One load on one or two arms.

    Attributes:
        senders: one for each arm.
        stopped: set by whoever wants it to end sooner.
    """

    def __init__(
        self, plan: LoadPlan, senders: Sequence[ArmSender], begun: float
    ) -> None:
        self.stopped = False
        self._plan = plan
        self.senders = senders
        self._loop = senders[0].loop
        self._begun = begun
        self._end = begun + plan.seconds
        self._lateness = [0] * (len(BOUNDS_S) + 1)
        self._cpu_s: float | None = None  # where the measured time begins
        self._cpu_end_s: float | None = None  # and where it ends
        self._yield_at = self._look_at = 0.0
        self._asked = [0] * len(senders)  # of those that are measured

    def __repr__(self) -> str:
        return f"<Generator senders={list(self.senders)} stopped={self.stopped}>"

    async def run(self) -> GeneratorCost:
        """Load until the time, or the number of requests, is over; then wait for the last."""
        try:
            if self._plan.rate is None:
                await self._closed()
            else:
                await self._open(self._plan.rate)
            while not self.stopped and any(sender.open for sender in self.senders):
                await self._turn(time.monotonic() + LOOK_S)
        finally:
            unfinished = sum(sender.unfinished for sender in self.senders)
            for sender in self.senders:
                sender.close()
        wall_s = min(time.monotonic(), self._end) - self._begun
        spent_s = time.process_time() if self._cpu_end_s is None else self._cpu_end_s
        cpu_s = 0.0 if self._cpu_s is None else spent_s - self._cpu_s
        return GeneratorCost(
            cpu_s,
            max(wall_s, 0.0),
            {at: count for at, count in enumerate(self._lateness) if count},
            unfinished=unfinished,
            interrupted=self.stopped,
            held_up=sum(sender.held_up for sender in self.senders),
        )

    async def _open(self, rate: float) -> None:
        start = self._begun - self._plan.warm_up_s
        draw = random.Random(self._plan.seed)
        times = due_times(rate, len(self.senders), start, draw)
        due, arm = next(times)
        while due < self._end and not self.stopped:
            now = time.monotonic()
            for _ in range(_AT_ONCE):
                if due > now or due >= self._end:
                    break
                if self._may_ask(arm, due):
                    if due >= self._begun:
                        self._lateness[interval_of(now - due)] += 1
                    self.senders[arm].ask(due)
                due, arm = next(times)
                if self._is_all_asked:
                    self._end = due
                now = time.monotonic()
            await self._turn(due)

    async def _closed(self) -> None:
        for number, sender in enumerate(self.senders):
            sender.ended = self._asker(number, sender)
            for _ in range(self._plan.concurrency):
                self._ask_again(number, sender)
        while not self.stopped and time.monotonic() < self._end:
            if self._is_all_asked and not any(one.open for one in self.senders):
                self._end = time.monotonic()
                break
            await self._turn(min(self._end, time.monotonic() + LOOK_S))
        for sender in self.senders:
            sender.ended = None

    def _asker(self, number: int, sender: ArmSender) -> Callable[[bool], None]:
        """Give what lets the next request follow one that has ended."""

        def again() -> None:
            self._ask_again(number, sender)

        def ended(responded: bool) -> None:  # noqa: FBT001  # as the sender tells it
            if responded:
                again()
            else:
                self._loop.call_later(PAUSE_S, again)

        return ended

    def _ask_again(self, number: int, sender: ArmSender) -> None:
        now = time.monotonic()
        is_going = now < self._end and not self.stopped and sender.ended is not None
        if is_going and self._may_ask(number, now):
            sender.ask(now)

    def _may_ask(self, arm: int, due: float) -> bool:
        """Count a request that is measured; tell whether its arm has not had all."""
        if due < self._begun or self._plan.requests is None:
            return True
        if self._asked[arm] >= self._plan.requests:
            return False
        self._asked[arm] += 1
        return True

    @property
    def _is_all_asked(self) -> bool:
        return self._plan.requests is not None and (
            min(self._asked) >= self._plan.requests
        )

    async def _turn(self, until: float) -> None:
        """Serve what is ready, and wait for more until then."""
        now = time.monotonic()
        if self._cpu_s is None and now >= self._begun:
            self._cpu_s = time.process_time()
        if self._cpu_end_s is None and now >= self._end:
            self._cpu_end_s = time.process_time()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            for sender in self.senders:
                sender.end_late(now)
        left = until - now
        if left > PRECISE_S and not self._loop.turn(0):
            await self._loop.wait_turn(min(left - PRECISE_S, LOOK_S))
        elif left <= PRECISE_S:
            self._loop.turn(max(left, 0.0))
        if now >= self._yield_at:
            await trio.lowlevel.checkpoint()
            self._yield_at = time.monotonic() + TURN_S
