"""Changes to a document as words: `ratio=0.25`, `arms.canary.servers[0].weight=3`. Pure.

A value is JSON where it can be read as such, and else the text itself, so that
neither `style=random` nor `sticky_sessions=true` needs quotes. Whether the result is
a valid document is for `document.build` to say.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from canary_trio.errors import BadAssignment

_PATH = re.compile(
    r"[A-Za-z_][\w-]*(?:\[\d{1,6}\])*(?:\.[A-Za-z0-9_][\w-]*(?:\[\d{1,6}\])*)*\Z"
)
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def apply_assignments(
    document: dict[str, Any], assignments: Sequence[str]
) -> dict[str, Any]:
    """Give a copy of a document with changes made to it.

    >>> apply_assignments({"ratio": 0}, ["ratio=0.25", "style=random"])
    {'ratio': 0.25, 'style': 'random'}

    Raises:
        BadAssignment: one cannot be read, or its path leads nowhere.
    """
    changed = copy.deepcopy(document)
    for assignment in assignments:
        path, mark, text = assignment.partition("=")
        if not mark or not _PATH.match(path.strip()):
            raise BadAssignment(
                f"found {assignment!r}, expected FIELD=VALUE, such as ratio=0.25"
            )
        _assign(changed, _steps(path.strip()), _value(text.strip()), assignment)
    return changed


def _steps(path: str) -> list[str | int]:
    return [int(m[1]) if m[1] is not None else m[2] for m in _STEP.finditer(path)]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _assign(
    document: dict[str, Any], steps: list[str | int], value: Any, assignment: str
) -> None:
    place: Any = document
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(step, int):
            if not isinstance(place, list) or step >= len(place):
                raise _nowhere(assignment, steps[: number + 1])
        elif not isinstance(place, dict):
            raise _nowhere(assignment, steps[: number + 1])
        elif not last and step not in place:
            place[step] = {}
        if last:
            place[step] = value
        else:
            place = place[step]


def _nowhere(assignment: str, steps: list[str | int]) -> BadAssignment:
    path = "$" + "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps)
    return BadAssignment(f"{assignment!r}: there is no {path} in the document")
