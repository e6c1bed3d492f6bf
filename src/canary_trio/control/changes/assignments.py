"""Changes to a document as words: `ratio=0.25`, `arms.canary.servers[0].weight=3`. Pure.

A value is JSON where it can be read as such, and else the text itself, so that
neither `style=random` nor `sticky_sessions=true` needs quotes. Whether the result is
a valid document is for `document.build` to say.

Some fields take a word in place of a table. Where a path leads on from a word it becomes the
table that it stands for; where a word is given for a table it goes to the field of the table
that it would be (`SHORT`). What could mean two things is refused, with words that say how.
One file, since a path, and what it may lead through, are one small language.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from canary_trio.control.changes.difference import Step, path_of, shortened
from canary_trio.errors import BadAssignment

_FIRST = r"(?:[A-Za-z_$][\w-]*|\[\"(?:[^\"\\]|\\.)*\"\])"
_NEXT = r"(?:\.[A-Za-z0-9_$][\w-]*|\[\d{1,6}\]|\[\"(?:[^\"\\]|\\.)*\"\])"
_PATH = re.compile(rf"\s*(?:\$\.)?({_FIRST}{_NEXT}*)\s*", re.ASCII)
_STEP = re.compile(r"\[(\d+)\]|\[(\"(?:[^\"\\]|\\.)*\")\]|([^.\[\]]+)")

SHORT: dict[tuple[str, ...], str] = {
    ("connections",): "change",
    ("hash_by",): "address",
    ("arms", "*", "hash_by"): "address",
    ("access", "rate_limits", "*", "by"): "address",
    ("arms", "*"): "servers",
    ("arms", "*", "servers", "*"): "url",
    ("rollout", "steps", "*"): "ratio",
}
"""Where a word may stand for a table, and which field of it the word is."""

_ON = "address"  # a field that is true where the word of that name stands for the table
_LISTS = frozenset({"servers"})  # fields that a single value may be given for


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
        path = _PATH.match(assignment)
        if path is None or assignment[path.end() : path.end() + 1] != "=":
            raise BadAssignment(
                f"found {assignment!r}, expected FIELD=VALUE, such as ratio=0.25 or"
                " arms.canary.servers[0].weight=3"
            )
        value = _value(assignment[path.end() + 1 :].strip())
        _assign(changed, _steps(path[1]), value, assignment)
    return changed


def remove_fields(document: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Give a copy of a document without some of its fields, or places of lists.

    All paths are of the document as it was.

    >>> remove_fields({"ratio": 0, "rules": [1, 2, 3]}, ["rules[0]", "rules[1]"])
    {'ratio': 0, 'rules': [3]}

    Raises:
        BadAssignment: one cannot be read, or leads nowhere.
    """
    changed = copy.deepcopy(document)
    found = []
    for text in paths:
        path = _PATH.fullmatch(text)
        if path is None:
            raise BadAssignment(
                f"found {text!r}, expected a path, such as arms.canary.fallback"
            )
        steps = _steps(path[1])
        place: Any = changed
        for number, step in enumerate(steps):
            if not _has(place, step):
                raise _nowhere(text, steps[: number + 1])
            place = place[step]
        found.append(steps)
    unique = {tuple(map(_order, steps)): steps for steps in found}
    for key in sorted(unique, reverse=True):  # what is behind, and below, goes first
        *before, last = unique[key]
        place = changed
        for step in before:
            place = place[step]
        del place[last]
    return changed


def _order(step: Step) -> tuple[int, str]:
    return (step, "") if isinstance(step, int) else (-1, step)


def _has(place: Any, step: Step) -> bool:
    if isinstance(step, int):
        return isinstance(place, list) and step < len(place)
    return isinstance(place, dict) and step in place


