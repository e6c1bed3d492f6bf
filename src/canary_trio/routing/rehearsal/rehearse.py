"""What a proposed document would do to the requests that were noted: both routers decide. Pure.

The rule that is obeyed here: what moves is exactly what the two `Router`s decide otherwise.
Where chance decides on each request anew nobody has an arm, so nobody moves by another
draw; then the shares say what servers can expect. A cookie that the present
document does not sign counts as not there: whoever kept one from before moves otherwise. Limits
of the rate of requests, and what asks who somebody is, are not asked.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

import attrs

from canary_trio.config.model import WHOLE, Config, ServerMode
from canary_trio.config.rules import Rule
from canary_trio.routing.access.gate import Gate, gate_of
from canary_trio.routing.decision import Chance, Decision, Reason
from canary_trio.routing.rehearsal.noted_request import Hidden, NotedRequest
from canary_trio.routing.rehearsal.reads import Name, Reads, in_words
from canary_trio.routing.rehearsal.ring import NotedRequests
from canary_trio.routing.rehearsal.sums import ArmChange, Side, Sums
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.http1.request_head import RequestHead

_SLICE = 50  # requests between two of others' turns: about a millisecond


def rehearse(
    noted: NotedRequests, running: Router, config: Config, now: float, chance: Chance
) -> Generator[None, None, Sums]:
    """Rehearse a proposed document; others may have a turn where it yields.

    Args:
        noted: what came.
        running: the router of the present document.
        config: the proposed one.
        now: as of `NotedRequests.note`.
        chance: for keys that are minted for nobody.
    """
    present, proposed = running.of_another(running.config), running.of_another(config)
    reads = Reads.of(present.config), Reads.of(proposed.config)
    requests = noted.ask(running, reads[1], now)
    stand_ins, known = noted.stand_ins, noted.known(*reads)
    for place, request in enumerate(requests):
        yield from stand_ins.search(request.buckets())
        if place % _SLICE == 0:
            yield
    tally = _Tally(
        _Document(present, _own_names(present.config.rules), chance),
        _Document(proposed, _names_beside(present.config.rules, config.rules), chance),
    )
    for place, request in enumerate(requests):
        why = untold(request, reads, known)
        if why is not None:
            tally.untold[why] = tally.untold.get(why, 0) + 1
        else:
            user, cookie = request.user, b""
            if user is not None:
                cookie = present.cookie_of(stand_ins.found[user.bucket])
            tally.count(request, request.head(stand_ins.found, known, cookie))
        if place % _SLICE == 0:
            yield
    return tally.sums(noted.seen_since(requests[0]) if requests else 0)


def untold(
    request: NotedRequest,
    reads: Sequence[Reads],
    known: Mapping[tuple[Name, bytes], bytes],
) -> str | None:
    """Say what is not known of a request that one of the documents asks for."""
    for one in reads:
        for name in one.names - request.looked_for.names:
            return f"{in_words(name)} is noted only from now on"
        if one.client and not request.looked_for.client:
            return "the client's address is noted only from now on"
        if one.certificate and request.certificate:
            return "what a client's certificate says is not noted"
        for name in one.shapes:
            value = request.values.get(name)
            if isinstance(value, Hidden) and (name, value.digest) not in known:
                return f"the value of {in_words(name)} is not noted, and a rule tests its shape"
    return None


@attrs.frozen
class _Fate:
    """What becomes of a request: refused, or an arm, or chance (None)."""

    refused: bool
    arm: Side = None
    rule: str | None = None


class _Document:
    """One of the two documents, as it is asked."""

    def __init__(self, router: Router, names: Sequence[str], chance: Chance) -> None:
        self._router, self._chance = router, chance
        config = router.config
        self._gate: Gate | None = gate_of(config.access)
        self.names = dict(zip((rule.name for rule in config.rules), names, strict=True))
        shares = {arm: share / WHOLE for arm, share in config.shares.items() if share}
        self._by_chance = shares
        self._servers = {name: _server_shares(config, name) for name in config.arms}

    def fate(self, request: NotedRequest, head: RequestHead) -> _Fate:
        """Decide on a request."""
        gate = self._gate
        if gate and gate.turn_down(request.client, request.framing) is not None:
            return _Fate(refused=True)
        decision: Decision = self._router.choose(
            *(head, request.client, WeightedSequence(), self._chance),
            secure=request.secure,
        )
        drawn = decision.reason is Reason.RATIO and len(self._by_chance) > 1
        rule = None if decision.rule is None else self.names[decision.rule]
        return _Fate(False, None if drawn else decision.arm, rule)

    def expected(self, fate: _Fate) -> Iterator[tuple[tuple[str, str], float]]:
        """Give the servers that may get a request, each with how much of it."""
        if fate.refused:
            return
        arms = self._by_chance if fate.arm is None else {fate.arm: 1.0}
        for arm, share in arms.items():
            for url, part in self._servers[arm].items():
                yield (arm, url), share * part


class _Tally:
    """Counts what becomes of requests."""

    def __init__(self, present: _Document, proposed: _Document) -> None:
        self._documents = present, proposed
        self.untold: dict[str, int] = {}
        self._requests = self._newly_refused = self._newly_admitted = 0
        self._refused = [0, 0]
        self._users: set[bytes] = set()
        self._moved: dict[tuple[Side, Side], list[bytes | None]] = {}
        self._rules = {
            name: [0.0, 0.0]
            for document in self._documents
            for name in document.names.values()
        }
        self._servers: dict[tuple[str, str], list[float]] = {}

    def count(self, request: NotedRequest, head: RequestHead) -> None:
        """Count a request that can be told of."""
        self._requests += 1
        user = None if request.user is None else request.user.digest
        if user is not None:
            self._users.add(user)
        before, after = (one.fate(request, head) for one in self._documents)
        for place, fate in enumerate((before, after)):
            self._refused[place] += fate.refused
            if fate.rule is not None:
                self._rules[fate.rule][place] += 1
            for server, part in self._documents[place].expected(fate):
                self._servers.setdefault(server, [0.0, 0.0])[place] += part
        self._newly_refused += after.refused and not before.refused
        self._newly_admitted += before.refused and not after.refused
        if not before.refused and not after.refused and before.arm != after.arm:
            self._moved.setdefault((before.arm, after.arm), []).append(user)

    def sums(self, seen: int) -> Sums:
        """Give what was counted."""
        moved = [user for users in self._moved.values() for user in users]
        moves = [
            ArmChange(*way, len(users), _distinct(users))
            for way, users in self._moved.items()
        ]
        return Sums(
            processes=1,
            seen=seen,
            requests=self._requests,
            users=len(self._users),
            moved=len(moved),
            moved_users=_distinct(moved),
            moves=tuple(sorted(moves, key=lambda move: -move.requests)),
            refused=(self._refused[0], self._refused[1]),
            newly_refused=self._newly_refused,
            newly_admitted=self._newly_admitted,
            rules={name: (one, two) for name, (one, two) in self._rules.items()},
            servers={name: (one, two) for name, (one, two) in self._servers.items()},
            untold=self.untold,
        )


def _distinct(users: Iterable[bytes | None]) -> int:
    return len({user for user in users if user is not None})


def _server_shares(config: Config, arm: str) -> dict[str, float]:
    """Give what each server of an arm can expect of its requests, by weight."""
    ready = [
        server for server in config.arms[arm].servers if server.mode is ServerMode.READY
    ]
    whole = sum(server.weight for server in ready)
    return {server.url: server.weight / whole for server in ready}


def _own_names(rules: Sequence[Rule]) -> list[str]:
    return [rule.name for rule in rules]


def _names_beside(present: Sequence[Rule], proposed: Sequence[Rule]) -> list[str]:
    """Name the rules of the proposed document so that the same ones are called the same.

    One without a name is called by its place, which another one takes when a rule is put
    before it: so it is found again by what it says.
    """
    by_place = {f"rule {place}" for place in range(1, len(proposed) + 1)}
    known = {(rule.arm, rule.conditions): rule.name for rule in present}
    taken = {rule.name for rule in present}
    names = []
    for rule in proposed:
        name = rule.name
        if name in by_place:
            found = known.get((rule.arm, rule.conditions))
            if found is not None:
                name = found
            elif name in taken:
                name = f"{name} (new)"
        names.append(name)
    return names
