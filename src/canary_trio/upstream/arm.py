"""An arm at run time: what outlives a configuration, and one configuration's view of it."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

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
