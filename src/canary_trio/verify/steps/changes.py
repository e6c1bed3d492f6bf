"""Steps that write: ratios, policies, and older documents again."""

from __future__ import annotations

import random

import trio

from canary_trio.config.document import parse
from canary_trio.control.changes.documents import read_revision
from canary_trio.verify.arithmetic import shares_of
from canary_trio.verify.documents import (
    Table,
    draw_ratio,
    with_policy,
    with_ratio,
)
from canary_trio.verify.plan import PlannedStep
from canary_trio.verify.steps.stage import Stage


async def do_flip(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Write ratios one after another; every other one is waited for."""
    count = chance.randrange(3, 8)
    for number in range(1 if stage.pause_s else count):
        drawn = chance.random()

        def flipped(table: Table, drawn: float = drawn) -> Table:
            before = shares_of(table).get("canary", 0) / 10_000
            return with_ratio(table, draw_ratio(random.Random(drawn), before))

        await stage.write(flipped, "another ratio", wait=number % 2 == 0)
        await trio.sleep(chance.uniform(0.0, 0.3))


async def do_policy(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Write other policies, each live before the next."""
    for _number in range(chance.randrange(3, 7)):
        drawn = chance.random()

        def changed(table: Table, drawn: float = drawn) -> Table:
            return with_policy(table, random.Random(drawn))

        await stage.write(changed, "another policy", wait=True)
        await trio.sleep(chance.uniform(0.0, 0.3))


async def do_rollback(stage: Stage, chance: random.Random, _: PlannedStep) -> None:
    """Write documents that there were before."""
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
