"""Steps that kill, stop and replace processes.

The rule that it obeys: what was done is noted as an incident with its times, before anybody asks
what was lost by it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from canary_trio.verify.observation import (
    DoneTo,
    Incident,
)
from canary_trio.verify.plan import PlannedStep
from canary_trio.verify.steps.rollouts import begin, done
from canary_trio.verify.steps.stage import STEP_S, Stage, StepStuck

KEPT_S = 0.5
"""A document is kept on disk soon after it came, for a start without a store."""

HEARD_S = 2.0
"""So long after its start the proxies may still be pausing before they ask the store again."""


async def do_handover(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Let a proxy follow another one, while ratios change."""
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


async def do_store(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Kill the store just behind writes, and start it again."""
    for _number in range(2):
        await stage.flip(chance.random(), "just before the store is killed")
    await _kill_store(stage, chance)
    await stage.flip(chance.random(), "after the store came back", wait=True)


async def _kill_store(stage: Stage, chance: random.Random) -> None:
    async with _store_away(stage):
        await stage.own.kill_store()
        await trio.sleep(chance.uniform(0.3, 1.5))
        await stage.own.start_store()


async def do_hang(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Let the store hang for seconds."""
    async with _store_away(stage):
        stage.own.stop_store()
        await trio.sleep(chance.uniform(1.0, 4.0))
        stage.own.let_store_go_on()
    await stage.flip(chance.random(), "after the store hung", wait=True)


async def do_cold(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Let a proxy follow another one while the store is dead."""
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
    try:
        yield
    finally:
        over = stage.journal.now() + HEARD_S
        away = Incident(DoneTo.STORE_AWAY, frozenset(), begun, over)
        stage.journal.record.incidents.append(away)
    await trio.lowlevel.checkpoint()


async def do_storm(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    """Let a fault come in the middle of a rollout."""
    await begin(stage, chance, step)
    await trio.sleep(chance.uniform(0.0, 0.5))
    what = chance.choice([_kill_servers, _kill_store, _any_hand_over])
    await what(stage, chance)
    await done(stage, chance)


async def do_crash(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Kill half of the servers, and start them again."""
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
