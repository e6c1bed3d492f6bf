"""What each step of a plan does, to a fleet that is under load.

Each writes as an operator would: compare-and-set over what it read, with a note of who it was; and
waits as `--wait` does. The rule that it obeys: it does what it was asked to, or says what did
not come to its end; whether the traffic bore it is the checkers' matter. One file, since each
step is read beside the others.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from canary_trio.config.document import build, parse
from canary_trio.config.rollout import Phase
from canary_trio.control.changes.documents import read_revision, revise
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.rollouts import rollout_in, with_move
from canary_trio.control.fleet.applied import wait_applied
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.store_keys import config_key
from canary_trio.errors import CanaryError
from canary_trio.rollout.commands import abort, start
from canary_trio.rollout.moves import Situation
from canary_trio.verify.arithmetic import shares_of
from canary_trio.verify.documents import (
    Table,
    draw_ratio,
    rollout_table,
    with_policy,
    with_ratio,
)
from canary_trio.verify.fleet import OwnFleet
from canary_trio.verify.observation import (
    DoneTo,
    Incident,
    LiveSince,
    StepRun,
    WrittenChange,
)
from canary_trio.verify.peers.journal import Journal
from canary_trio.verify.peers.prober import Prober
from canary_trio.verify.plan import PlannedStep
from kv_trio import KvError

STEP_S = 40.0
"""How long a step may take; what is not at its end then is stuck."""

LIVE_S = 20.0
"""How long a change may take until it is live everywhere."""

KEPT_S = 0.5
"""A document is kept on disk soon after it came, for a start without a store."""

HEARD_S = 2.0
"""So long after its start the proxies may still be pausing before they ask the store again."""

TRIES = 20
"""So often a change is made anew where a driver was quicker."""


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
    """

    service: str
    client: DocumentSource
    journal: Journal
    prober: Prober
    fleet: OwnFleet | None = None
    proxies: int = 1

    def __repr__(self) -> str:
        return f"<Stage of {self.service}>"

    @property
    def own(self) -> OwnFleet:
        """The fleet, of which it is known that it is ours."""
        assert self.fleet is not None, "only a flip is done to another one's fleet"
        return self.fleet

    async def run(self, step: PlannedStep) -> None:
        """Do a step, and note it."""
        begun, stuck = self.journal.now(), ""
        runs = self.journal.record.steps
        runs.append(StepRun(step.number, step.name, begun, begun))
        with trio.move_on_after(STEP_S) as scope:
            try:
                await DOES[step.name](self, step.chance(), step)
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


Does = Callable[[Stage, random.Random, PlannedStep], Awaitable[None]]


# === changes ===


