"""The decision: rules, then the user, then the style; and why, as a value."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import load
from canary_trio.routing.buckets import bucket, salt_of
from canary_trio.routing.decision import Chance, Decision, Reason
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.request_head import parse_request_head, shared_head
from http_trio.limits import Limits

SECRET = b"s" * 32
ARMS: dict[str, Any] = {
    name: {"servers": [f"http://{name}"]} for name in ("stable", "canary", "baseline")
}


def routes_of(secret: bytes = SECRET, service: str = "web", **fields: Any) -> Router:
    document = {"arms": ARMS, **fields}
    return Router(load(json.dumps(document)), service=service, secrets=(secret,))


class Asking:
    """Asks for decisions, as a proxy does."""

    def __init__(self, seed: int = 1) -> None:
        drawn = random.Random(seed)
        self.sequence = WeightedSequence()
        self.chance = Chance(drawn.random, drawn.randbytes)

    def __call__(
        self,
        routes: Router,
        *fields: str,
        target: str = "/",
        client: str = "192.0.2.1",
        secure: bool = False,
    ) -> Decision:
        lines = "".join(f"{field}\r\n" for field in fields)
        raw = f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()
        head = parse_request_head(raw, Limits())
        return routes.choose(head, client, self.sequence, self.chance, secure=secure)


def cookie_of(decision: Decision) -> str:
    assert decision.cookie is not None
    return "Cookie: " + decision.cookie.decode().split(";")[0]


def test_rules_come_first_then_the_user_then_the_ratio() -> None:
    ask = Asking()
    rules = [
        {"header": "X-Canary", "equals": "never", "arm": "stable"},
        {"cookie": "beta", "present": True, "arm": "baseline", "name": "beta"},
    ]
    routes = routes_of(sticky_sessions=True, ratio=1, rules=rules)
    user = cookie_of(ask(routes))

    assert ask(routes, user).arm == "canary"
    never = ask(routes, user, "X-Canary: never")
    assert (never.arm, str(never), never.rule) == ("stable", "rule:rule 1", "rule 1")
    beta = ask(routes, user + "; beta=1")
    assert (beta.arm, str(beta)) == ("baseline", "rule:beta")
    assert ask(routes, user, "X-Canary: Never").reason is Reason.STICKY
    assert ask(routes).reason is Reason.RATIO


def test_ingress_words_send_and_keep_away() -> None:
    ask = Asking()
    routes = routes_of(rules=[{"canary-by-header": "C", "canary-by-cookie": "c"}])

    arms = [
        (ask(routes, *fields).arm, ask(routes, *fields).reason)
        for fields in (
            ["C: always"],
            ["C: never"],
            ["C: never", "Cookie: c=always"],
            ["C: other", "Cookie: c=always"],
            ["Cookie: c=never"],
            ["C: other"],
        )
    ]
    assert arms == [
        ("canary", Reason.RULE),
        ("stable", Reason.RULE),
        ("stable", Reason.RULE),
        ("canary", Reason.RULE),
        ("stable", Reason.RULE),
        ("stable", Reason.RATIO),
    ]


def test_a_user_keeps_the_arm_and_a_stranger_gets_a_key() -> None:
    ask = Asking()
    routes = routes_of(sticky_sessions=True, ratio=0.5)
    first = ask(routes)
    assert first.reason is Reason.RATIO
    assert first.bucket is not None

    for _ in range(2):  # the second time it is known
        again = ask(routes, cookie_of(first))
        assert (again.arm, again.reason, again.cookie) == (
            first.arm,
            Reason.STICKY,
            None,
        )
        assert (again.key, again.bucket) == (first.key, first.bucket)
    other_proxy = ask(routes_of(sticky_sessions=True, ratio=0.5), cookie_of(first))
    assert other_proxy.arm == first.arm


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": b"another"},
        {"sticky_sessions": {"epoch": 1}},
        {"sticky_sessions": {"cookie": "other"}},
    ],
    ids=str,
)
def test_a_foreign_or_old_cookie_is_replaced(changed: dict[str, Any]) -> None:
    ask = Asking()
    old = ask(routes_of(**{"sticky_sessions": True, "ratio": 0.5, **changed}))
    routes = routes_of(sticky_sessions=True, ratio=0.5)

    decision = ask(routes, cookie_of(old))
    assert (decision.reason, decision.key == old.key) == (Reason.RATIO, False)
    assert decision.cookie is not None


@given(st.binary(min_size=1, max_size=60))
def test_a_forged_cookie_is_never_trusted(value: bytes) -> None:
    text = value.hex()
    decision = Asking()(
        routes_of(sticky_sessions=True, ratio=0.5), f"Cookie: canary-web={text}"
    )

    assert decision.reason is Reason.RATIO
    assert decision.cookie is not None


@given(
    st.lists(
        st.sampled_from(
            [
                "canary-web=always",
                "canary-web=",
                "a=b",
                "canary-web=1.AAAAAAAAAAAAAAAA.",
            ]
        )
        | st.from_regex(
            r"canary-web=1\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{24}", fullmatch=True
        ),
        max_size=10,
    ),
    st.data(),
)
def test_ours_is_found_among_foreign_cookies_of_its_name(
    foreign: list[str], data: st.DataObject
) -> None:
    ask, routes = Asking(), routes_of(sticky_sessions=True, ratio=0.5)
    own = ask(routes)
    field = cookie_of(own)
    cookies = list(foreign)
    place = data.draw(st.integers(0, len(cookies)))
    cookies.insert(place, field.removeprefix("Cookie: "))
    lines = ["Cookie: " + "; ".join(cookies)]
    if data.draw(st.booleans()):  # HTTP/2 splits the field (RFC 9113 section 8.2.3)
        lines = [f"Cookie: {cookie}" for cookie in cookies]

    found = ask(routes, *lines)
    assert (found.key, found.arm, found.cookie) == (own.key, own.arm, None)


def test_services_on_one_host_have_cookies_of_their_own() -> None:
    ask = Asking()
    web = routes_of(sticky_sessions=True, ratio=0.5)
    api = routes_of(sticky_sessions=True, ratio=0.5, service="api")
    both = [cookie_of(ask(web)), cookie_of(ask(api))]
    field = "Cookie: " + "; ".join(one.removeprefix("Cookie: ") for one in both)

    assert ask(web, field).reason is Reason.STICKY
    assert ask(api, field).reason is Reason.STICKY


def test_a_cookie_is_secure_where_the_client_is() -> None:
    ask = Asking()
    routes = routes_of(sticky_sessions=True)

    assert b"Secure" not in (ask(routes).cookie or b"")
    assert (ask(routes, secure=True).cookie or b"").endswith(b"; Secure")


def test_users_by_header_and_by_network() -> None:
    ask = Asking()
    by_header = routes_of(sticky_sessions={"header": "X-User"}, ratio=0.5)
    by_network = routes_of(sticky_sessions={"address": {"v4": 24}}, ratio=0.5)
    salt = salt_of("web", 0)

    ann = ask(by_header, "x-user: ann")
    assert (ann.reason, ann.key, ann.cookie) == (Reason.STICKY, b"ann", None)
    assert ann.bucket == bucket(b"ann", salt)
    assert ask(by_header, "X-User: ann") == ann
    assert [ask(by_header).reason, ask(by_header, "X-User:").reason] == [
        Reason.RATIO
    ] * 2
    assert ask(by_header).cookie is None
    one, other = (ask(by_network, client=c) for c in ("10.0.0.1", "10.0.0.200"))
    assert one == other
    assert one.reason is Reason.STICKY
    assert ask(by_network, client="unix").reason is Reason.RATIO


def test_hash_is_by_the_key_and_without_one_by_the_sequence() -> None:
    ask = Asking()
    routes = routes_of(style="hash", hash_by={"query": "user"}, ratio=0.5)

    arms = {n: ask(routes, target=f"/?user={n}") for n in range(200)}
    assert {one.reason for one in arms.values()} == {Reason.HASH}
    assert 70 < sum(one.arm == "canary" for one in arms.values()) < 130
    assert all(ask(routes, target=f"/?user={n}") == one for n, one in arms.items())
    plain = [ask(routes) for _ in range(10)]
    assert Counter(one.arm for one in plain) == {"canary": 5, "stable": 5}
    assert {one.reason for one in plain} == {Reason.RATIO}


def test_the_key_for_the_server_is_the_arms_unless_users_keep_servers() -> None:
    ask = Asking()
    arms = {
        **ARMS,
        "stable": {**ARMS["stable"], "balance": "hash", "hash_by": {"header": "K"}},
    }
    own = routes_of(arms=arms, sticky_sessions={"header": "X-User"})
    kept = routes_of(arms=arms, sticky_sessions={"header": "X-User", "server": True})
    rule = routes_of(
        sticky_sessions={"header": "X-User", "server": True},
        rules=[{"path_prefix": "/x", "arm": "canary"}],
    )

    assert ask(own, "K: k", "X-User: u").key == b"k"
    assert ask(own, "X-User: u").key is None
    assert ask(own, "X-User: u").bucket is not None
    assert ask(kept, "K: k", "X-User: u").key == b"u"
    by_rule = ask(rule, "X-User: u", target="/x")
    assert (by_rule.arm, by_rule.reason, by_rule.key) == ("canary", Reason.RULE, b"u")


def test_server_stickiness_leaves_the_arms_share_untouched() -> None:
    ask, again = Asking(), Asking()
    one = routes_of(sticky_sessions={"server": True}, ratio=0.3)
    other = routes_of(sticky_sessions=True, ratio=0.3)

    assert [ask(one) for _ in range(300)] == [again(other) for _ in range(300)]


def test_our_cookie_is_hidden_unless_it_is_asked_for() -> None:
    assert routes_of(sticky_sessions=True).hidden_cookie == "canary-web"
    assert routes_of(sticky_sessions={"forward": True}).hidden_cookie is None
    assert routes_of(sticky_sessions={"header": "X"}).hidden_cookie is None
    assert routes_of().hidden_cookie is None


def test_random_is_a_fair_coin() -> None:
    ask = Asking()
    routes = routes_of(style="random", ratio={"canary": 0.1, "baseline": 0.2})
    got = Counter(ask(routes).arm for _ in range(5000))

    assert 400 < got["canary"] < 600
    assert 880 < got["baseline"] < 1120


def test_more_users_than_are_kept_are_decided_alike() -> None:
    ask = Asking()
    routes = routes_of(sticky_sessions={"header": "X-User"}, ratio=0.4)
    before = [ask(routes, f"X-User: {n}") for n in range(6000)]
    long = "u" * 1000

    assert [ask(routes, f"X-User: {n}") for n in range(6000)] == before
    assert ask(routes, f"X-User: {long}") == ask(routes, f"X-User: {long}")


@pytest.mark.parametrize(
    "sticky", [True, {"header": "X-User"}], ids=["cookie", "header"]
)
def test_a_whole_rollout_through_several_proxies(sticky: Any) -> None:
    """Each step is met by another proxy; nobody ever goes back, until it is lowered."""
    ask = Asking()
    share = 0.0
    start = routes_of(sticky_sessions=sticky, ratio=0)
    if sticky is True:
        users = [cookie_of(ask(start)) for _ in range(1500)]
    else:
        users = [f"X-User: {n}" for n in range(1500)]
    last = [False] * len(users)
    for ratio in (0.01, 0.05, 0.25, 0.5, 1, 0.3, 0):
        proxies = [routes_of(sticky_sessions=sticky, ratio=ratio) for _ in range(3)]
        turn = itertools.cycle(proxies)
        now = [ask(next(turn), user).arm == "canary" for user in users]
        if ratio >= share:
            assert all(after for before, after in zip(last, now, strict=True) if before)
        else:
            assert not any(
                after for before, after in zip(last, now, strict=True) if not before
            )
        assert abs(sum(now) / len(users) - ratio) <= 4 * (0.25 / len(users)) ** 0.5
        last, share = now, ratio


def rotated_routes(*secrets: bytes, **fields: Any) -> Router:
    routes = routes_of(secrets[-1], sticky_sessions=True, ratio=0.5, **fields)
    routes.use_secrets(secrets)
    return routes


@pytest.mark.parametrize("secure", [False, True])
def test_an_older_secret_verifies_and_its_users_keep_their_keys(secure: bool) -> None:
    ask = Asking()
    old = ask(routes_of(b"old", sticky_sessions=True, ratio=0.5))
    routes = rotated_routes(b"new", b"other", b"old")
    decision = ask(routes, cookie_of(old), secure=secure)
    for _ in range(2):  # the second time, nothing is kept
        decision = ask(routes, cookie_of(old), secure=secure)
        assert (decision.reason, decision.key) == (Reason.STICKY, old.key)
        assert (decision.arm, decision.bucket) == (old.arm, old.bucket)
        assert decision.cookie is not None
        assert (b"Secure" in decision.cookie) is secure
    again = ask(routes_of(b"new", sticky_sessions=True, ratio=0.5), cookie_of(decision))
    assert (again.key, again.cookie) == (old.key, None)


def test_a_secret_that_is_over_verifies_nothing_that_was_kept() -> None:
    ask = Asking()
    routes = rotated_routes(b"new", b"old")
    old = ask(routes_of(b"old", sticky_sessions=True, ratio=0.5))
    new = ask(routes)
    assert ask(routes, cookie_of(new)).cookie is None
    assert ask(routes, cookie_of(old)).key == old.key
    routes.use_secrets([b"new"])
    assert ask(routes, cookie_of(new)).key == new.key
    assert ask(routes, cookie_of(old)).key != old.key
    routes.use_secrets([b"newest"])
    assert ask(routes, cookie_of(new)).key != new.key


def test_a_good_cookie_behind_an_older_one_is_taken_as_it_is() -> None:
    ask = Asking()
    routes = rotated_routes(b"new", b"old")
    old = ask(routes_of(b"old", sticky_sessions=True, ratio=0.5))
    new = ask(routes)
    both = cookie_of(old) + "; " + cookie_of(new).removeprefix("Cookie: ")
    decision = ask(routes, both)
    assert (decision.key, decision.cookie) == (new.key, None)


# === at once, where a look is enough ===

_SIGNED = Asking(7)(routes_of(sticky_sessions=True)).cookie or b""
_OURS, _NAME = _SIGNED.split(b";")[0], _SIGNED.split(b"=")[0]
_PIECES = st.sampled_from(
    [
        *(_OURS, b"x" + _OURS, b"a=" + _OURS, _OURS + b"x", _NAME + b"=", _NAME),
        *(_OURS.replace(b"=", b'="', 1) + b'"', b"a=1", b"beta=1", b"; ", b";", b" "),
    ]
)


@given(
    st.lists(_PIECES, max_size=6).map(b"".join)
    | st.lists(_PIECES, max_size=4).map(b"; ".join),
    st.sampled_from(["/", "/beta/x", "/?preview=1"]),
    st.lists(
        st.sampled_from(
            [
                {"cookie": "beta", "present": True, "arm": "canary"},
                {"path_prefix": "/beta", "arm": "canary"},
                {"query": "preview", "equals": "1", "arm": "canary"},
                {"cookie": _NAME.decode(), "percent": 50, "arm": "canary"},
                {"network": "192.0.2.1", "arm": "canary"},
            ]
        ),
        max_size=2,
    ),
    st.sampled_from([True, {"server": True}, {"header": "X-User"}, False]),
    st.sampled_from(
        [
            {},
            {"style": "hash", "hash_by": {"header": "X-User"}},
            {"arms": {**ARMS, "stable": {**ARMS["stable"], "balance": "hash"}}},
        ]
    ),
)
def test_what_is_chosen_at_once_is_what_would_be_chosen(
    cookies: bytes,
    target: str,
    rules: list[dict[str, Any]],
    sticky: Any,
    more: dict[str, Any],
) -> None:
    routes = routes_of(rules=rules, sticky_sessions=sticky, ratio=0.5, **more)
    Asking()(routes, "Cookie: " + _OURS.decode())  # its user is known
    fields = b"Host: a\r\nX-User: u\r\nCookie: " + cookies
    raw = b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (target.encode(), fields)
    parsed = parse_request_head(raw, Limits())
    known = FieldCache(Limits(), shared_head)
    known.offer(raw, parsed)
    shared = known.offer(raw, parsed)
    assert shared is not None
    found = []
    user = routes.mint_key(Asking(3).chance) if routes.mints else None
    for head in (parsed, shared, shared):
        asking = Asking(3)
        found.append(
            routes.choose(
                *(head, "192.0.2.1", asking.sequence, asking.chance),
                secure=False,
                new_key=user,
            )
        )
    assert found == [found[0]] * 3
