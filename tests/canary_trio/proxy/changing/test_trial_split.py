"""Who tries a document: a share, drawn by users, and by nothing that the arms hang on."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_trio.config.document import load
from canary_trio.proxy.changing.trial_split import TrialSplit, trial_salt
from canary_trio.routing.decision import Chance
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio import Limits
from http_trio.http1.request_head import RequestHead, parse_request_head

ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b"]}}
SECRET = b"secret"
HEADER = {"sticky_sessions": {"header": "X-User"}}
COOKIE = {"sticky_sessions": True}
EPOCH = {"sticky_sessions": {"cookie": "canary-web", "epoch": 7}}


def router(**document: Any) -> Router:
    config = load(json.dumps({"arms": ARMS, "ratio": 0.5, **document}).encode())
    return Router(config, service="web", secrets=[SECRET])


def split(share: int, present: Router, tried: Router, text: str = "{}") -> TrialSplit:
    return TrialSplit(share, trial_salt("web", text), present, tried)


def head(*fields: str) -> RequestHead:
    lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields))
    return parse_request_head(f"GET / HTTP/1.1\r\n{lines}".encode(), Limits())


def chance(seed: int = 1) -> Chance:
    drawn = random.Random(seed)
    return Chance(drawn.random, drawn.randbytes)


def users(count: int) -> list[RequestHead]:
    return [head(f"X-User: user{number}") for number in range(count)]


def test_users_try_it_by_their_share_and_whatever_arm_they_have() -> None:
    present, tried = router(**HEADER), router(**HEADER)
    by = split(1000, present, tried)
    counts: dict[tuple[bool, str], int] = {}
    for one in users(4000):
        arm = present.choose(one, "", WeightedSequence(), chance(), secure=False).arm
        key = (by.choose(one, "", chance())[0], arm)
        counts[key] = counts.get(key, 0) + 1
    for arm in ("stable", "canary"):
        part = counts[True, arm] / (counts[True, arm] + counts[False, arm])
        assert 0.075 < part < 0.125


@given(st.integers(1, 9_999), st.integers(1, 9_999))
@settings(max_examples=30)
def test_a_larger_share_has_all_users_of_a_smaller_one(one: int, other: int) -> None:
    present = router(**HEADER)
    less, more = sorted((one, other))
    small, large = split(less, present, present), split(more, present, present)
    for asked in users(200):
        if small.sure(asked, "", None):
            assert large.sure(asked, "", None)


def test_another_document_draws_others_and_every_proxy_the_same() -> None:
    present = router(**HEADER)
    drawn = {
        (text, again): [
            split(3000, present, router(**HEADER), text).sure(one, "", None)
            for one in users(300)
        ]
        for text in ("{}", '{"a": 1}')
        for again in (1, 2)
    }
    assert drawn["{}", 1] == drawn["{}", 2]
    assert drawn["{}", 1] != drawn['{"a": 1}', 1]


@pytest.mark.parametrize("share", [1, 500, 2500, 9_999])
def test_requests_without_a_key_go_by_the_share_exactly(share: int) -> None:
    present = router()
    by = split(share, present, router())
    assert by.sure(head(), "", None) is None
    tried = sum(by.choose(head(), "", chance())[0] for _ in range(10_000))
    assert tried == share


@pytest.mark.parametrize(
    ("before", "after"),
    [(COOKIE, COOKIE), (COOKIE, EPOCH), (COOKIE, {}), (COOKIE, HEADER)],
)
def test_a_user_has_one_side_from_the_first_request_on(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Whatever the documents make of cookies: the side of a user never changes."""
    drawn = chance()
    by = split(3000, present := router(**before), tried := router(**after))
    sides = []
    for _ in range(300):
        jar: str | None = None
        found = set()
        for _ in range(4):
            asked = head(*([] if jar is None else [f"Cookie: {jar}"]))
            tries, new_key = by.choose(asked, "", drawn)
            found.add(tries)
            chosen = (tried if tries else present).choose(
                *(asked, "", WeightedSequence(), drawn), secure=False, new_key=new_key
            )
            if chosen.cookie is not None:
                jar = chosen.cookie.partition(b";")[0].decode()
            if jar is None:
                break  # who is shown no cookie is drawn anew
        assert len(found) == 1
        sides.append(found.pop())
    assert 0.2 < sum(sides) / len(sides) < 0.4


def test_two_users_are_never_given_one_key() -> None:
    drawn = chance()
    by = split(5000, present := router(**COOKIE), tried := router(**COOKIE))
    keys = []
    for _ in range(500):
        tries, new_key = by.choose(head(), "", drawn)
        one = tried if tries else present
        for key in (new_key, None):  # and a question that came between
            found = one.choose(
                *(head(), "", WeightedSequence(), drawn), secure=False, new_key=key
            )
            keys.append(found.key)
    assert len(set(keys)) == len(keys)
