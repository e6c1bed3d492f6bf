"""The console's HTTP API, from its contract (`openapi.json`), which a test holds to the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canary_trio.console.contract import contract

Part = dict[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")


def console_page() -> str:
    """Give the page of the console's API."""
    whole = contract()
    parts = [
        "# The console's API",
        whole["info"]["description"],
        (
            "The contract itself, with examples, is at `/api/v1/openapi.json` of each admin listener."
            " Who may ask: [admin.md](../admin.md#who-may-ask)."
        ),
        "## Requests",
        *(
            _operation(whole, method, path, one[method])
            for path, one in whole["paths"].items()
            for method in METHODS
            if method in one
        ),
        "## Values",
        *_values(whole["components"].get("schemas", {})),
    ]
    return "\n\n".join(parts)


def _operation(whole: Part, method: str, path: str, it: Part) -> str:
    parts = [f"### {method.upper()} {path}", it.get("summary", "")]
    given = [_found(whole, one) for one in it.get("parameters", [])]
    body = _found(whole, it.get("requestBody", {}))
    rows = [
        f"| `{one['name']}` | {one['in']} | {_kind(one.get('schema', {}))} | {_cell(one.get('description', ''))} |"
        for one in given
    ]
    if body:
        kinds = ", ".join(
            _kind(one.get("schema", {})) for one in body["content"].values()
        )
        rows.append(
            f"| the body | {', '.join(body['content'])} | {kinds} | {_cell(body.get('description', ''))} |"
        )
    if rows:
        parts.append("\n".join(["| what | where | | |", "|---|---|---|---|", *rows]))
    answers = []
    for status, one in it["responses"].items():
        said = _found(whole, one)
        kinds = ", ".join(
            _kind(inner.get("schema", {})) for inner in said.get("content", {}).values()
        )
        answers.append(f"| {status} | {_cell(said.get('description', ''))} | {kinds} |")
    parts.append("\n".join(["| status | | |", "|---|---|---|", *answers]))
    return "\n\n".join(part for part in parts if part)


def _values(schemas: dict[str, Part]) -> Iterator[str]:
    for name, it in schemas.items():
        words = it.get("description", "")
        fields = it.get("properties", {})
        head = f"### {name}" + (f"\n\n{_cell(words)}" if words else "")
        if not fields:
            yield f"{head}\n\n{_kind(it)}"
            continue
        needed = it.get("required", [])
        rows = [
            f"| `{field}` | {_kind(one)} | {'' if field in needed else 'may be missing'} | {_cell(one.get('description', ''))} |"
            for field, one in fields.items()
        ]
        yield head + "\n\n" + "\n".join(["| field | | | |", "|---|---|---|---|", *rows])


def _found(whole: Part, it: Part) -> Part:
    """Follow a reference."""
    if "$ref" not in it:
        return it
    found: Any = whole
    for step in it["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _kind(schema: Part) -> str:
    """Give in words what a value is."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(_kind(one) for one in schema[word])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"a list: {_kind(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
