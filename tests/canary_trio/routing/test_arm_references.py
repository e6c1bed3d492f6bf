"""What in a document still leads to an arm."""

from __future__ import annotations

from typing import Any

import pytest

from canary_trio.config.document import build
from canary_trio.routing.arm_references import references_to

_ARMS = {name: {"servers": [f"http://{name}"]} for name in ("stable", "canary", "old")}
_TO_CANARY = {
    name: arm | ({"fallback": "canary"} if name == "old" else {})
    for name, arm in _ARMS.items()
}


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, []),
        ({"ratio": 0.05}, ["the ratio gives it 0.05"]),
        ({"ratio": {"old": 0.5}}, []),
        (
            {"rules": [{"header": "X", "present": True, "arm": "canary"}]},
            ["rule 1"],
        ),
        ({"mirror": {"arm": "canary"}}, ["it gets copies of requests"]),
        ({"arms": _TO_CANARY}, ["arm old falls back to it"]),
        ({"sticky_sessions": True}, []),
    ],
    ids=["none", "ratio", "other", "rule", "mirror", "fallback", "sticky"],
)
def test_what_leads_to_an_arm_holds_it(
    changes: dict[str, Any], held: list[str]
) -> None:
    config = build({"arms": _ARMS, **changes})

    assert references_to(config, "canary") == held


def test_stable_is_always_held() -> None:
    config = build({"arms": {"stable": _ARMS["stable"]}, "ratio": 0})
    everything = build({"arms": _ARMS, "ratio": 1})

    assert references_to(config, "stable") == ["the ratio gives it 1"]
    assert references_to(everything, "stable")
