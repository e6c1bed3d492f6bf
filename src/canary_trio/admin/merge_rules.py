"""How what several workers say is merged, in words: the rules and their shape. Pure.

A rule stands beside the number that it is for: in its row of the metric catalog, or in
the tables of the status, which have the shape of what is shown. What the rules do is in
`process.merge`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs


class MergeRule(enum.Enum):
    """What several workers say, of what each says; in the words of the docs."""

    ADDED = "added"
    LOWEST = "the lowest"
    HIGHEST = "the highest"
    LONGEST = "the longest; null, which is never, is longer than all"
    ALL = "true if all workers say so"
    ANY = "true if one worker says so"
    UNION = "all that any worker names"
    SAID = "the first that is not empty"
    SHARE = "worked out anew, of the decisions of all"
    SLOWEST = "as the worker says that runs the oldest revision"


PROCESS_RULES = {
    "process_cpu_seconds": MergeRule.ADDED,
    "process_max_fds": MergeRule.HIGHEST,
    "process_open_fds": MergeRule.ADDED,
    "process_resident_memory_bytes": MergeRule.ADDED,
    "process_start_time_seconds": MergeRule.LOWEST,
    "process_virtual_memory_bytes": MergeRule.ADDED,
}
"""What several workers say of the metrics that prometheus_client has of a process."""


@attrs.frozen
class ByName:
    """A table whose names are those of arms or the like: one shape for all of them."""

    shape: Shape


@attrs.frozen
class Rows:
    """A list of tables, which are told apart by one field."""

    key: str
    shape: Mapping[str, Shape]


Shape: TypeAlias = "MergeRule | ByName | Rows | Mapping[str, Shape]"
"""The rules of what is shown: one for all of it, or for each of its fields."""


def paths(shape: Shape, path: str = "") -> Iterator[tuple[str, MergeRule]]:
    """Give all rules with where they hold, in the order of what is shown.

    >>> [path for path, _ in paths({"arms": ByName({"servers": Rows("url", {})})})]
    []
    >>> [path for path, _ in paths({"arms": ByName({"requests": MergeRule.ADDED})})]
    ['arms.NAME.requests']
    """
    match shape:
        case MergeRule():
            yield path, shape
        case ByName(inner):
            yield from paths(inner, f"{path}.NAME")
        case Rows(_, inner):
            yield from paths(inner, f"{path}[]")
        case _:
            for name, inner in shape.items():
                yield from paths(inner, f"{path}.{name}" if path else name)
