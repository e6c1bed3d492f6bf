"""Every time of a document may be said in words, in each kind of document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from canary_trio.config.codec import Schema
from canary_trio.config.document import DOCUMENT, build
from canary_trio.errors import InvalidConfig
from canary_trio.routing.edge.table_codec import TABLE_SCHEMA

WHOLE = {"max_age"}
"""Whole seconds of a header field, which are written into it as they are."""


def fields_of(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, field in schema.get("properties", {}).items():
        yield name, field
        yield from fields_of(field)
    inner = [*schema.get("anyOf", ())]
    inner += [schema[one] for one in ("items", "additionalProperties") if one in schema]
    for one in inner:
        if isinstance(one, dict):
            yield from fields_of(one)


@pytest.mark.parametrize("schema", [DOCUMENT.schema, TABLE_SCHEMA], ids=["", "gateway"])
def test_every_field_that_is_seconds_takes_words(schema: Schema) -> None:
    times = {
        name: field
        for name, field in fields_of(schema)
        if field.get("description", "").startswith("Seconds") and name not in WHOLE
    }

    assert times
    for name, field in times.items():
        kinds = [one.get("type") for one in field.get("anyOf", [field])]
        assert ["number", "string"] in kinds, name


def document(**arm: Any) -> dict[str, Any]:
    return {
        "update_rate": "1m",
        "arms": {"stable": {"servers": ["http://a:1"], "slow_start": "1m", **arm}},
    }


def test_a_document_in_words_is_the_same_as_one_of_numbers() -> None:
    words = {"timeouts": {"connect": "250ms"}, "ejection": {"time": "2m"}}
    numbers = {"timeouts": {"connect": 0.25}, "ejection": {"time": 120}}
    plain = document(**numbers) | {"update_rate": 60}
    plain["arms"]["stable"]["slow_start"] = 60

    assert build(document(**words)) == build(plain)


def test_times_that_disagree_are_found_in_words_too() -> None:
    with pytest.raises(InvalidConfig) as caught:
        build(document(ejection={"time": "2m", "longest": "90s"}))

    (problem,) = caught.value.problems
    assert problem.path == "$.arms.stable.ejection.longest"
    assert (problem.found, problem.expected) == ("90", "at least time, 120")
