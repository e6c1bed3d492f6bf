"""Indexes of the rules, so that few of them are looked at for a request. Pure.

A list of entries holds the rules that ask for the same, in the order of the document. Of
all lists that a request leads to, the rule with the least place is the first that holds.
Each is given the best place so far, and is left as soon as it cannot be beaten.
"""

from __future__ import annotations

from collections.abc import Sequence

from canary_trio.config.rules import Key
from canary_trio.routing.buckets import bucket
from canary_trio.routing.request.paths import plain_path
from canary_trio.routing.request.request_view import RequestView, key_getter
from canary_trio.routing.rules.condition_checks import Check

Entries = list[tuple[int, tuple[Check, ...]]]
"""Rules that ask for the same, in order: (place, the checks that are left)."""


class ValueIndex:
    """The rules that ask for one header, cookie or parameter."""

    __slots__ = ("equal", "percents", "prefixes", "present")

    def __init__(self) -> None:
        self.percents: PercentIndex | None = None
        self.equal: dict[bytes, Entries] = {}
        self.prefixes: dict[int, dict[bytes, Entries]] = {}
        self.present: Entries = []

    def with_prefix(self, prefix: bytes) -> Entries:
        return self.prefixes.setdefault(len(prefix), {}).setdefault(prefix, [])

    def leads(self, value: bytes) -> bool:
        """Tell whether a value leads to a rule, whatever else that asks for."""
        return bool(
            self.percents is not None
            or self.present
            or value in self.equal
            or any(value[:length] in some for length, some in self.prefixes.items())
        )

    def first(self, value: bytes, best: int, view: RequestView) -> int:
        entries = self.equal.get(value)
        if entries is not None:
            best = first_of(entries, best, view)
        for length, prefixes in self.prefixes.items():
            best = first_of(prefixes.get(value[:length], ()), best, view)
        if self.percents is not None:
            best = self.percents.first(best, view)
        return first_of(self.present, best, view) if self.present else best


class PercentIndex:
    """The rules that ask for the bucket of one key, which is computed once."""

    __slots__ = ("_entries", "_get_key", "_salt")

    def __init__(self, key: Key, salt: bytes) -> None:
        self._entries: list[tuple[int, int, tuple[Check, ...]]] = []
        self._get_key = key_getter(key)
        self._salt = salt

    def append(self, place: int, share: int, checks: tuple[Check, ...]) -> None:
        self._entries.append((place, share, checks))

    def first(self, best: int, view: RequestView) -> int:
        key = self._get_key(view)
        if key is None or self._entries[0][0] >= best:
            return best
        own = bucket(key, self._salt)
        for place, share, checks in self._entries:
            if place >= best:
                return best
            if own < share and all(check(view) for check in checks):
                return place
        return best


class PathIndex:
    """The rules that ask for a path, by how many steps it has."""

    __slots__ = ("_by_depth", "_depths")

    def __init__(self) -> None:
        self._by_depth: dict[int, dict[bytes, Entries]] = {}
        self._depths: list[tuple[int, dict[bytes, Entries]]] = []

    def __bool__(self) -> bool:
        return bool(self._depths)

    def stems(self) -> list[bytes]:
        """Give what paths begin with that lead to a rule."""
        return [stem for stems in self._by_depth.values() for stem in stems]

    def entries_of(self, prefix: bytes) -> Entries:
        stem = plain_path(prefix).rstrip(b"/")
        stems = self._by_depth.setdefault(stem.count(b"/"), {})
        self._depths = sorted(self._by_depth.items())
        return stems.setdefault(stem, [])

    def first(self, best: int, view: RequestView) -> int:
        path = view.path
        if path[:1] != b"/":  # OPTIONS *
            return best
        whole = len(path)
        depth = end = 0  # of what was looked at, which ends before a slash
        for wanted, stems in self._depths:
            while depth < wanted:
                if end == whole:
                    return best
                end = path.find(b"/", end + 1)
                if end < 0:
                    end = whole
                depth += 1
            entries = stems.get(path[:end])
            if entries is not None:
                best = first_of(entries, best, view)
        return best


def first_of(
    entries: Sequence[tuple[int, tuple[Check, ...]]], best: int, view: RequestView
) -> int:
    """Give the first place below `best` whose checks hold, or else `best`."""
    for place, checks in entries:
        if place >= best:
            return best
        for check in checks:
            if not check(view):
                break
        else:
            return place
    return best