def _steps(path: str) -> list[Step]:
    return [
        int(m[1]) if m[1] else json.loads(m[2]) if m[2] else m[3]
        for m in _STEP.finditer(path)
    ]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _assign(
    document: dict[str, Any], steps: list[Step], value: Any, assignment: str
) -> None:
    place: Any = document
    for number, step in enumerate(steps[:-1]):
        _check(place, step, steps[:number], assignment)
        rest = steps[number + 1 :]
        there = _get(place, step)
        if there is None:
            there = [] if isinstance(rest[0], int) else {}
        elif not isinstance(there, dict | list):
            there = _widened(steps[: number + 1], there, rest, value, assignment)
        _put(place, step, there)
        place = there
    last = steps[-1]
    _check(place, last, steps[:-1], assignment)
    _put(place, last, _fitted(steps, _get(place, last), value, assignment))


def _check(place: Any, step: Step, before: list[Step], assignment: str) -> None:
    """Check that a step leads into what stands there; one behind a list's end adds to it."""
    if isinstance(step, int):
        if not isinstance(place, list) or step > len(place):
            raise _nowhere(assignment, [*before, step])
    elif not isinstance(place, dict):
        raise _nowhere(assignment, [*before, step])


def _get(place: Any, step: Step) -> Any:
    return place[step] if _has(place, step) else None


def _put(place: Any, step: Step, value: Any) -> None:
    if isinstance(step, int) and step == len(place):
        place.append(value)
    else:
        place[step] = value


def _short(steps: Sequence[Step]) -> str | None:
    """Give the field of a table that a word there stands for; None if there is none."""
    for pattern, field in SHORT.items():
        if len(pattern) == len(steps) and all(
            known in ("*", step) for known, step in zip(pattern, steps, strict=True)
        ):
            return field
    return None


def _widened(
    steps: list[Step], word: Any, rest: list[Step], value: Any, assignment: str
) -> dict[str, Any]:
    """Give the table that a word stands for, since a path leads on from it."""
    if steps == ["ratio"] and not isinstance(word, bool | str):
        return {"canary": word}
    if isinstance(rest[0], str):
        if word is True:
            return {}
        field = _short(steps)
        if field == _ON and word == _ON:
            return {} if rest[0] != _ON else {_ON: True}
        if field is not None and field != _ON and not isinstance(word, bool):
            return {field: word}
    instead: Any = value
    for step in reversed(rest):
        instead = [instead] if isinstance(step, int) else {step: instead}
    raise BadAssignment(
        f"{assignment!r}: {path_of(steps)} is {shortened(word)}, and no table; to replace"
        f" it: {path_of(steps)}='{json.dumps(instead, ensure_ascii=False)}'"
    )


def _fitted(steps: list[Step], there: Any, value: Any, assignment: str) -> Any:
    """Give what is to stand at a place: the value, or the table that it is one field of."""
    field = _short(steps)
    if isinstance(value, dict) or value is None or value is False:
        return value
    if steps == ["ratio"] and isinstance(there, dict):
        if len(there) == 1:
            return dict.fromkeys(there, value)
        raise _is_table(steps, there, value, assignment)
    if field == "servers":
        servers = value if isinstance(value, list) else [value]
        return {**(there if isinstance(there, dict) else {}), field: servers}
    if isinstance(there, dict):
        if field is not None and field != _ON:
            return {**there, field: value}
        if field is None:
            raise _is_table(steps, there, value, assignment)
    if steps[-1] in _LISTS and isinstance(value, str):
        return [value]
    return value


def _is_table(
    steps: list[Step], table: dict[str, Any], value: Any, assignment: str
) -> BadAssignment:
    path = path_of(steps)
    fields = ", ".join(list(table)[:8]) or "no fields"
    shown = shortened(value)
    return BadAssignment(
        f"{assignment!r}: {path} is a table of {fields}; to change one of them:"
        f" {path}.FIELD={shown}; to replace all of it: {path}=null {path}={shown}"
    )


def _nowhere(assignment: str, steps: list[Step]) -> BadAssignment:
    path = path_of(steps)
    return BadAssignment(f"{assignment!r}: there is no {path} in the document")
