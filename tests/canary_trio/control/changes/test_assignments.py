"""Assignments such as ratio=0.25 change their place, or say why not."""

from __future__ import annotations

from typing import Any

import pytest

from canary_trio.control.changes.assignments import apply_assignments
from canary_trio.errors import BadAssignment

DOCUMENT: dict[str, Any] = {"ratio": 0, "arms": {"stable": {"servers": [{"url": "a"}]}}}


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("ratio=0.25", ["ratio"], 0.25),
        (" ratio = 0.25", ["ratio"], 0.25),
        ("sticky_sessions=true", ["sticky_sessions"], True),
        ("style=random", ["style"], "random"),
        ("config_server=http://a?b=c", ["config_server"], "http://a?b=c"),
        (
            "arms.stable.servers[0].weight=3",
            ["arms", "stable", "servers", 0, "weight"],
            3,
        ),
        ('arms.canary={"servers": []}', ["arms", "canary"], {"servers": []}),
        ("arms.canary.balance=random", ["arms", "canary", "balance"], "random"),
    ],
)
def test_an_assignment_changes_its_place(
    assignment: str, path: list[Any], value: object
) -> None:
    changed: Any = apply_assignments(DOCUMENT, [assignment])

    for step in path:
        changed = changed[step]
    assert changed == value
    assert DOCUMENT["ratio"] == 0
    assert "canary" not in DOCUMENT["arms"]


@pytest.mark.parametrize(
    "assignment",
    [
        "ratio",
        "=1",
        "a b=1",
        "[0]=1",
        "ratio.x=1",
        "arms.stable.servers[1].url=x",
        "arms[0]=1",
    ],
)
def test_what_cannot_be_assigned_is_said(assignment: str) -> None:
    with pytest.raises(BadAssignment, match=r"expected FIELD=VALUE|there is no \$"):
        apply_assignments(DOCUMENT, [assignment])
