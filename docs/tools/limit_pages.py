"""The limits of the engine, of the store and of its client, with their defaults."""

from __future__ import annotations

import importlib

import attrs
from docs.tools.api_pages import cell, fields_of, take_attributes

OF = {
    "Of the engine": ("http_trio", "Limits", "A program gives them to `serve`."),
    "Of one forwarded request": (
        "http_trio",
        "Timeouts",
        "A document has them as an arm's `timeouts`.",
    ),
    "Of the store": (
        "kv_trio",
        "StoreLimits",
        "`kv-trio serve --limit NAME=NUMBER` changes one.",
    ),
    "Of the store's client": (
        "kv_trio",
        "ResponseLimits",
        "Beyond them a connection is ended.",
    ),
    "Of what the store keeps": (
        "kv_trio",
        "Bounds",
        "`kv-trio serve --history-count` and `--history-days`.",
    ),
}


INTRODUCTION = (
    "Whatever a peer controls has a limit. Sizes are in bytes and waits in seconds, where nothing"
    " else is said. Limits that a document has are among [its fields](../document.md#all-fields)."
)


def limits_page() -> str:
    """Give the page of limits."""
    parts = [
        "# Limits",
        INTRODUCTION,
    ]
    known: dict[str, str] = {}
    for title, (package, name, words) in OF.items():
        kind = getattr(importlib.import_module(package), name)
        assert attrs.has(kind)
        told, _ = take_attributes(kind.__doc__ or "")
        fields = fields_of(kind) or []
        for one, _, _, below in fields:
            known.setdefault(one, below or told.get(one, ""))
        rows = [
            f"| `{one}` | {default} | {cell(below or told.get(one) or known[one])} |"
            for one, _, default, below in fields
        ]
        parts.append(f"## {title}\n\n`{package}.{name}`. {words}")
        parts.append("\n".join(["| limit | default | |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)
