"""What steps act on: a store to write to, proxies to look at, and processes.

Each writes as an operator would: compare-and-set over what it read, with a note of who it was; and
waits as `--wait` does. The rule that it obeys: it does what it was asked to, or says what did
not come to its end; whether the traffic bore it is the checkers' matter.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from canary_trio.config.document import parse
from canary_trio.control.changes.documents import revise
from canary_trio.control.changes.history import Note
from canary_trio.control.fleet.applied import wait_applied
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.store_keys import config_key
from canary_trio.errors import CanaryError
from canary_trio.verify.documents import (
    Table,
    with_ratio,
)
from canary_trio.verify.fleet import OwnFleet
from canary_trio.verify.observation import (
    LiveSince,
    StepRun,
    WrittenChange,
)
from canary_trio.verify.peers.journal import Journal
from canary_trio.verify.peers.prober import Prober
from canary_trio.verify.plan import PlannedStep
from kv_trio import KvError

STEP_S = 60.0
"""How long a step may take; what is not at its end then is stuck."""

LIVE_S = 20.0
"""How long a change may take until it is live everywhere."""

TRIES = 20
"""So often a change is made anew where a driver was quicker."""


Does = Callable[["Stage", random.Random, PlannedStep], Awaitable[None]]


class StepStuck(Exception):
    """Something did not come to its end in time, or came to another one."""


@attrs.define(eq=False)
class Stage:
    """What steps act on.

    Attributes:
        service: whose document it is.
        client: of the store.
        journal: of the run.
        prober: that sees when a change is live.
        fleet: that is ours; None where another one's is looked at.
        proxies: how many must say that they route by a change.
        pause_s: behind each step, which then makes one change: the history is not ours.
    """

    service: str
    client: DocumentSource
    journal: Journal
    prober: Prober
    fleet: OwnFleet | None = None
    proxies: int = 1
    pause_s: float = 0.0

    def __repr__(self) -> str:
        return f"<Stage of {self.service}>"

    @property
    def own(self) -> OwnFleet:
        """The fleet, of which it is known that it is ours."""
        assert self.fleet is not None, "only a flip is done to another one's fleet"
        return self.fleet

    async def run(self, step: PlannedStep, does: Does) -> None:
        """Do a step, and note it."""
        begun, stuck = self.journal.now(), ""
        runs = self.journal.record.steps
        runs.append(StepRun(step.number, step.name, begun, begun))
        with trio.move_on_after(STEP_S) as scope:
            try:
                await does(self, step.chance(), step)
            except (StepStuck, CanaryError, KvError) as exc:
                stuck = f"{step.name}: {exc}"
        if scope.cancelled_caught:
            stuck = f"{step.name}: not at its end within {STEP_S:g} s"
        if stuck and self.fleet is not None:
            await self.fleet.mend()
        runs[-1] = StepRun(step.number, step.name, begun, self.journal.now(), stuck)

    async def write(
        self, changed: Callable[[Table], Table], message: str, *, wait: bool
    ) -> int:
        """Write a change; wait until it is live if that is asked for. Give its revision."""
        note = Note("canary verify", message)
        begun = self.journal.now()
        async with self.prober.watching() as probes:
            revision = await revise(
                self.client, self.service, changed, note=note, tries=TRIES
            )
            change = WrittenChange(revision, begun, self.journal.now())
            self.journal.record.written.append(change)
            probes.wanted(revision)
            if wait:
                await self.wait_live(revision)
        return revision

    async def flip(self, ratio: float, message: str, *, wait: bool = False) -> int:
        """Write a ratio, to four places; as `write`."""
        share = round(ratio, 4)
        return await self.write(
            lambda found: with_ratio(found, share), message, wait=wait
        )

    async def wait_live(self, revision: int) -> None:
        """Wait until the fleet says that it routes by a revision.

        Raises:
            StepStuck: it does not say so in time.
        """
        with trio.move_on_after(LIVE_S):
            fleet = await wait_applied(
                self.client, self.service, revision, expect=self.proxies
            )
            live = LiveSince(fleet.revision, self.journal.now())
            self.journal.record.live.append(live)
            return
        raise StepStuck(f"revision {revision} not live within {LIVE_S:g} s")

    async def wait_document(self, until: Callable[[Table], bool]) -> Table:
        """Wait until the document is as it is waited for; give it."""
        async with self.client.watch(config_key(self.service)) as states:
            while True:
                entry = (await anext(states)).entry
                if entry is not None and until(table := parse(entry.value)):
                    return table
