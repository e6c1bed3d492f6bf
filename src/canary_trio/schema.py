"""The document as a JSON Schema (draft 2020-12), for editors and other tools. Pure.

Built from what the fields of `config` say about themselves, so it cannot name a field
that `document.load` does not know. It is never stricter than `load`, and less strict
where a rule spans fields (the shares name arms and add up to at most 1, each server
stands once) or is finer than a pattern (steps of 0.0001, ports, IPv6 addresses).
"""

from __future__ import annotations

import enum
from typing import Any

import attrs

from canary_trio.config import Arm, Config, Server, Sticky


def schema() -> dict[str, Any]:
    """Give the schema of a document, a new one each time."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "canary document",
        **_table(Config),
        "$defs": {kind.__name__: _table(kind) for kind in (Arm, Server, Sticky)},
    }


def _table(kind: type[attrs.AttrsInstance]) -> dict[str, Any]:
    fields = attrs.fields(kind)
    return {
        "description": (kind.__doc__ or "").strip(),
        "type": "object",
        "properties": {field.name: _field(field) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
        "additionalProperties": False,
    }


def _field(field: attrs.Attribute[Any]) -> dict[str, Any]:
    described = {"description": field.metadata["description"]}
    default = field.default
    if isinstance(default, enum.Enum):
        described["default"] = default.value
    elif isinstance(default, int | float | str):
        described["default"] = default
    return {**described, **field.metadata["schema"]}
