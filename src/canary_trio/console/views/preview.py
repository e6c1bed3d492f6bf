"""What a proposed document comes to: differences, faults, and users that would move. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs

from canary_trio.config.document import build
from canary_trio.config.model import WHOLE, Config, Style
from canary_trio.console.views.service import safe_json
from canary_trio.control.changes.difference import (
    ABSENT,
    Difference,
    differences,
    is_same,
)
from canary_trio.errors import InvalidConfig, Problem, printable
from canary_trio.routing.buckets import BucketRanges
from canary_trio.routing.edge.names import is_gateway

Table = dict[str, Any]


@attrs.frozen
class Made:
    """What a proposal comes to.

    Attributes:
        over: the revision that it was made of; 0 for none.
        before: the document there; empty for none.
        document: as it would be written; empty where it cannot be read.
        problems: why it would not be valid.
        said: what follows for a rollout, in words.
    """

    over: int
    before: dict[str, Any] = attrs.field(repr=False)
    document: dict[str, Any] = attrs.field(repr=False)
    problems: tuple[Problem, ...] = ()
    said: str = ""


def preview(service: str, made: Made) -> Table:
    """Give what a proposal comes to, as JSON has it."""
    valid = not made.problems
    listed = differences(made.before, made.document) if valid else []
    return {
        "service": service,
        "over": made.over,
        "valid": valid,
        "problems": [attrs.asdict(one) for one in made.problems],
        "document": safe_json(made.document) if made.document else None,
        "differences": [shown_difference(one) for one in listed],
        "moves": _moves(service, made) if valid else None,
        "said": printable(made.said),
        "changed": not is_same(made.before, made.document),
    }


def shown_difference(one: Difference) -> Table:
    """Give a difference as JSON has it."""
    kind = "changed"
    if one.before is ABSENT or one.after is ABSENT:
        kind = "added" if one.before is ABSENT else "removed"
    return {
        "path": printable(one.path),
        "before": None if one.before is ABSENT else safe_json(one.before),
        "after": None if one.after is ABSENT else safe_json(one.after),
        "kind": kind,
        "words": printable(one.words),
    }


def _moves(service: str, made: Made) -> Table | None:
    """Say how many users would have another arm; None where that cannot be told."""
    if is_gateway(service) or not made.over:
        return None
    try:
        before, after = build(made.before), build(made.document)
    except InvalidConfig:
        return None
    exact = _has_buckets(before) and _has_buckets(after)
    if exact and not _same_users(before, after):
        return None
    moved = moved_users(before.ratio, after.ratio)
    arms = [
        {"from": source, "to": target, "users": share}
        for (source, target), share in sorted(moved.items(), key=lambda one: -one[1])
    ]
    whole = sum(moved.values())
    what = "users" if exact else "requests"
    words = f"no {what} move"
    if arms:
        each = [
            f"{share * 100:.4g} % from {source} to {target}"
            for (source, target), share in moved.items()
        ]
        words = f"{whole * 100:.4g} % of {what} move: {', '.join(each)}"
    return {"users": whole, "arms": arms, "exact": exact, "words": printable(words)}


def moved_users(
    before: Mapping[str, int], after: Mapping[str, int]
) -> dict[tuple[str, str], float]:
    """Give the share of users that go from one arm to another, over all buckets.

    >>> moved_users({"canary": 500}, {"canary": 2500})
    {('stable', 'canary'): 0.2}
    """
    one, other = BucketRanges.of(before), BucketRanges.of(after)
    marks = sorted({*one.starts, *other.starts, WHOLE})
    found: Counter[tuple[str, str]] = Counter()
    for low, high in itertools.pairwise(marks):
        pair = one.arm_of(low), other.arm_of(low)
        if pair[0] != pair[1]:
            found[pair] += high - low
    return {pair: count / WHOLE for pair, count in found.items()}


def _has_buckets(config: Config) -> bool:
    return config.sticky_sessions is not None or config.style is Style.HASH


def _same_users(before: Config, after: Config) -> bool:
    """Tell whether users keep their buckets: the same key, and nobody drew them anew."""
    keys = (before.style, before.hash_by), (after.style, after.hash_by)
    return before.sticky_sessions == after.sticky_sessions and keys[0] == keys[1]
