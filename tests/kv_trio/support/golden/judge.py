"""Compares responses with those of a real Consul.

The rule that it obeys: all is compared, but for what two servers cannot have in
common. Indexes are compared by order and equality, sessions by equality. Three of our
differences touch too many responses to be named one by one, so they are let pass here:
a response to a write carries `X-Consul-Index`, the index of what is absent is that of
its own last change rather than the store's, and sessions are listed in any order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from tests.kv_trio.support.golden.player import INDEX, Got, Player, Step

Differences = dict[str, str]

PLAIN_HEADERS = (
    "Content-Type",
    "Allow",
    "Location",
    "X-Content-Type-Options",
    "Content-Security-Policy",
    "X-Consul-Knownleader",
    "X-Consul-Lastcontact",
)
_NUMBER = re.compile(rb'((?:Create|Modify)Index": ?|modify index )(\d+)( != \d+)?')
_SESSION = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Pair = tuple[Any, Any]


@attrs.define
class Pairs:
    """What of Consul's is what of ours, and where that was seen: case and part."""

    agree: Callable[[Pair, Pair], bool]
    seen: dict[Pair, list[tuple[int, str]]] = attrs.field(factory=dict)

    def see(self, theirs: Any, ours: Any, case: int, part: str) -> None:
        self.seen.setdefault((theirs, ours), []).append((case, part))

    def misfits(self) -> list[Pair]:
        """Give the fewest, by how often they were seen, without which all agree.

        So one wrong index is one failure, and not one of every case that has to do
        with it.
        """
        kept, misfits = list(self.seen), list[Pair]()
        while True:
            against = {pair: self._against(pair, kept) for pair in kept}
            worst = max(kept, key=against.__getitem__, default=None)
            if worst is None or not against[worst]:
                return misfits
            kept.remove(worst)
            misfits.append(worst)

    def _against(self, pair: Pair, others: list[Pair]) -> int:
        return sum(len(self.seen[o]) for o in others if not self.agree(pair, o))


def order_agrees(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return (one[0] < other[0]) == (one[1] < other[1]) and same_agrees(one, other)


def same_agrees(one: Pair, other: Pair) -> bool:
    return bool(one[0] == other[0]) == bool(one[1] == other[1])


@attrs.define(eq=False)
class Judge:
    """Compares the responses of one player with Consul's."""

    player: Player
    indexes: Pairs = attrs.field(factory=partial(Pairs, order_agrees))
    sessions: Pairs = attrs.field(factory=partial(Pairs, same_agrees))

    def judge(self, steps: list[Step]) -> dict[int, Differences]:
        """Give what differs, by case and part of the response."""
        found = {step["case"]: self._judge_alone(step) for step in steps}
        for pairs in (self.indexes, self.sessions):
            for pair in pairs.misfits():
                for case, part in pairs.seen[pair]:
                    text = f"{pair[0]} is {pair[1]}, which does not fit the others"
                    found[case].setdefault(part, text)
        return found

    def _judge_alone(self, step: Step) -> Differences:
        got = self.player.got[step["case"]]
        found = dict(self._ending(step, got))
        if "answer" in step:
            found |= self._head(step, got)
            found |= self._index(step, got)
            found |= self._body(step, got)
        return found

    def _ending(self, step: Step, got: Got) -> Iterator[tuple[str, str]]:
        if "ended" not in step:
            return
        ended = how_ended(step, got)
        if ended != step["ended"]:
            yield "ended", f"{step['ended']} != {ended} after {got.elapsed_s:.2f} s"
        elif "after_s" in step and got.elapsed_s < 0.75 * step["after_s"]:
            yield "ended", f"after {step['after_s']} s != {got.elapsed_s:.2f} s"
        elif ended == "woken":
            path = self.player.fill(step["ask"]["path"])
            given = int(re.findall(r"index=(\d+)", path)[0])
            if got.index <= given:
                yield INDEX, f"woken from {given} by {got.index}"

    def _head(self, step: Step, got: Got) -> Differences:
        wanted = step["answer"]
        pairs: dict[str, Pair] = {"status": (wanted["status"], got.status)}
        for name in PLAIN_HEADERS:
            pairs[name] = (wanted["headers"].get(name), got.headers.get(name))
        return {name: f"{a!r} != {b!r}" for name, (a, b) in pairs.items() if a != b}

    def _index(self, step: Step, got: Got) -> Differences:
        theirs = step["answer"]["headers"].get(INDEX)
        ours = got.headers.get(INDEX)
        if theirs is None or ours is None:
            is_write = step["ask"]["method"] != "GET"
            fits = theirs is None and (ours is None or is_write)
            return {} if fits else {INDEX: f"{theirs} != {ours}"}
        if got.status == 404:
            return {} if got.index >= 1 else {INDEX: f"{ours} waits for nothing"}
        self.indexes.see(int(theirs), got.index, step["case"], INDEX)
        return {}

    def _body(self, step: Step, got: Got) -> Differences:
        wanted = step["answer"]
        if "contains" in wanted:
            part = self.player.fill(json.dumps(wanted["contains"]))
            fits = covers(read_json(got.body), json.loads(part))
            return {} if fits else {"body": f"{part} not in {got.body[:500]!r}"}
        theirs, ours = self.player.body_of(wanted) or b"", got.body
        if wanted.get("unordered"):
            theirs, ours = by_creation(theirs), by_creation(ours)
        shape_a, indexes_a, sessions_a = shape(theirs)
        shape_b, indexes_b, sessions_b = shape(ours)
        if shape_a != shape_b:
            return {"body": f"{theirs[:700]!r} != {ours[:700]!r}"}
        for a, b in zip(indexes_a, indexes_b, strict=True):
            self.indexes.see(a, b, step["case"], "body")
        for c, d in zip(sessions_a, sessions_b, strict=True):
            self.sessions.see(c, d, step["case"], "body")
        return {}


def how_ended(step: Step, got: Got) -> str:
    if not got.status:
        return "never"
    if got.elapsed_s >= step["wait_s"]:
        return "in time"
    awaited = "during" in step or "after_s" in step
    return "woken" if awaited and not got.early else "at once"


def shape(body: bytes) -> tuple[bytes, list[int], list[bytes]]:
    """Take the indexes and sessions out of a body."""
    indexes: list[int] = []

    def take(match: re.Match[bytes]) -> bytes:
        indexes.append(int(match[2]))
        other = b" != %+d" % (int(match[3][4:]) - indexes[-1]) if match[3] else b""
        return match[1] + b"#" + other

    body = _NUMBER.sub(take, body)
    return _SESSION.sub(b"SESSION", body), indexes, _SESSION.findall(body)


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def by_creation(body: bytes) -> bytes:
    """Sort the sessions in a body; leave it alone if it is none of them."""
    listed = read_json(body)
    if not isinstance(listed, list) or not covers(listed, [{}] * len(listed)):
        return body
    return json.dumps(sorted(listed, key=lambda s: s.get("CreateIndex", 0))).encode()


def covers(whole: Any, part: Any) -> bool:
    """Tell whether what was recorded in part is all in a response.

    >>> covers({"a": [{"b": 1, "c": 2}], "d": 3}, {"a": [{"b": 1}]})
    True
    """
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and covers(whole[key], part[key]) for key in part
        )
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(whole) == len(part)
            and all(map(covers, whole, part))
        )
    return bool(whole == part)
