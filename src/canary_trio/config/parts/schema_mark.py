"""The field `$schema`, by which editors find the JSON Schema of a document. Pure.

It is kept where it stands, and means nothing here: it is no part of the value.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from canary_trio.config.codec import Codec, Fault, Schema, note_step, show

FIELD = "$schema"
_LENGTH = 2048  # characters of it at most


def marked(codec: Codec) -> Codec:
    """Let a table say what its schema is."""
    described = {
        "title": "a URL, or a path",
        "type": "string",
        "maxLength": _LENGTH,
        "description": "Where editors find the JSON Schema, which `canary schema` prints."
        " It is kept, and means nothing here.",
    }

    def decode(value: Any) -> Any:
        if not isinstance(value, dict) or FIELD not in value:
            return codec.decode(value)
        mark = value[FIELD]
        rest = {name: field for name, field in value.items() if name != FIELD}
        faults = []
        if not isinstance(mark, str) or len(mark) > _LENGTH:
            fault = Fault(show(mark), f"a string of at most {_LENGTH} characters")
            faults.append(note_step(fault, f".{FIELD}"))
        try:
            found = codec.decode(rest)
        except Exception as exc:
            raise ExceptionGroup("fields", [*faults, exc]) from None
        if faults:
            raise faults[0]
        return found

    def schema() -> Schema:
        properties = {FIELD: described, **codec.schema["properties"]}
        return {**codec.schema, "properties": properties}

    return Codec(decode, cache(schema), codec.encode)
