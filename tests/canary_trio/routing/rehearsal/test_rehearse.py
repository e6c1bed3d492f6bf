"""What a rehearsal says moves is exactly what the two routers decide otherwise."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import build
from canary_trio.routing.access.gate import gate_of
from canary_trio.routing.decision import Chance, Reason
from canary_trio.routing.rehearsal.reads import Reads
from canary_trio.routing.rehearsal.rehearse import rehearse, untold
from canary_trio.routing.rehearsal.ring import NOTED_S, NotedRequests
from canary_trio.routing.rehearsal.sums import BadSums, Sums
from canary_trio.routing.request.request_spec import RequestSpec
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence

_CHANCE = Chance(random.random, random.randbytes)
ARMS = {
    "stable": {"servers": ["http://s:1", "http://s:2"]},
    "canary": {"servers": ["http://c:1"]},
}


def router(service: str = "web", **changes: Any) -> Router:
    config = build({"arms": ARMS, **changes})
    return Router(config, service=service, secrets=[b"secret"])


def cookie_of(user: int, **changes: Any) -> str:
    """Give the cookie of a user as the router would sign it."""
    shown = router(**changes).cookie_of(b"user%012d" % user)
    return shown.decode()


def noted(
    present: Router, specs: Sequence[RequestSpec], also: Router | None = None
) -> NotedRequests:
    """Note requests, all of them."""
    ring = NotedRequests(1000, lambda: 0.0, random.randbytes)
    if also is not None:
        ring.ask(present, Reads.of(also.config), 0.0)
    for spec in specs:
        ring.note(
            *(present, spec.head(), spec.client, 0.0),
            secure=spec.secure,
            certificate=spec.certificate is not None,
        )
    return ring


def asked(
    ring: NotedRequests, present: Router, proposed: Router, at: float = 1.0
) -> Sums:
    steps = rehearse(ring, present, proposed.config, at, _CHANCE)
    while True:
        try:
            next(steps)
        except StopIteration as stopped:
            return stopped.value  # type: ignore[no-any-return]


def without_our_cookie(spec: RequestSpec) -> RequestSpec:
    """Leave out the cookie of a document that is not the present one."""
    own = cookie_of(0, sticky_sessions=True).partition("=")[0]
    pairs = [
        (name, "; ".join(one for one in text.split("; ") if not one.startswith(own)))
        for name, text in spec.headers
    ]
    return attrs.evolve(spec, headers=tuple(pair for pair in pairs if pair[1]))


def rehearsed(present: Router, proposed: Router, *specs: RequestSpec) -> Sums:
    return asked(noted(present, specs), present, proposed)


def fate(by: Router, spec: RequestSpec) -> tuple[str | None, str | None, bool]:
    """Give the arm, the rule, and whether it is refused, as the real head has it."""
    gate = gate_of(by.config.access)
    if gate is not None and gate.turn_down(spec.client, 0) is not None:
        return None, None, True
    decision = by.choose(
        *(spec.head(), spec.client, WeightedSequence(), _CHANCE), secure=False
    )
    shares = [share for share in by.config.shares.values() if share]
    drawn = decision.reason is Reason.RATIO and len(shares) > 1
    return None if drawn else decision.arm, decision.rule, False


arms = st.sampled_from(["stable", "canary"])
conditions = st.one_of(
    st.fixed_dictionaries(
        {"header": st.just("X-Beta"), "equals": st.sampled_from("ab")}
    ),
    st.fixed_dictionaries({"header": st.just("User-Agent"), "prefix": st.just("curl")}),
    st.fixed_dictionaries(
        {"header": st.just("X-User"), "percent": st.sampled_from([10, 50])}
    ),
    st.fixed_dictionaries({"cookie": st.just("beta"), "equals": st.sampled_from("ab")}),
    st.fixed_dictionaries({"cookie": st.just("beta"), "present": st.booleans()}),
    st.fixed_dictionaries({"query": st.just("q"), "regex": st.just("^a+$")}),
    st.fixed_dictionaries({"query": st.just("q r"), "equals": st.just("a&b")}),
    st.fixed_dictionaries({"path_prefix": st.sampled_from(["/a", "/a/b"])}),
    st.fixed_dictionaries({"host": st.just("beta.example.org")}),
    st.fixed_dictionaries({"network": st.just("10.1.0.0/16")}),
    st.fixed_dictionaries({"method": st.just("POST")}),
)
rules = st.builds(lambda condition, arm: {**condition, "arm": arm}, conditions, arms)
documents = st.fixed_dictionaries(
    {
        "ratio": st.sampled_from([0, 0.1, 0.5, 1]),
        "rules": st.lists(rules, max_size=3),
        "style": st.sampled_from(["round_robin", "hash"]),
        "sticky_sessions": st.sampled_from(
            [False, True, {"header": "X-User"}, {"address": True}, {"cookie": "uid"}]
        ),
        "access": st.sampled_from([{}, {"deny": ["10.1.2.0/24"]}]),
    }
)
values = st.sampled_from(["a", "b", "aaa", "curl/8", "ann", "bob", "cy"])
fields = st.sampled_from(["X-Beta", "User-Agent", "X-User"])
cookies = st.one_of(
    values.map(lambda value: f"beta={value}"),
    values.map(lambda value: f"uid={value}"),
    st.integers(0, 20).map(lambda user: cookie_of(user, sticky_sessions=True)),
)
specs = st.builds(
    lambda method, target, pairs, jar, client: RequestSpec(
        method,
        target,
        (*pairs, *([("Cookie", "; ".join(jar))] if jar else ())),
        client,
    ),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(
        ["/", "/a", "/a/b?q=aa", "/?q=b&x=1", "http://beta.example.org/?q%20r=a%26b"]
    ),
    st.lists(st.tuples(fields, values), max_size=3, unique_by=lambda pair: pair[0]),
    st.lists(cookies, max_size=3),
    st.sampled_from(["10.1.2.3", "10.1.9.9", "192.0.2.7", "2001:db8::1", "unix"]),
)


@given(documents, documents, st.lists(specs, min_size=1, max_size=12))
def test_what_moves_is_what_the_routers_decide_otherwise(
    present: dict[str, Any], proposed: dict[str, Any], requests: list[RequestSpec]
) -> None:
    before, after = router(**present), router(**proposed)
    if before.cookie_of(b"") != after.cookie_of(b""):
        requests = list(map(without_our_cookie, requests))
    ring = noted(before, requests, after)
    # Which values are kept depends on the present document: leave out what is not told.
    reads = Reads.of(before.config), Reads.of(after.config)
    known = ring.known(*reads)

    told = [
        spec
        for spec, one in zip(requests, ring.ask(before, reads[1], 0.0), strict=True)
        if untold(one, reads, known) is None
    ]

    found = asked(ring, before, after)

    fates = [(fate(before, spec), fate(after, spec)) for spec in told]
    passing = [(a, b) for (a, _, x), (b, _, y) in fates if not x and not y]
    assert found.requests == len(told)
    assert {(m.source, m.target): m.requests for m in found.moves} == Counter(
        (a, b) for a, b in passing if a != b
    )
    assert found.newly_refused == sum(y and not x for (_, _, x), (_, _, y) in fates)
    assert found.newly_admitted == sum(x and not y for (_, _, x), (_, _, y) in fates)
    assert found.refused == (
        sum(x for (*_, x), _ in fates),
        sum(y for _, (*_, y) in fates),
    )
    assert sum(one for one, _ in found.rules.values()) == sum(
        rule is not None for (_, rule, _), _ in fates
    )
    passed = sum(not y for _, (_, _, y) in fates)
    assert sum(two for _, two in found.servers.values()) == pytest.approx(passed)
    assert Sums.load(json.loads(json.dumps(found.shown()))).shown() == found.shown()


def test_users_move_as_their_buckets_say() -> None:
    sticky: dict[str, Any] = {"sticky_sessions": True}
    users = [
        RequestSpec(headers=(("Cookie", cookie_of(user, **sticky)),))
        for user in range(200)
    ]
    before, after = router(ratio=0.1, **sticky), router(ratio=0.3, **sticky)

    found = rehearsed(before, after, *users, *users)

    moved = sum(fate(before, user) != fate(after, user) for user in users)
    assert 0 < moved < 100
    assert (found.users, found.moved_users, found.moved) == (200, moved, 2 * moved)
    assert [(m.source, m.target, m.users) for m in found.moves] == [
        ("stable", "canary", moved)
    ]
    canary = found.servers["canary", "http://c:1"]
    assert canary[1] - canary[0] == 2 * moved


def test_an_epoch_makes_all_cookies_foreign() -> None:
    sticky: dict[str, Any] = {"sticky_sessions": True}
    user = RequestSpec(headers=(("Cookie", cookie_of(7, **sticky)),))
    before = router(ratio=0.5, **sticky)

    found = rehearsed(before, router(ratio=0.5, sticky_sessions={"epoch": 1}), user)

    assert [(m.source, m.target) for m in found.moves] == [
        (fate(before, user)[0], None)
    ]


def test_rules_that_match_no_more_are_known_by_what_they_say() -> None:
    beta = {"path_prefix": "/beta", "arm": "canary"}
    gone = {"name": "gone", "path_prefix": "/old", "arm": "canary"}
    new = {"path_prefix": "/new", "arm": "canary"}
    paths = [RequestSpec(target=path) for path in ("/beta", "/beta/x", "/old", "/new")]

    found = rehearsed(router(rules=[beta, gone]), router(rules=[new, beta]), *paths)

    assert found.rules == {"rule 1": (2, 2), "gone": (1, 0), "rule 1 (new)": (0, 1)}


def test_what_was_not_noted_is_not_told_and_noted_from_then_on() -> None:
    before, after = (
        router(),
        router(rules=[{"header": "X-Beta", "equals": "yes", "arm": "canary"}]),
    )
    spec = RequestSpec(headers=(("X-Beta", "yes"),))
    ring = noted(before, [spec])

    first = asked(ring, before, after)
    ring.note(before, spec.head(), "", 0.0, secure=False, certificate=False)
    second = asked(ring, before, after)

    assert (first.requests, second.requests) == (0, 1)
    assert first.untold == {"header x-beta is noted only from now on": 1}
    assert second.moves[0].target == "canary"


def test_a_pattern_on_a_value_that_is_not_kept_is_not_told() -> None:
    with_pattern = router(rules=[{"cookie": "sid", "regex": "^a", "arm": "canary"}])
    has, has_not = RequestSpec(headers=(("Cookie", "sid=abc"),)), RequestSpec()

    found = rehearsed(with_pattern, with_pattern, has, has_not)

    assert (found.requests, sum(found.untold.values())) == (1, 1)


@pytest.mark.parametrize("name", ["X-User", "Authorization", "X-Api-Key", "X-Trace"])
@pytest.mark.parametrize("test", ["equals", "prefix", "percent"])
def test_no_secret_is_kept(name: str, test: str) -> None:
    secret = "s3cret-of-ann"
    rule = {"header": name, test: 10 if test == "percent" else "b", "arm": "canary"}
    present = router(
        rules=[rule, {"cookie": "sid", "prefix": "b", "arm": "canary"}],
        sticky_sessions={"header": "X-User"},
    )
    spec = RequestSpec(
        target=f"/path?token={secret}",
        headers=((name, secret), ("Cookie", f"sid={secret}"), ("X-Other", secret)),
        client="192.0.2.7",
    )

    kept = repr(noted(present, [spec]).ask(present, Reads(), 0.0))

    is_plain = (name, test) == ("X-Trace", "prefix")  # a pattern has to see it
    assert (secret in kept) == is_plain
    assert "192.0.2.7" not in kept


def test_what_is_old_is_not_asked_and_the_ring_is_bounded() -> None:
    present = router()
    ring = NotedRequests(3, lambda: 0.0, random.randbytes)
    for at in range(5):
        ring.note(
            *(present, RequestSpec().head(), "", float(at)),
            secure=False,
            certificate=False,
        )

    assert [one.at for one in ring.ask(present, Reads(), 5.0)] == [2, 3, 4]
    assert [one.at for one in ring.ask(present, Reads(), NOTED_S + 3.5)] == [4]
    assert asked(ring, present, present, NOTED_S + 9).requests == 0


@pytest.mark.parametrize(("per_second", "apart_s"), [(5, 0.2), (2000, 0.01)])
def test_of_many_requests_few_are_noted_and_all_are_counted(
    per_second: int, apart_s: float
) -> None:
    present, head = router(), RequestSpec().head()
    ring = NotedRequests(100, random.Random(7).random, random.randbytes)

    def serve(numbers: range) -> list[int]:
        for number in numbers:
            ring.left -= 1
            if ring.left < 0:
                at = number / per_second
                ring.note(present, head, "", at, secure=False, certificate=False)
        return [one.number for one in ring.ask(present, Reads(), 0.0)]

    assert serve(range(100)) == list(range(1, 101)), "until the ring is full"
    kept = serve(range(100, 10_000))

    assert len(kept) == 100
    assert (kept[-1] - kept[0]) / per_second > 99 * apart_s * 0.999
    oldest = ring.ask(present, Reads(), 0.0)[0]
    assert ring.seen_since(oldest) == 10_000 - oldest.number + 1


def test_a_ring_that_is_off_notes_nothing() -> None:
    ring = NotedRequests(0, lambda: 0.0, random.randbytes)
    ring.note(router(), RequestSpec().head(), "", 0.0, secure=False, certificate=False)

    assert ring.is_off
    assert ring.left > 1 << 60
    assert asked(ring, router(), router()).requests == 0


def test_sums_add_up() -> None:
    path = {"path_prefix": "/a", "arm": "canary"}
    one = rehearsed(router(), router(rules=[path]), RequestSpec(target="/a"))
    two = rehearsed(router(), router(ratio=1), RequestSpec(target="/b"))

    both = one + two

    assert (both.processes, both.requests, both.moved) == (2, 2, 2)
    assert [(m.source, m.target, m.requests) for m in both.moves] == [
        ("stable", "canary", 2)
    ]
    assert both.servers["stable", "http://s:1"] == (1.0, 0.0)
    assert one + Sums() == one


@pytest.mark.parametrize(
    "change", [{"seen": -1}, {"moves": None}, {"rules": [{}]}, {"users": "1"}]
)
def test_other_things_are_no_sums(change: dict[str, Any]) -> None:
    with pytest.raises(BadSums):
        Sums.load({**Sums().shown(), **change})
    with pytest.raises(BadSums):
        Sums.load([])
