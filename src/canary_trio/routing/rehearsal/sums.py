"""What a rehearsal found, as sums: all that leaves a proxy of it, and what is added up.

No request, no user and no value is in it: names of arms, servers and rules, which the
documents have, and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

K = TypeVar("K")
Pair = tuple[float, float]
"""At present, and by the proposed document."""

Side = str | None
"""An arm, or None where chance decides on each request anew."""

_LARGEST = 2.0**53


class BadSums(ValueError):
    """What came is not what a proxy says of a rehearsal; says what is wrong."""


@attrs.frozen
class ArmChange:
    """Requests that would go elsewhere, and the users whose they are.

    Attributes:
        source: the arm that they get at present; None for one by chance.
        target: the arm that they would get.
        requests: how many of those that were noted.
        users: of them; who has no key is no user.
    """

    source: Side
    target: Side
    requests: int
    users: int


@attrs.frozen
class Sums:
    """What would become of the requests that were noted.

    Attributes:
        processes: that were asked.
        seen: requests that came while these were noted.
        requests: that can be told of.
        users: of those; each process counts its own.
        moved, moved_users: requests, and users, that would get another arm.
        moves: from where to where.
        refused: requests that access rules refuse.
        newly_refused, newly_admitted: that would be refused, or pass, and do not now.
        rules: how many requests each one decides on.
        servers: how many requests each one can expect, by arm and URL.
        untold: requests that cannot be told of, by what is not known of them.
    """

    processes: int = 0
    seen: int = 0
    requests: int = 0
    users: int = 0
    moved: int = 0
    moved_users: int = 0
    moves: tuple[ArmChange, ...] = ()
    refused: Pair = (0, 0)
    newly_refused: int = 0
    newly_admitted: int = 0
    rules: Mapping[str, Pair] = attrs.field(factory=dict)
    servers: Mapping[tuple[str, str], Pair] = attrs.field(factory=dict)
    untold: Mapping[str, int] = attrs.field(factory=dict)

    def __add__(self, other: Sums) -> Sums:
        """Add what another process says."""
        moves: dict[tuple[Side, Side], ArmChange] = {}
        for move in (*self.moves, *other.moves):
            way = move.source, move.target
            before = moves.get(way, ArmChange(*way, 0, 0))
            moves[way] = ArmChange(
                *way, before.requests + move.requests, before.users + move.users
            )
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return Sums(
            **counts,
            moves=tuple(sorted(moves.values(), key=lambda move: -move.requests)),
            refused=_add(self.refused, other.refused),
            rules=_add_pairs(self.rules, other.rules),
            servers=_add_pairs(self.servers, other.servers),
            untold={
                why: self.untold.get(why, 0) + other.untold.get(why, 0)
                for why in {**self.untold, **other.untold}
            },
        )

    def shown(self) -> dict[str, Any]:
        """Give it as JSON has it; `load` reads it."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "moves": [
                {
                    "from": move.source,
                    "to": move.target,
                    "requests": move.requests,
                    "users": move.users,
                }
                for move in self.moves
            ],
            "refused": _shown(self.refused),
            "rules": [
                {"rule": name, **_shown(pair)} for name, pair in self.rules.items()
            ],
            "servers": [
                {"arm": arm, "server": url, **_shown(pair)}
                for (arm, url), pair in self.servers.items()
            ],
            "untold": [
                {"why": why, "requests": count} for why, count in self.untold.items()
            ],
        }

    @classmethod
    def load(cls, shown: object) -> Sums:
        """Read what `shown` gives.

        Raises:
            BadSums: it is something else.
        """
        try:
            return _load(shown)
        except (KeyError, TypeError, AttributeError) as exc:
            raise BadSums(f"these are no sums of a rehearsal: {exc!r}") from exc


_COUNTS = (
    *("processes", "seen", "requests", "users", "moved", "moved_users"),
    *("newly_refused", "newly_admitted"),
)


def _load(shown: Any) -> Sums:
    return Sums(
        **{name: _count(shown[name]) for name in _COUNTS},
        moves=tuple(
            ArmChange(
                _side(row["from"]),
                _side(row["to"]),
                _count(row["requests"]),
                _count(row["users"]),
            )
            for row in shown["moves"]
        ),
        refused=_pair(shown["refused"]),
        rules={_text(row["rule"]): _pair(row) for row in shown["rules"]},
        servers={
            (_text(row["arm"]), _text(row["server"])): _pair(row)
            for row in shown["servers"]
        },
        untold={_text(row["why"]): _count(row["requests"]) for row in shown["untold"]},
    )


def _shown(pair: Pair) -> dict[str, float]:
    return {"before": round(pair[0], 4), "after": round(pair[1], 4)}


def _pair(row: Mapping[str, Any]) -> Pair:
    return _number(row["before"]), _number(row["after"])


def _number(value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < _LARGEST:  # type: ignore[operator]
        raise BadSums(f"found {str(value)[:40]}, expected a number of requests")
    return value  # type: ignore[return-value]


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise BadSums(f"found {str(value)[:40]}, expected a count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadSums(f"found {str(value)[:40]}, expected a name")
    return value


def _side(value: object) -> Side:
    return None if value is None else _text(value)


def _add(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]


def _add_pairs(one: Mapping[K, Pair], other: Mapping[K, Pair]) -> dict[K, Pair]:
    nothing = (0, 0)
    return {
        key: _add(one.get(key, nothing), other.get(key, nothing))
        for key in {**one, **other}
    }
