"""A document may say where its JSON Schema is."""

from __future__ import annotations

import pytest

from canary_trio.config.document import build
from canary_trio.routing.edge.table_codec import build_table
from tests.canary_trio.support.documents import ARMS, problems


def test_it_is_no_part_of_the_value() -> None:
    bare = {"arms": ARMS, "ratio": 0.5}
    assert build({"$schema": "./canary.json", **bare}) == build(bare)
    table = {"routes": [{"host": "a.org", "service": "a"}]}
    assert build_table({"$schema": "./canary.json", **table}) == build_table(table)


@pytest.mark.parametrize(
    "mark", [1, None, "x" * 2049, []], ids=lambda mark: str(mark)[:9]
)
def test_it_is_text_and_all_other_faults_are_told_too(mark: object) -> None:
    found = problems({"$schema": mark, "ratio": 7, "arms": ARMS})
    assert set(found) == {"$.$schema", "$.ratio"}
    found = problems({"$schema": mark, "arms": ARMS})
    assert list(found) == ["$.$schema"]
