"""Steps that let rollouts run: to their end, or to an abort.

On a machine that our own load keeps busy the arm that grows is slower than before, and a rollout
then waits for up to a minute at each of its steps. Operators promote it, and so do these.
"""

from __future__ import annotations

import random
import time
from typing import Any

import trio

from canary_trio.config.document import build
from canary_trio.config.rollout import Phase
from canary_trio.control.changes.rollouts import rollout_in, with_move
from canary_trio.rollout.commands import abort, promote, start
from canary_trio.rollout.moves import Situation
from canary_trio.verify.arithmetic import shares_of
from canary_trio.verify.documents import (
    Table,
    rollout_table,
)
from canary_trio.verify.plan import PlannedStep
from canary_trio.verify.steps.stage import Stage, StepStuck

PROMOTED_S = 8.0
"""How long a rollout is let wait until it is promoted."""


async def begin(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    """Begin a rollout from nothing."""
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


async def do_rollout(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    """Let a rollout come to its end."""
    await begin(stage, chance, step)
    await done(stage, chance)


async def done(stage: Stage, chance: random.Random) -> None:
    """Wait until the rollout is done; promote it where it waits for long.

    Raises:
        StepStuck: it came to another end.
    """
    over = (Phase.DONE, Phase.PAUSED, Phase.ABORTED)
    table: Table | None = None
    while table is None:
        with trio.move_on_after(PROMOTED_S):
            table = await stage.wait_document(lambda found: _phase(found) in over)
        if table is None:
            await stage.write(_promoted, "nobody waits for room", wait=False)
    if _phase(table) is not Phase.DONE:
        raise StepStuck(f"the rollout is {_phase(table).value}, expected done")
    await stage.flip(chance.random(), "after a rollout", wait=True)


def _promoted(table: Table) -> Table:
    rollout, ratio = rollout_in(table)
    if rollout is None or rollout.is_over:
        return table
    return with_move(table, promote(rollout, ratio, _seen()))


async def do_abort(stage: Stage, chance: random.Random, step: PlannedStep) -> None:
    """Abort a rollout on its way."""
    await begin(stage, chance, step)
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
