"""What is different between two documents, by path. Pure.

Fields are compared by name. Of two lists what both begin with and both end with is left
out, and what stands between is compared place by place; so a server that is added, or
taken out, is one difference and not one for each server behind it. Differences that are
applied to the one document give the other.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

_WORD = re.compile(r"[A-Za-z_$][\w-]*\Z", re.ASCII)
_SHOWN = 60  # characters of a value in one line

Step = str | int
"""A field's name, or a place in a list."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""What stands where nothing does."""


@attrs.frozen
class Difference:
    """What is different at one place.

    Attributes:
        steps: from the document to the place. In a list that lost something it is the
            place there was, in one that gained something the place there is.
        before, after: what stands there; ABSENT for nothing.
    """

    steps: tuple[Step, ...]
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """The place as `canary set` has it."""
        return path_of(self.steps)

    @property
    def words(self) -> str:
        """The difference in one line, long values cut."""
        if self.before is ABSENT:
            return f"{self.path}: added {shortened(self.after)}"
        if self.after is ABSENT:
            return f"{self.path}: removed {shortened(self.before)}"
        return f"{self.path}: {shortened(self.before)} → {shortened(self.after)}"


def path_of(steps: Sequence[Step]) -> str:
    """Write a path.

    >>> path_of(("arms", "canary", "servers", 0, "a.b"))
    'arms.canary.servers[0]["a.b"]'
    """
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _WORD.match(step):
            path += f".{step}" if path else step
        else:
            path += f"[{json.dumps(step, ensure_ascii=False)}]"
    return path or "$"


def shortened(value: object) -> str:
    """Show a value in one line, cut where it is long."""
    words = json.dumps(value, ensure_ascii=False)
    return words if len(words) <= _SHOWN else words[: _SHOWN - 3] + "..."


def is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON; true is not 1, and 1 is 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            is_same(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def differences(before: Any, after: Any) -> list[Difference]:
    """Give what is different, in the order of the documents.

    >>> [found.words for found in differences({"ratio": 0.1}, {"ratio": 0.2, "style": "random"})]
    ['ratio: 0.1 → 0.2', 'style: added "random"']
    """
    return list(_compare((), before, after))


def apply_differences(document: Any, found: Iterable[Difference]) -> Any:
    """Give a copy of a document with differences made to it.

    Raises:
        LookupError, TypeError: they are of another document.
    """
    changed = [copy.deepcopy(document)]
    listed = list(found)
    added = [one for one in listed if one.before is ABSENT]
    removed = [one for one in listed if one.after is ABSENT]
    replaced = [one for one in listed if ABSENT not in (one.before, one.after)]
    for one in (
        *replaced,
        *reversed(removed),
        *added,
    ):  # so all places stay as they are
        _make(changed, one)
    return changed[0]


def _make(holder: list[Any], one: Difference) -> None:
    place: Any = holder
    steps: tuple[Step, ...] = (0, *one.steps)
    for step in steps[:-1]:
        place = place[step]
    last = steps[-1]
    if one.after is ABSENT:
        del place[last]
    elif one.before is ABSENT and isinstance(place, list):
        place.insert(last, copy.deepcopy(one.after))  # type: ignore[arg-type]
    else:
        place[last] = copy.deepcopy(one.after)


def _compare(steps: tuple[Step, ...], before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _compare(
                (*steps, name), before.get(name, ABSENT), after.get(name, ABSENT)
            )
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(steps, before, after)
    elif not is_same(before, after):
        yield Difference(steps, before, after)


def _compare_lists(
    steps: tuple[Step, ...], before: list[Any], after: list[Any]
) -> Iterator[Difference]:
    first = _common(before, after)
    most = min(len(before), len(after)) - first
    last = _common(before[first:][::-1], after[first:][::-1], most)
    ends = len(before) - last, len(after) - last
    for place in range(first, max(ends)):
        yield from _compare(
            (*steps, place),
            before[place] if place < ends[0] else ABSENT,
            after[place] if place < ends[1] else ABSENT,
        )


def _common(one: Sequence[Any], other: Sequence[Any], most: int | None = None) -> int:
    """Give with how many values, `most` at most, both begin."""
    count = 0
    for left, right in zip(one[:most], other[:most], strict=False):
        if not is_same(left, right):
            break
        count += 1
    return count
