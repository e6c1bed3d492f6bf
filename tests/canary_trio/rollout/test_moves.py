"""Moves: whatever the judge says, what follows from it can be written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import build, load
from canary_trio.config.rollout import Phase
from canary_trio.control.changes.rollouts import with_move
from canary_trio.rollout.moves import Judgement, Situation, aborted
from canary_trio.rollout.verdict import Finding

ARMS = {name: {"servers": ["http://a"]} for name in ("stable", "canary")}
STATE = {"phase": "running", "step": 0, "target": 0.5, "begun": 1, "since": 1}
ROLLOUT = {"id": "v1", "steps": [0.5, 1], "judge": True, "state": STATE}
DOCUMENT: dict[str, Any] = {"arms": ARMS, "ratio": 0.5, "rollout": ROLLOUT}


@given(
    st.floats(min_value=0, allow_nan=False, allow_infinity=True),
    st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
)
def test_an_abort_can_be_written_whatever_the_evidence(
    e_value: float, requests: tuple[int, int]
) -> None:
    config = load(json.dumps(DOCUMENT))
    assert config.rollout is not None
    judgement = Judgement(Finding.REGRESSION, "regression: errors", e_value)
    seen = Situation(10, "p", judgement=judgement, requests=requests)
    move = aborted(config.rollout, config.ratio, seen, judgement.words)
    written = json.loads(json.dumps(with_move(DOCUMENT, move)))
    after = build(written).rollout
    assert after is not None
    assert after.state is not None
    assert after.state.phase is Phase.ABORTED
