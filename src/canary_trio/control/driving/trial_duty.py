"""The duty to judge a document that is tried, and to let it go back where it is worse.

The same evidence as an arm's, and the same judge: the present document is the baseline. What
each proxy counts of both documents is read, and judged, until nothing is tried any more. It
never decides for the tried document: to confirm it is for people. One that was found worse was
never the document, so its revision is no step that an undo takes back; but history keeps it,
so that `canary diff` and `canary rollback` have it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import trio

from canary_trio.config.document import parse
from canary_trio.config.rollout import JudgeRules
from canary_trio.control.changes.archive import TRANSACTION_BYTES, new_id
from canary_trio.control.changes.difference import differences
from canary_trio.control.changes.history import MESSAGE_LENGTH, Change, Note
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.changes.reading import read_document
from canary_trio.control.driving.duty import Turn
from canary_trio.control.driving.fleet_judge import settings_of
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.control.fleet.evidence import TICK_S, TRIAL, read_evidence
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import (
    changes_prefix,
    past_document_key,
    pending_key,
)
from canary_trio.errors import NoDocument
from canary_trio.proxy.changing.trial import SIDES, trial_window
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.judge_state import JudgeState, advance
from canary_trio.rollout.verdict import Finding, Verdict
from canary_trio.telemetry.events import EventKind
from kv_trio import TxnOperation

_log = logging.getLogger(__name__)

KEEP_S = 1.0
"""How often the judge's state is kept for the next driver at most, in seconds."""

JUDGE = "canary (judge)"
"""Whose note it is that a document which was tried is worse."""

_MOST_KEPT = TRANSACTION_BYTES * 3 // 5  # bytes of it: with its note in one transaction


class TrialDuty:
    """Judges what is tried of one service, while this proxy is its driver.

    Attributes:
        name: of the duty.
    """

    name = "trial"

    def __init__(
        self,
        unconfirmed: Unconfirmed,
        runtime: Runtime,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin without a turn.

        Args:
            unconfirmed: what waits of the service.
            runtime: of the service: the present document says what is tolerated.
            now: the time, in seconds since 1970.
        """
        self._service = runtime.service
        self._unconfirmed = unconfirmed
        self._runtime = runtime
        self._now = now
        self._kept_at = 0.0

    def __repr__(self) -> str:
        return f"<TrialDuty {self._service} due={self.is_due}>"

    @property
    def is_due(self) -> bool:
        """Whether something is tried that is to be judged."""
        return self._judged() is not None

    @property
    def knows_less(self) -> bool:
        """Whether others may know more: what there is to know is in the store."""
        return False

    def look(self) -> None:
        """Look at nothing: what waits is followed, not what is live."""

    async def run(self, turn: Turn) -> None:
        """Judge what is tried until it is tried no more."""
        change = self._judged()
        if change is None:
            return
        state = self._restore(turn, change)
        while self._judged() == change:
            found = await read_evidence(turn.client, self._service, TRIAL)
            state, verdict = advance(state, found, trial_window(change.index))
            await self._keep(turn, change, state, verdict)
            if verdict.finding is Finding.REGRESSION:
                await self._go_back(turn, change, verdict)
                return
            await trio.sleep(TICK_S)
        self._kept_at = 0.0
        await turn.keep(self.name, None, self._now_ms())

    def _judged(self) -> PendingChange | None:
        change = self._unconfirmed.change
        return change if change is not None and change.judged else None

    def _restore(self, turn: Turn, change: PendingChange) -> JudgeState:
        """Go on from what another driver kept; what is none is as if nothing was."""
        live = self._runtime.live
        rollout = None if live is None else live.config.rollout
        rules = (None if rollout is None else rollout.judge) or JudgeRules()
        settings = settings_of(rules)
        kept = turn.kept.state.get(self.name)
        if isinstance(kept, dict) and kept.get("revision") == change.index:
            try:
                return JudgeState.load(str(kept.get("judge")), settings, SIDES)
            except ValueError as exc:
                _log.warning("the judge of what is tried begins anew: %s", exc)
        return JudgeState(settings, SIDES)

    async def _keep(
        self, turn: Turn, change: PendingChange, state: JudgeState, verdict: Verdict
    ) -> None:
        """Keep what the next driver needs, and what is told of it."""
        now = trio.current_time()
        if now - self._kept_at >= KEEP_S:
            self._kept_at = now
            kept = {
                "revision": change.index,
                "verdict": said_of(verdict),
                "judge": state.dump(),
            }
            await turn.keep(self.name, kept, self._now_ms())

    async def _go_back(
        self, turn: Turn, change: PendingChange, verdict: Verdict
    ) -> None:
        said = said_of(verdict)
        try:
            done = await end_worse(
                *(turn.client, self._service, change, said), now_s=self._now()
            )
        except NoDocument as exc:
            _log.info("nothing is tried any more: %s", exc)
            return
        if not done:
            return  # it was confirmed, or ended, at this moment
        self._runtime.observer.events.tell(
            EventKind.ROLLOUT,
            f"{self._service}: revision {change.index}, tried by {change.who}, is worse than"
            f" {change.revision}, and is tried no more: {said}",
            level=logging.WARNING,
            service=self._service,
            revision=change.index,
        )
        await turn.keep(self.name, None, self._now_ms())
        await trio.sleep(TICK_S)  # until it is seen here that it waits no more

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def said_of(verdict: Verdict) -> str:
    """Say what the judge found, with what it looked at."""
    tried, present = verdict.requests
    return (
        f"{verdict}, after {tried} requests beside {present} of the present document"
        f" (e-value {verdict.e_value:.3g})"
    )


async def end_worse(
    client: KeyStore, service: str, change: PendingChange, verdict: str, *, now_s: float
) -> bool:
    """Let a document be tried no more, since it is worse; False where others were first.

    Args:
        client: of the store.
        service: whose document it is.
        change: what is tried.
        verdict: what the judge says, in words.
        now_s: the time, in seconds since 1970.

    Raises:
        NoDocument: there is none any more.
        KvError: the store cannot be read or written.
    """
    at = datetime.fromtimestamp(now_s, UTC)
    text = change.document.encode()
    present, _ = await read_document(client, service)
    words = (
        f"revision {change.index} by {change.author} was tried by {change.who}, and is tried"
        f" no more: {verdict}; revision {change.revision} stays"
    )
    noted = Change.noted(
        new_id(at),
        Note(JUDGE, words[:MESSAGE_LENGTH]),
        differences(parse(present), parse(text)),
        over=change.revision,
        at=at,
    )
    noted = attrs.evolve(noted, revision=change.index, tried=True)
    operations = [
        TxnOperation("delete-cas", pending_key(service), index=change.index),
        TxnOperation("set", changes_prefix(service) + noted.id, noted.dump()),
    ]
    if len(text) < _MOST_KEPT:
        copy = past_document_key(service, noted.id)
        operations.append(TxnOperation("set", copy, text))
    return (await client.transact(operations)).done
