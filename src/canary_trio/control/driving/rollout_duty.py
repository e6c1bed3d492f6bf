"""The duty to drive a rollout: look, plan, write by compare-and-set, tell; again and again.

    document --plan(what is seen)--> move --one transaction: ratio, state, history--> document

What is to be done next is for `rollout.plan` to say, which knows no clock and no store. The
rule that this obeys: nothing is written but a move, over the revision that it was made of;
whoever wrote another one meanwhile has won, and the plan is made anew. How long a hold has
lasted is measured here by the clock of the event loop and kept for the next driver, so that
neither a clock that is wrong nor a new driver shortens it. One file, since what is looked at
and what is written of it are one turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import attrs
import trio

from canary_trio.config.document import build, parse
from canary_trio.config.model import STABLE, Config
from canary_trio.config.rollout import Phase, Rollout, RolloutState
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.history import MESSAGE_LENGTH, Note
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import read_freeze, with_move
from canary_trio.control.changes.waiting import carried_over
from canary_trio.control.driving.duty import Turn
from canary_trio.control.driving.fleet_judge import FleetJudge
from canary_trio.control.driving.gate_asker import GateAsker
from canary_trio.control.driving.hook import HookTeller
from canary_trio.control.driving.rollout_news import RolloutNews
from canary_trio.control.fleet.evidence import read_evidence
from canary_trio.control.fleet.room import short_in
from canary_trio.control.store_keys import pending_key
from canary_trio.errors import (
    InvalidConfig,
    NoDocument,
    TooLargeTogether,
    WrittenMeanwhile,
)
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.sums import FleetEvidence
from canary_trio.rollout.moves import (
    Judgement,
    Move,
    Ratio,
    Rest,
    Situation,
    mark_of,
)
from canary_trio.rollout.plan import plan
from kv_trio import KvError, StoreRefused

_log = logging.getLogger(__name__)

TICK_S = 0.5
"""Between two looks at what the fleet counted, while a rollout is judged, in seconds."""

LOOK_S = 5.0
"""The longest time after which a rollout is looked at, in seconds."""

KEEP_S = 1.0
"""How often the judge's state is kept for the next driver at most, in seconds."""


@attrs.frozen
class _Read:
    """A document as it was read: what is planned on it is written over it."""

    revision: int
    table: dict[str, Any]
    rollout: Rollout | None
    ratio: Ratio


