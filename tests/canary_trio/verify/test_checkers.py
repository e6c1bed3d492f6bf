"""Each checker passes what is right, and fails what was spoilt: by tables, and by chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.verify.checkers import (
    KILL_GRACE_S,
    Property,
    excused,
    judged_users,
    unjudged,
    violations,
)
from canary_trio.verify.observation import (
    ClientKind,
    DoneTo,
    Incident,
    LiveSince,
    Observation,
    Record,
    StepRun,
    WrittenChange,
)
from tests.canary_trio.verify.records import (
    BOTH,
    CANARY,
    PROXY,
    STABLE,
    document,
    killed,
    record,
    replaced,
    right,
    seen,
)

RATIOS = st.lists(
    st.integers(0, 10_000).map(lambda share: share / 10_000), min_size=1, max_size=6
)


def kinds_of(made: Record) -> set[Property]:
    return {one.of for one in violations(made)}


# === what is right passes, whatever it is ===


@given(seed=st.integers(0, 999), ratios=RATIOS)
def test_what_keeps_to_the_arithmetic_is_right(seed: int, ratios: list[float]) -> None:
    assert violations(right(seed, ratios)) == []


# === one thing is spoilt, and found ===


@given(seed=st.integers(0, 999), ratios=RATIOS, chance=st.randoms())
def test_one_user_in_the_other_arm_is_found(seed, ratios, chance) -> None:
    made = right(seed, ratios)
    place = chance.randrange(len(made.observations))
    was = made.observations[place].chosen
    other, server = ("stable", STABLE) if was == "canary" else ("canary", CANARY)

    found = kinds_of(replaced(made, place, arm=other, chosen=other, server=server))

    assert Property.TORN in found


@given(seed=st.integers(0, 999), chance=st.randoms())
def test_one_user_who_comes_back_is_found_without_buckets(seed, chance) -> None:
    made = right(seed, [0.2, 0.8, 0.2, 0.8])
    place = chance.randrange(len(made.observations))
    was = made.observations[place].chosen
    other = "stable" if was == "canary" else "canary"
    user = made.observations[place].user
    others = [one for one in made.observations if one.user == user]
    arms = {one.chosen for one in others}

    found = kinds_of(replaced(made, place, arm=other, chosen=other, server=""))

    if len(arms) == 1:  # who never moved has the same ratio twice, and is in both arms
        assert Property.MOVED in found


@given(seed=st.integers(0, 999), ratios=RATIOS, chance=st.randoms())
def test_one_lost_request_is_found(seed, ratios, chance) -> None:
    made = right(seed, ratios)
    place = chance.randrange(len(made.observations))

    assert kinds_of(replaced(made, place, failure="status 502")) == {Property.DROPS}


@given(seed=st.integers(0, 999), chance=st.randoms())
def test_one_response_by_an_older_revision_is_found(seed, chance) -> None:
    made = right(seed, [0.3, 0.3, 0.3])
    place = chance.randrange(20, len(made.observations))
    older = made.observations[place].revision - 1

    assert kinds_of(replaced(made, place, revision=older)) == {Property.STALE}


@given(seed=st.integers(0, 999), ratios=RATIOS, chance=st.randoms())
def test_one_change_that_is_gone_is_found(seed, ratios, chance) -> None:
    made = right(seed, ratios)
    lost = chance.choice(sorted(made.documents))
    made.history.remove(lost)

    assert kinds_of(made) == {Property.UNSAVED}


@given(seed=st.integers(0, 999), ratios=RATIOS, chance=st.randoms())
def test_one_revision_that_never_was_is_found(seed, ratios, chance) -> None:
    made = right(seed, ratios)
    del made.documents[chance.choice(sorted(made.documents))]

    assert kinds_of(made) == {Property.TORN}


def test_a_step_that_stuck_is_found_with_its_number() -> None:
    made = record(seen(), steps=[StepRun(3, "rollout", 0.0, 31.0, "no end in 30 s")])

    (found,) = violations(made)

    assert (found.of, found.what, found.step) == (
        Property.STUCK,
        "no end in 30 s",
        "3 rollout",
    )


# === torn configurations, by tables ===

TORN = {
    "an arm that is none": {"arm": "other", "chosen": "other"},
    "a choice that is none": {"chosen": "other"},
    "a server of another arm": {"server": CANARY},
    "a server that was taken out": {"server": "127.0.0.1:9"},
    "no fallback of that arm": {"arm": "calls-a", "chosen": "canary"},
    "stable falls back nowhere": {"arm": "canary", "reason": "fallback"},
    "a rule to another arm": {"rule": "calls", "reason": "rule"},
    "a call past its rule": {"kind": ClientKind.CALL},
    "a stream past its rule": {"kind": ClientKind.STREAM},
    "an arm without a share": {"arm": "calls-a", "chosen": "calls-a"},
    "a revision that never was": {"revision": 6},
}


@pytest.mark.parametrize("changed", TORN.values(), ids=TORN)
def test_what_the_revision_does_not_allow_is_torn(changed) -> None:
    assert kinds_of(record(seen(**changed))) == {Property.TORN}


WHOLE = {
    "stable's second server": {"server": BOTH},
    "canary's server": {"arm": "canary", "chosen": "canary", "server": CANARY},
    "a fallback": {"chosen": "canary", "reason": "retry", "server": STABLE},
    "a call by its rule": {
        "kind": ClientKind.CALL,
        "rule": "calls",
        "reason": "rule",
        "arm": "calls-a",
        "chosen": "calls-a",
    },
    "a rule that we do not know": {"rule": "theirs", "reason": "rule"},
    "a response that says nothing": {"revision": 0, "arm": ""},
}


@pytest.mark.parametrize("changed", WHOLE.values(), ids=WHOLE)
def test_what_the_revision_allows_is_whole(changed) -> None:
    assert violations(record(seen(**changed))) == []


@pytest.mark.parametrize(("ratio", "chosen"), [(0, "canary"), (1, "stable")])
def test_an_arm_without_a_share_gets_nobody(ratio: float, chosen: str) -> None:
    one = seen(arm=chosen, chosen=chosen)
    made = record(one, documents={5: document(ratio, sticky_sessions=False)})

    assert kinds_of(made) == {Property.TORN}


@pytest.mark.parametrize(("fresh", "torn"), [(True, set()), (False, {Property.TORN})])
def test_a_new_user_is_given_a_cookie(fresh: bool, torn: set[Property]) -> None:
    one = seen(cookie="c", fresh=fresh)
    made = record(one, documents={5: document(0.5, sticky_sessions=True)})

    assert kinds_of(made) == torn


# === who moved ===


def _of_cookie(began: float, revision: int, arm: str, cookie: str = "c") -> Observation:
    return seen(
        began=began,
        revision=revision,
        arm=arm,
        chosen=arm,
        reason="sticky",
        cookie=cookie,
    )


MOVES = {
    "raised": ([(0.2, "stable"), (0.4, "canary")], False),
    "lowered": ([(0.4, "canary"), (0.2, "stable")], False),
    "there and back": ([(0.2, "stable"), (0.4, "canary"), (0.2, "stable")], False),
    "back at a raise": ([(0.2, "canary"), (0.4, "stable")], True),
    "in at a fall": ([(0.4, "stable"), (0.2, "canary")], True),
    "both at one ratio": ([(0.3, "canary"), (0.3, "stable")], True),
    "back and forth": (
        [(0.2, "stable"), (0.4, "canary"), (0.3, "stable"), (0.3, "canary")],
        True,
    ),
}


@pytest.mark.parametrize(("path", "wrong"), MOVES.values(), ids=MOVES)
def test_a_user_has_one_threshold(path, wrong: bool) -> None:
    made = Record("web")
    for number, (ratio, arm) in enumerate(path, 1):
        made.documents[number] = document(ratio, sticky_sessions=True)
        made.observations.append(_of_cookie(number, number, arm))

    found = [one.of for one in violations(made)]

    assert found == ([Property.MOVED] if wrong else [])
    assert judged_users(made)[0] == (len({ratio for ratio, _ in path}) > 1)


def test_an_epoch_draws_all_users_anew() -> None:
    documents = {
        1: document(0.2, sticky_sessions={"cookie": "k"}),
        2: document(0.4, sticky_sessions={"cookie": "k", "epoch": 1}),
    }
    both = _of_cookie(1, 1, "canary"), _of_cookie(2, 2, "stable")

    assert violations(record(*both, documents=documents)) == []


def test_users_without_stickiness_are_nobody() -> None:
    documents = {5: document(0.5, sticky_sessions=False)}
    both = _of_cookie(1, 5, "canary"), _of_cookie(2, 5, "stable")

    assert violations(record(*both, documents=documents)) == []


# === what excuses a loss, and what does not ===

LOST = {"kind": ClientKind.UPLOAD, "failure": "status 502", "began": 1.0, "ended": 2.0}
KILL = killed(1.5, 1.6, STABLE, BOTH)

EXCUSED = {
    "a body that was under way": {"server": STABLE},
    "nobody says which server": {"revision": 0, "arm": ""},
    "one of the arm's servers": {},
    "a WebSocket": {"kind": ClientKind.WEBSOCKET, "server": BOTH},
    "begun just after": {"began": 1.6 + KILL_GRACE_S / 2},
}


@pytest.mark.parametrize("changed", EXCUSED.values(), ids=EXCUSED)
def test_what_was_at_a_killed_server_is_excused(changed) -> None:
    made = record(seen(**{**LOST, **changed}), incidents=[KILL])

    assert violations(made) == []
    assert len(excused(made)) == 1


NOT_EXCUSED = {
    "a GET can be repeated": {"kind": ClientKind.KEPT},
    "so can one of HTTP/2": {"kind": ClientKind.HTTP2},
    "it was at another server": {
        "arm": "canary",
        "chosen": "canary",
        "server": CANARY,
    },
    "its arm has no such server": {
        "arm": "canary",
        "chosen": "canary",
    },
    "it was over before": {"began": 1.0, "ended": 1.4},
    "it began long after": {"began": 1.7 + KILL_GRACE_S, "ended": 3.0},
}


@pytest.mark.parametrize("changed", NOT_EXCUSED.values(), ids=NOT_EXCUSED)
def test_what_a_kill_does_not_explain_is_a_drop(changed) -> None:
    made = record(seen(**{**LOST, **changed}), incidents=[KILL])

    assert kinds_of(made) == {Property.DROPS}


ENDING = Incident(DoneTo.PROXY_ENDING, frozenset({PROXY}), 1.0, 3.0)
TOLD = {"kind": ClientKind.WEBSOCKET, "failure": "closed with 1012", "close_code": 1012}


@pytest.mark.parametrize(
    ("changed", "excuses"),
    [
        ({}, True),
        ({"close_code": 1001}, True),
        ({"close_code": 0}, False),
        ({"close_code": 1006}, False),
        ({"kind": ClientKind.STREAM}, False),
        ({"proxy": "127.0.0.1:81"}, False),
        ({"ended": 5.0}, False),
        ({"began": 0.1, "ended": 0.5}, False),
    ],
)
def test_only_a_websocket_that_is_told_may_end_with_its_proxy(changed, excuses) -> None:
    one = seen(**{"ended": 2.0, **TOLD, **changed})
    made = record(one, incidents=[ENDING])

    assert (violations(made) == []) is excuses


def test_nothing_is_excused_without_an_incident() -> None:
    lost = [seen(**{**LOST, "kind": kind}) for kind in ClientKind]

    found = [one for one in violations(record(*lost)) if one.of is Property.DROPS]

    assert len(found) == len(lost)


# === what cannot be judged ===


def test_a_full_record_is_judged() -> None:
    assert unjudged(right(1, [0.1, 0.9]), [ClientKind.KEPT]) == []


def test_a_kind_that_never_came_through_is_not_judged() -> None:
    found = unjudged(right(1, [0.1, 0.9]), [ClientKind.KEPT, ClientKind.CALL])

    assert found == [
        "no grpc call came through in all the time: nothing is known of them"
    ]


def test_a_revision_without_a_document_is_not_held_against_anybody() -> None:
    made = right(1, [0.1, 0.9])
    del made.documents[11]
    made.missing.add(11)

    assert violations(made) == []
    assert "of the revisions 11 no document is kept" in unjudged(
        made, [ClientKind.KEPT]
    )


def test_where_others_write_too_an_unknown_revision_is_not_judged() -> None:
    made = right(1, [0.1, 0.9])
    del made.documents[11]
    del made.written[1]
    made.whole = False

    assert violations(made) == []
    assert unjudged(made, [ClientKind.KEPT])


def test_nothing_at_all_is_no_verdict() -> None:
    assert len(unjudged(Record("web"), [ClientKind.KEPT])) == 3


def test_the_newest_that_was_live_counts() -> None:
    late = [LiveSince(7, 1.0), LiveSince(5, 2.0)]
    made = record(
        seen(began=3.0, ended=3.1),
        documents={5: document(0.5), 7: document(0.5)},
        live=late,
        written=[WrittenChange(7, 0.1, 0.2)],
    )

    assert kinds_of(made) == {Property.STALE}
