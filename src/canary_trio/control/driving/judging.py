"""The judge of one service's rollout, as its driver asks it.

    look: one read of what all proxies tell -> what is new of it is judged -> what it says

The rule that it obeys: a judge is of one run of one rollout, from its beginning (or its
retry) to its end. Each look costs one read; what the judge knows is `kept` after it, and
whoever drives next resumes from that. What cannot be resumed begins anew, and is told.
"""

from __future__ import annotations

import logging
from typing import Any

from canary_trio.config.rollout import Rollout
from canary_trio.control.fleet.evidence import read_evidence
from canary_trio.control.sources.source import KeyStore
from canary_trio.rollout.fleet.counting_rule import (
    judged_arms,
    run_of,
    settings_of,
    window_of,
)
from canary_trio.rollout.fleet.judge_state import JudgeState, advance
from canary_trio.rollout.fleet.sums import FleetEvidence
from canary_trio.rollout.verdict import Verdict

_log = logging.getLogger(__name__)


class Judging:
    """The judge of one service's rollouts, one after another.

    Attributes:
        telling: how many proxies told something of this step at the last look.
    """

    def __init__(self, service: str, kept: Any = None) -> None:
        """Begin with what the driver before has left, `kept`; None for nothing."""
        self.telling = 0
        self._service = service
        self._kept = kept
        self._run = ""
        self._of: object = None
        self._state: JudgeState | None = None

    def __repr__(self) -> str:
        return f"<Judging {self._service} {self._state!r}>"

    @property
    def kept(self) -> dict[str, str] | None:
        """What the next driver needs, as a value of JSON; None for nothing."""
        if self._state is None:
            return None
        return {"run": self._run, "judge": self._state.dump()}

    async def look(self, client: KeyStore, rollout: Rollout) -> Verdict | None:
        """Read what the fleet tells, and say what is known; None where nothing is judged.

        Raises:
            KvError: the store cannot be read.
        """
        if rollout.judge is None or rollout.state is None or rollout.is_over:
            self._state = None
            return None
        return self.judge(rollout, await read_evidence(client, self._service))

    def judge(self, rollout: Rollout, evidence: FleetEvidence) -> Verdict:
        """Say what is known with what a fleet tells."""
        state, window = self._state_for(rollout), window_of(rollout)
        self._state, verdict = advance(state, evidence, window)
        self.telling = sum(one.window == window for one in evidence.values())
        return verdict

    def _state_for(self, rollout: Rollout) -> JudgeState:
        """Give the judge of this run: the one that there is, what was kept, or a new one."""
        assert rollout.judge is not None, "asked only if there is one"
        run, arms = run_of(rollout), judged_arms(rollout)
        settings = settings_of(rollout.judge)
        of = (run, arms, settings)
        if self._state is not None and self._of == of:
            return self._state
        self._of, self._run = of, run
        kept, self._kept = self._kept, None
        if isinstance(kept, dict) and kept.get("run") == run:
            try:
                return JudgeState.load(str(kept.get("judge")), settings, arms)
            except ValueError as exc:
                _log.warning("the judge of %s begins anew: %s", self._service, exc)
        return JudgeState(settings, arms)
