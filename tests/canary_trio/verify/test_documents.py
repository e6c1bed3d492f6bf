"""Whatever is drawn is a valid document, and the next one can be drawn of it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio import load
from canary_trio.verify.arithmetic import servers_of, shares_of
from canary_trio.verify.documents import (
    DECISION,
    Servers,
    draw_ratio,
    first_document,
    put_back,
    rollout_table,
    with_policy,
    with_ratio,
)

SERVERS = Servers(*(f"127.0.0.1:{port}" for port in range(9001, 9006)))


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_each_document_is_valid(seed: int) -> None:
    chance, document = random.Random(seed), first_document(SERVERS)
    for number in range(1, 6):
        document = with_policy(document, chance)
        ratio = draw_ratio(chance, shares_of(document)["canary"] / 10_000)
        document = with_ratio(document, ratio)
        load(json.dumps(document))
        assert SERVERS.stable_a in servers_of(document, "stable")

        rolled = {**document, "rollout": rollout_table(number, chance)}
        load(json.dumps(rolled))
        assert "rollout" not in with_ratio(rolled, 0.5)


def test_what_is_killed_is_what_the_second_process_has() -> None:
    bound = {one.removeprefix("h2c:") for one in SERVERS.second}

    assert bound == SERVERS.killed
    assert not {one.removeprefix("h2c:") for one in SERVERS.first} & bound


BEFORE = {"ratio": 0.1, "arms": {"canary": 1}, "rollout": {"id": "over"}}
OURS = {"decision_header": DECISION}


@pytest.mark.parametrize(
    ("found", "after"),
    [
        ({**OURS, "ratio": 1.0, "arms": {"canary": 1}}, BEFORE),
        (
            {**OURS, "ratio": 1.0, "arms": {"canary": 2}},
            {**BEFORE, "arms": {"canary": 2}},
        ),
        (
            {"ratio": 1.0, "style": "hash"},
            {"ratio": 0.1, "style": "hash", "rollout": {"id": "over"}},
        ),
        (
            {**OURS, "ratio": 0.3, "rollout": {"id": "new"}},
            {"ratio": 0.3, "rollout": {"id": "new"}},
        ),
        (
            {"decision_header": "X-Theirs"},
            {"decision_header": "X-Theirs", "ratio": 0.1, "rollout": {"id": "over"}},
        ),
    ],
    ids=["nobody else's", "arms", "an arm less", "a rollout", "their header"],
)
def test_what_others_changed_meanwhile_is_left(found: Any, after: Any) -> None:
    assert put_back(found, BEFORE) == after


def test_a_header_that_was_there_is_left() -> None:
    before = {"decision_header": DECISION, "arms": {}}
    assert put_back({**before, "ratio": 1.0}, before) == before
