"""The contract by itself: its examples obey its schemas, and nothing in it leads nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from canary_trio.console.contract import contract

CONTRACT = contract()


def examples() -> Iterator[Any]:
    """Give each example with its schema."""
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                yield from _of_response(f"{method} {path} {status}", response)
    for name, response in CONTRACT["components"]["responses"].items():
        yield from _of_response(name, response)
    for name, schema in CONTRACT["components"]["schemas"].items():
        for at, example in enumerate(schema.get("examples", ())):
            yield pytest.param(schema, example, id=f"{name} {at}")


def _of_response(where: str, response: dict[str, Any]) -> Iterator[Any]:
    for content in response.get("content", {}).values():
        for name, example in content.get("examples", {}).items():
            value = example["value"]
            yield pytest.param(content["schema"], value, id=f"{where} {name}")


@pytest.mark.parametrize(("schema", "example"), list(examples()))
def test_an_example_obeys_its_schema(schema: dict[str, Any], example: Any) -> None:
    whole = {**schema, "components": CONTRACT["components"]}

    faults = Draft202012Validator(whole).iter_errors(example)

    assert [f"{list(fault.path)}: {fault.message}" for fault in faults] == []


def references(part: Any) -> Iterator[str]:
    """Give all that a part refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_what_is_referred_to_is_there_and_what_is_there_is_referred_to() -> None:
    components = CONTRACT["components"]
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in components[kind]
    }
    only_streamed = {"#/components/schemas/Traffic"}

    assert set(references(CONTRACT)) == there - only_streamed


def test_each_operation_has_its_own_id() -> None:
    ids = [
        operation["operationId"]
        for methods in CONTRACT["paths"].values()
        for operation in methods.values()
    ]

    assert len(set(ids)) == len(ids)
