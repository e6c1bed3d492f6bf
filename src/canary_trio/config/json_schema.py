"""The document described: as JSON Schema for programs, as tables for people. Pure.

Both come from the codecs that the loader reads with, and from the words beside the
values' fields; so neither can say what the loader does not do. JSON Schema has no words
for some of it (the arms that are named must exist; a rule needs exactly one test of a
value; steps of 0.0001): what validates may still be refused, with its path.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from canary_trio.config.codec import Schema
from canary_trio.config.document import DOCUMENT

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BEGIN, END = "<!-- fields: written by `make docs` -->", "<!-- end of the fields -->"


def json_schema(of: Schema = DOCUMENT.schema) -> dict[str, Any]:
    """Give the JSON Schema of a document (draft 2020-12)."""
    described: dict[str, Any] = {"$schema": DIALECT, "title": "canary-trio document"}
    described["description"] = "What a canary-trio proxy is configured by."
    return {**described, **of}


def reference(of: Schema = DOCUMENT.schema) -> str:
    """Give all fields as Markdown: a table for each table of the document."""
    described: dict[int, str] = {}
    sections = []
    for path, schema in list(_tables(of, "", described)):
        heading = f"### `{path}`" if path else "### The document"
        rows = [
            f"| `{name}` | {_words(field, described, _join(path, name))} |"
            f" {_default(field)} | {_cell(field['description'])} |"
            for name, field in schema["properties"].items()
        ]
        table = ["| field | values | default | |", "|---|---|---|---|", *rows]
        sections.append("\n".join([heading, "", *table]))
    return "\n\n".join(sections) + "\n"


def with_reference(page: str) -> str:
    """Give a page of the docs with its tables of fields written anew.

    Raises:
        ValueError: it has no place for them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"found no {BEGIN} with {END} behind it")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


# === walking ===


def _tables(
    schema: Schema, path: str, described: dict[int, str]
) -> Iterator[tuple[str, Schema]]:
    """Give all tables with their paths, each once, outer ones first."""
    fields = schema.get("properties")
    if fields is not None:
        if id(fields) in described:
            return
        described[id(fields)] = path
        yield path, schema
        for name, field in fields.items():
            yield from _tables(field, _join(path, name), described)
        return
    for inner in schema.get("anyOf", ()):
        yield from _tables(inner, path, described)
    if "items" in schema:
        yield from _tables(schema["items"], f"{path}[]", described)
    if "additionalProperties" in schema:
        yield from _tables(schema["additionalProperties"], f"{path}.NAME", described)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _words(schema: Schema, described: dict[int, str], path: str) -> str:
    """Give in words what may stand at a place."""
    if "properties" in schema:
        place = described[id(schema["properties"])]
        return "a table" if place == path else f"a table as `{place}`"
    if "anyOf" in schema:
        return "; ".join(_words(other, described, path) for other in schema["anyOf"])
    if "title" in schema:  # a leaf's own words
        return _cell(schema["title"].replace("*.", "\\*."))
    values = [None] if schema.get("type") == "null" else schema.get("enum")
    if values is not None:
        return ", ".join(f"`{_plain(value)}`" for value in values)
    kind: str = schema["type"]
    assert kind in ("array", "object"), "whatever is simple has a title"
    if kind == "array":
        return f"a list: {_words(schema['items'], described, f'{path}[]')}"
    return (
        f"by name: {_words(schema['additionalProperties'], described, f'{path}.NAME')}"
    )


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value if isinstance(value, str) and value else json.dumps(value)}`"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _write(path: str) -> None:
    page = Path(path)
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write(sys.argv[1])
