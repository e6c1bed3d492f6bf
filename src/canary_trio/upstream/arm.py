"""An arm at run time: what outlives a configuration, and one configuration's view of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
import trio

from canary_trio.config.model import Arm
from canary_trio.upstream.retry_budget import RetryBudget
from canary_trio.upstream.server import ServerState
from canary_trio.upstream.server_set import ServerSet

Pick = Callable[[bytes | None], ServerState | None]
PickOther = Callable[[Collection[ServerState], bytes | None], ServerState | None]


@attrs.define(eq=False)
class ArmState:
    """One arm: its servers and its counters.

    Attributes:
        server_set: its servers, and which of them are usable.
        budget: of repeats.
        requests: that belong to it.
        errors: of these and of those taken over, which it failed: answered with an error
            of ours or with 5xx, or served elsewhere in the end.
        saved: of its errors, served elsewhere: no client saw them.
        fallbacks: of its requests, given to another arm.
        taken_over: requests of other arms that it was given.
    """

    name: str
    server_set: ServerSet
    budget: RetryBudget = attrs.field(factory=RetryBudget)
    requests: int = 0
    errors: int = 0
    saved: int = 0
    fallbacks: int = 0
    taken_over: int = 0


_COUNTED = frozenset({"requests", "errors", "saved", "fallbacks", "taken_over"})


class TriedArmState(ArmState):
    """An arm of a document that is tried: what it counts is counted for the arm, too.

    Attributes:
        whole: the same arm of the present document.
    """

    def __init__(self, name: str, server_set: ServerSet, whole: ArmState) -> None:
        self.whole = whole
        super().__init__(name, server_set)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field; what a count grows by is added to the whole."""
        if name in _COUNTED:
            grown = value - getattr(self, name, 0)
            setattr(self.whole, name, getattr(self.whole, name) + grown)
        super().__setattr__(name, value)


class ArmTimes:
    """What of arms has its time: ejections end, cold servers grow warmer."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sooner = trio.Event()

    def wake(self) -> None:
        """Look again: something is due sooner than it was."""
        self._sooner.set()

    async def keep(self, arms: Mapping[str, ArmState]) -> None:
        """Call each arm's `tick` when something of it is due, until cancelled."""
        while True:
            self._sooner = trio.Event()
            now = self._now()
            soonest = math.inf
            for arm in list(arms.values()):
                arm.server_set.tick(now)
                soonest = min(soonest, arm.server_set.next_due)
            with trio.move_on_after(max(0.0, soonest - now)):
                await self._sooner.wait()


@attrs.frozen(eq=False)
class LiveArm:
    """An arm as one revision has it.

    What can be chosen is always of this moment: a server that a later revision has
    removed is not chosen any more.

    Attributes:
        config: the arm's part of the document.
        state: what outlives this revision.
        servers: as configured, in order.
        pick: give the server of a request, by its key if it has one: see `Picker.pick`.
        pick_other: give another one than those tried: see `Picker.pick_other`.
    """

    config: Arm
    state: ArmState
    servers: tuple[ServerState, ...]
    pick: Pick = attrs.field(init=False, repr=False)
    pick_other: PickOther = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "pick", self.state.server_set.pick)
        object.__setattr__(self, "pick_other", self.state.server_set.pick_other)