class RolloutDuty:
    """Drives the rollout of one service, while this proxy is its driver.

    Attributes:
        name: of the duty.
        waits_for: what is waited for now, in words; empty where this proxy does not drive.
        news: what is told of the rollout.
        judged_at: when the judge looked last, by the clock of the event loop.
    """

    name = "rollout"

    def __init__(
        self,
        service: str,
        proxy_id: str,
        runtime: Runtime,
        *,
        files: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin without a turn.

        Args:
            service: whose rollout it is.
            proxy_id: this proxy's name in the fleet.
            runtime: of the service: what is live, and how its servers are.
            files: the directory that gates and hooks name files of; None for none.
            now: the time, in seconds since 1970.
        """
        self.waits_for = ""
        self.judge = FleetJudge()
        self.judged_at: float | None = None
        self.hook = HookTeller(files)
        self.news = RolloutNews(service, runtime.observer.events, self.hook)
        self._service = service
        self._by = f"rollout ({proxy_id})"
        self._runtime = runtime
        self._now = now
        self._gates = GateAsker(files, now)
        self._known: _Read | None = None
        self._hold: tuple[str, float, float] = ("", 0.0, 0.0)
        self._kept_at = 0.0
        self._frozen = ""

    def __repr__(self) -> str:
        return f"<RolloutDuty {self._service} {self.waits_for!r}>"

    @property
    def is_due(self) -> bool:
        """Whether a rollout is not over, or somebody is still to be told of one."""
        live = self._runtime.live
        rollout = None if live is None else live.config.rollout
        return bool(self.hook) or (rollout is not None and not rollout.is_over)

    @property
    def knows_less(self) -> bool:
        """Whether others may know more: what there is to know is in the store."""
        return False

    def look(self) -> None:
        """Look at what is live now: what changed of the rollout is told."""
        live = self._runtime.live
        if live is not None:
            self.news.note(live.config.rollout, live.revision)

    async def run(self, turn: Turn) -> None:
        """Drive while it is due."""
        kept = turn.kept.state.get(self.name)
        kept = kept if isinstance(kept, dict) else {}
        self.judge.restore(kept.get("judge"))
        held_s = kept.get("held_s")
        held_s = float(held_s) if isinstance(held_s, int | float) else 0.0
        self._hold = (str(kept.get("of", "")), held_s, trio.current_time())
        self._known = None
        self.news.begin(kept.get("told"))
        self.look()
        failed: KvError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_hook)
                try:
                    while self.is_due:
                        await self._step(turn)
                except KvError as exc:
                    failed = exc
                nursery.cancel_scope.cancel()
        finally:
            self.news.end()
            self.waits_for = ""
        if failed is not None:
            raise failed

    # === one look ===

    async def _step(self, turn: Turn) -> None:
        """Look once: write a move, or rest."""
        live = self._runtime.live
        read = await self._read(turn)
        if read is None or read.rollout is None or read.rollout.is_over:
            await self._rest(LOOK_S, live)
            return
        rollout = read.rollout
        fleet = await read_evidence(turn.client, self._service)
        seen = self._situation(read, rollout, fleet)
        found = plan(rollout, read.ratio, seen)
        if self._frozen or (isinstance(found, Move) and _begins(found, rollout.state)):
            self._frozen = await read_freeze(turn.client, self._service, self._now())
            seen = attrs.evolve(seen, frozen=self._frozen)
            found = plan(rollout, read.ratio, seen)
        if isinstance(found, Move):
            if await self._may_write(turn, found):
                await self._write(turn, read, rollout, found)
            else:
                await self._say(turn, "a change waits to be confirmed: canary confirm")
                await self._rest(TICK_S, live)
            return
        self.waits_for = found.reason
        await self._keep(turn)
        if found.gates:
            await self._gates.ask(found.gates)
        await self._rest(self._pause_s(rollout, found), live)

    async def _read(self, turn: Turn) -> _Read | None:
        """Give the document; it is read unless it is known to be the one that is live."""
        live, known = self._runtime.live, self._known
        if known is not None and live is not None and live.revision <= known.revision:
            return known
        try:
            text, revision = await read_document(turn.client, self._service)
            table = parse(text)
            config = build(table, service=self._service)
        except (NoDocument, InvalidConfig) as exc:
            self.waits_for = f"the document cannot be read: {exc}"
            return None
        return self._note(revision, table, config)

    def _note(self, revision: int, table: dict[str, Any], config: Config) -> _Read:
        before = None if self._known is None else self._known.rollout
        if config.rollout != before:
            self._gates.forget()
        self._known = _Read(revision, table, config.rollout, config.ratio)
        return self._known

    def _judge(
        self, rollout: Rollout, fleet: FleetEvidence
    ) -> tuple[Judgement | None, tuple[int, ...]]:
        needed = rollout.judge is not None or any(s.requests for s in rollout.steps)
        if rollout.state is None or not needed:
            return None, ()
        self.judged_at = trio.current_time()
        return self.judge.look(fleet, rollout)

    def _situation(
        self,
        read: _Read,
        rollout: Rollout,
        fleet: FleetEvidence,
    ) -> Situation:
        judgement, requests = self._judge(rollout, fleet)
        present = read.ratio.get(rollout.arm, 0)
        state = rollout.state
        goes_up = state is None or not (
            state.phase.value == "aborting"
            or (state.step < len(rollout.steps) and present > (state.target or 0))
        )
        return Situation(
            now_ms=int(self._now() * 1000),
            by=self._by,
            held_s=self._held_s(rollout),
            judgement=judgement,
            requests=requests,
            gates=self._gates.reports,
            frozen=self._frozen,
            short=short_in(fleet, rollout.arm if goes_up else STABLE),
            before=read.revision,
        )

    def _held_s(self, rollout: Rollout) -> float:
        """Say how long nothing has moved, as drivers have measured it."""
        of, now = mark_of(rollout), trio.current_time()
        if self._hold[0] != of:
            self._hold = (of, 0.0, now)
        return self._hold[1] + now - self._hold[2]

    # === what follows ===

    async def _may_write(self, turn: Turn, move: Move) -> bool:
        """Tell whether a move has not to wait for a change; an abort takes it along."""
        if move.state.phase in (Phase.ABORTING, Phase.ABORTED):
            return True
        return (await turn.client.get(pending_key(self._service))).entry is None

    async def _write(
        self, turn: Turn, read: _Read, rollout: Rollout, move: Move
    ) -> None:
        """Write a move over the document that it was made of."""
        document = with_move(read.table, move)
        words = (
            f"rollout {rollout.id}: {move.state.phase.value}, step {move.state.step}"
        )
        note = Note(self._by[:128], f"{words}: {move.state.reason}"[:MESSAGE_LENGTH])
        try:
            revision = await write_document(
                *(turn.client, self._service, document),
                over=read.revision,
                note=note,
                also=await carried_over(turn.client, self._service),
            )
        except WrittenMeanwhile as exc:
            _log.info("the plan is made anew: %s", exc)
            self._known = None
        except (InvalidConfig, TooLargeTogether, StoreRefused) as exc:
            if isinstance(exc, StoreRefused) and exc.status != HTTPStatus.FORBIDDEN:
                raise  # it may be well again soon
            self._known = None
            _log.error("%s: the next step cannot be written: %s", self._service, exc)
            await self._say(turn, f"the next step cannot be written: {exc}")
            await trio.sleep(LOOK_S)
        else:
            self._note(revision, document, build(document, service=self._service))

    async def _say(self, turn: Turn, waits_for: str) -> None:
        """Say at once what hinders a step, where who asks for the rollout finds it."""
        is_news, self.waits_for = waits_for != self.waits_for, waits_for
        await self._keep(turn, at_once=is_news)

    async def _keep(self, turn: Turn, *, at_once: bool = False) -> None:
        """Keep what the next driver needs."""
        now = trio.current_time()
        every_s = KEEP_S if self.judge.keeps else LOOK_S
        if not at_once and now - self._kept_at < every_s:
            return
        self._kept_at = now
        state = {
            "of": self._hold[0],
            "held_s": round(self._hold[1] + now - self._hold[2], 3),
            "judge": self.judge.kept(),
            "told": self.news.told,
            "waits_for": self.waits_for,
        }
        await turn.keep(self.name, state, int(self._now() * 1000))

    def _pause_s(self, rollout: Rollout, rest: Rest) -> float:
        pause_s = LOOK_S if rest.for_s is None else min(rest.for_s, LOOK_S)
        if rest.gates and any(
            gate.name not in self._gates.reports for gate in rest.gates
        ):
            return 0.0
        if rest.gates and rest.for_s == 1.0:
            return 0.0  # they were asked just now
        if rollout.judge is not None or any(step.requests for step in rollout.steps):
            return min(pause_s, TICK_S)
        return pause_s

    async def _rest(self, for_s: float, live: object) -> None:
        """Wait for so long, or until another configuration is live."""
        with trio.move_on_after(max(for_s, 0.01)):
            while self._runtime.live is live:
                await self._runtime.wait_other(self._runtime.live)

    async def _tell_hook(self) -> None:
        """Tell whoever wants to know, beside all else."""
        while True:
            await self.news.wait()
            await self.hook.tell_all()


def _begins(move: Move, state: RolloutState | None) -> bool:
    """Tell whether a step begins by a move."""
    if state is None or state.to_begin:
        return True
    return move.state.step > state.step
