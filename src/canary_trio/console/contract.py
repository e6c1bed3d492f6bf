"""The contract of the API: `openapi.json` beside this file, which a test holds to the code.

It is the one place where paths, bodies, statuses and examples are said; the page, the
commands and whoever writes a client go by it. It is read when somebody asks for it, and not
kept: few ever do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("openapi.json")
"""Of the document."""


def contract() -> dict[str, Any]:
    """Give the OpenAPI document."""
    found: dict[str, Any] = json.loads(PATH.read_bytes())
    return found


def schema_of(name: str, whole: dict[str, Any]) -> dict[str, Any]:
    """Give the JSON Schema of one of its components, with all that it refers to."""
    return {
        "$ref": f"#/components/schemas/{name}",
        "components": whole["components"],
    }