async def _flip(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    for number in range(chance.randrange(3, 8)):
        drawn = chance.random()

        def flipped(table: Table, drawn: float = drawn) -> Table:
            before = shares_of(table).get("canary", 0) / 10_000
            return with_ratio(table, draw_ratio(random.Random(drawn), before))

        await stage.write(flipped, "another ratio", wait=number % 2 == 0)
        await trio.sleep(chance.uniform(0.0, 0.3))


async def _policy(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    for _number in range(chance.randrange(3, 7)):
        drawn = chance.random()

        def changed(table: Table, drawn: float = drawn) -> Table:
            return with_policy(table, random.Random(drawn))

        await stage.write(changed, "another policy", wait=True)
        await trio.sleep(chance.uniform(0.0, 0.3))


async def _rollback(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    ours = [one.revision for one in stage.journal.record.written]
    if not ours:
        return
    for _number in range(2):
        revision = chance.choice(ours[-20:])
        document = parse(await read_revision(stage.client, stage.service, revision))
        document.pop("rollout", None)
        await stage.write(
            lambda _, document=document: document,  # type: ignore[misc]
            f"back to {revision}",
            wait=True,
        )
        await trio.sleep(chance.uniform(0.1, 0.4))


# === rollouts ===


async def _begin(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    table = rollout_table(step.number, chance)
    await stage.flip(0, "before a rollout", wait=True)

    def begun(found: Table) -> Table:
        after = {**found, "rollout": table}
        config = build(after, service=stage.service)
        assert config.rollout is not None, "it was just put there"
        return with_move(after, start(config.rollout, config.ratio, _seen()))

    await stage.write(begun, "a rollout begins", wait=False)


def _seen() -> Situation:
    return Situation(round(time.time() * 1000), by="canary verify")


def _phase(table: Table) -> Any:
    rollout, _ = rollout_in(table)
    return rollout.state.phase if rollout and rollout.state else None


async def _rollout(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    await _begin(stage, chance, step)
    await _done(stage, chance)


async def _done(stage: Stage, chance: random.Random) -> None:
    """Wait until the rollout is done.

    Raises:
        StepStuck: it came to another end.
    """
    over = (Phase.DONE, Phase.PAUSED, Phase.ABORTED)
    table = await stage.wait_document(lambda found: _phase(found) in over)
    if _phase(table) is not Phase.DONE:
        raise StepStuck(f"the rollout is {_phase(table).value}, expected done")
    await stage.flip(chance.random(), "after a rollout", wait=True)


async def _abort(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    await _begin(stage, chance, step)
    await trio.sleep(chance.uniform(0.1, 1.0))

    def aborted(found: Table) -> Table:
        rollout, ratio = rollout_in(found)
        assert rollout is not None, "it was begun"
        move = abort(rollout, ratio, _seen())
        return found if move is None else with_move(found, move)

    await stage.write(aborted, "an abort", wait=True)
    table = await stage.wait_document(lambda found: _phase(found) is Phase.ABORTED)
    if any(shares_of(table).values()):
        raise StepStuck(f"aborted, and its ratio is {table['ratio']}")


# === what is done to processes ===


async def _handover(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ratios_meanwhile, stage, random.Random(chance.random()))
        await _any_hand_over(stage, chance)
        nursery.cancel_scope.cancel()
    await stage.flip(chance.random(), "after a handover", wait=True)


async def _any_hand_over(stage: Stage, chance: random.Random) -> None:
    await _hand_over(stage, chance.randrange(len(stage.own.places)))


async def _hand_over(stage: Stage, number: int) -> None:
    """Let a proxy follow another one, and note when that was asked to end, and when it had.

    Raises:
        StepStuck: it did not end as it should.
    """
    place, incidents = stage.own.places[number], stage.journal.record.incidents
    await stage.own.follow(number)
    names, begun = frozenset({place.name, place.http2}), stage.journal.now()
    at, far = len(incidents), begun + STEP_S
    incidents.append(Incident(DoneTo.PROXY_ENDING, names, begun, far))
    wrong = await stage.own.end_followed()
    incidents[at] = Incident(DoneTo.PROXY_ENDING, names, begun, stage.journal.now())
    if wrong:
        raise StepStuck(wrong)


async def _ratios_meanwhile(stage: Stage, chance: random.Random) -> None:
    while True:
        with trio.CancelScope(shield=True):  # what is written is noted
            await stage.flip(chance.random(), "during a handover")
        await trio.sleep(chance.uniform(0.1, 0.4))


async def _store(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    for _number in range(2):
        await stage.flip(chance.random(), "just before the store is killed")
    await _kill_store(stage, chance)
    await stage.flip(chance.random(), "after the store came back", wait=True)


async def _kill_store(stage: Stage, chance: random.Random) -> None:
    async with _store_away(stage):
        await stage.own.kill_store()
        await trio.sleep(chance.uniform(0.3, 1.5))
        await stage.own.start_store()


async def _hang(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    async with _store_away(stage):
        stage.own.stop_store()
        await trio.sleep(chance.uniform(1.0, 4.0))
        stage.own.let_store_go_on()
    await stage.flip(chance.random(), "after the store hung", wait=True)


async def _cold(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    await stage.flip(chance.random(), "before a start without a store", wait=True)
    await trio.sleep(KEPT_S)
    async with _store_away(stage):
        await stage.own.kill_store()
        await _hand_over(stage, 0)  # which has a name, and so what the one before kept
        await stage.own.start_store()
    await stage.flip(chance.random(), "after a start without a store", wait=True)


@asynccontextmanager
async def _store_away(stage: Stage) -> AsyncIterator[None]:
    """Note that the store is away until the block ends."""
    begun = stage.journal.now()
    yield
    over = stage.journal.now() + HEARD_S
    away = Incident(DoneTo.STORE_AWAY, frozenset(), begun, over)
    stage.journal.record.incidents.append(away)
    await trio.lowlevel.checkpoint()


async def _storm(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    await _begin(stage, chance, step)
    await trio.sleep(chance.uniform(0.0, 0.5))
    what = chance.choice([_kill_servers, _kill_store, _any_hand_over])
    await what(stage, chance)
    await _done(stage, chance)


async def _crash(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    await stage.flip(chance.uniform(0.3, 1), "before a crash", wait=True)
    await _kill_servers(stage, chance)


async def _kill_servers(stage: Stage, chance: random.Random) -> None:
    fleet, begun = stage.own, stage.journal.now()
    await fleet.kill_second()
    stage.journal.record.incidents.append(
        Incident(DoneTo.SERVER_KILLED, fleet.servers.killed, begun, stage.journal.now())
    )
    await trio.sleep(chance.uniform(0.3, 1.2))
    await fleet.start_second()
    await trio.sleep(chance.uniform(0.5, 1.5))


DOES: dict[str, Does] = {
    "flip": _flip,
    "policy": _policy,
    "rollout": _rollout,
    "abort": _abort,
    "handover": _handover,
    "store": _store,
    "hang": _hang,
    "cold": _cold,
    "crash": _crash,
    "storm": _storm,
    "rollback": _rollback,
}
"""What each step of `plan.STEPS` does."""
