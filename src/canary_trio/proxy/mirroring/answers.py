"""Where two answers to one request differ: in status, fields, and places of a body. Pure.

A body of JSON is compared by its values, so that neither spaces nor the order of names
count; places of a list are one place, `items.*.price`, whichever of its members differ.
Any other body is compared byte by byte.

The rule that it obeys: what it does is bounded by the bytes that were read, and two that
cannot be compared are as different as two that differ in one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from canary_trio.rollout.fleet.compared import Ranked

MOST_DIFFERENCES = 100
"""Places of a body that are told apart; a body that differs in more is as bad as that."""

_Path = tuple[str, ...]
_ANY = "*"
_NOTHING = object()


@attrs.frozen
class CopyResponse:
    """What a server said to a copy.

    Attributes:
        status: or that which its grpc-status stands for; 0 for no answer in time.
        fields: the values of the fields that are compared, in their order.
        body: as it was sent; None if it is longer than what is looked at.
        is_json: whether it says that it is JSON.
    """

    status: int
    fields: tuple[tuple[bytes, ...], ...] = ()
    body: bytes | None = attrs.field(default=b"", repr=False)
    is_json: bool = False


NO_RESPONSE = CopyResponse(0)
"""There was none, or none that makes sense, or not in time."""


@attrs.frozen
class Comparer:
    """What of answers is compared.

    Attributes:
        fields: names of fields.
        body: whether bodies are.
        ignored: paths in a body of JSON that are not.
    """

    fields: tuple[str, ...]
    body: bool
    ignored: tuple[_Path, ...] = ()

    def differences(self, one: CopyResponse, other: CopyResponse) -> Ranked:
        """Say where two answers differ; the same in either order."""
        status = one.status != other.status
        values = zip(self.fields, one.fields, other.fields, strict=False)
        fields = {f"header {name.lower()}" for name, a, b in values if a != b}
        body: Iterable[str] = ()
        if self.body and not status and one.status:
            body = self._of_bodies(one, other)
        places = {*fields, *body, *(["status"] if status else [])}
        weight = int(status), len(fields), len(places) - len(fields) - status
        return Ranked(frozenset(places), weight)

    def _of_bodies(self, one: CopyResponse, other: CopyResponse) -> Iterable[str]:
        if one.body == other.body:
            return ()
        if one.body is None or other.body is None:
            return ("body",)
        if one.is_json and other.is_json:
            try:
                values = _parse(one.body), _parse(other.body)
            except (ValueError, RecursionError):
                return ("body",)
            found = differing(*values, self.ignored)
            return {".".join(("body", *path)) for path in found}
        return ("body",)


def paths_of(texts: Iterable[str]) -> tuple[_Path, ...]:
    """Read paths to leave out: names and places with dots between, `*` for any.

    >>> paths_of(["time", "items.*.id"])
    (('time',), ('items', '*', 'id'))
    """
    return tuple(tuple(text.split(".")) for text in texts)


def differing(one: Any, other: Any, ignored: Sequence[_Path] = ()) -> set[_Path]:
    """Say in which places two values of JSON differ; a list's members are one place.

    >>> sorted(differing({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3], "c": 0}))
    [('b', '*'), ('c',)]
    """
    found: set[_Path] = set()
    left: list[tuple[_Path, Any, Any, Sequence[_Path]]] = [((), one, other, ignored)]
    while left and len(found) < MOST_DIFFERENCES:
        path, a, b, ignored = left.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            for name in sorted({*a, *b}, reverse=True):
                below = _below(ignored, name)
                if below is not None:
                    pair = a.get(name, _NOTHING), b.get(name, _NOTHING)
                    left.append(((*path, name), *pair, below))
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                found.add(path)  # what follows is shifted: it says nothing more
                continue
            for place in range(len(a) - 1, -1, -1):
                below = _below(ignored, str(place))
                if below is not None:
                    left.append(((*path, _ANY), a[place], b[place], below))
        elif type(a) is not type(b) or a != b:
            found.add(path)
    return found


def _below(ignored: Sequence[_Path], name: str) -> Sequence[_Path] | None:
    """Give what is left of paths below a name; None if the name itself is left out."""
    below = [path[1:] for path in ignored if path[0] in (name, _ANY)]
    return None if () in below else below


def _parse(body: bytes) -> Any:
    return json.loads(body, parse_float=str, parse_constant=str)
