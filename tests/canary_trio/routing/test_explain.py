"""What is said of a request is what the routing of the traffic decides."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_trio.config.document import build
from canary_trio.routing.decision import Chance
from canary_trio.routing.explain import Explanation, explain
from canary_trio.routing.request.request_spec import (
    BadRequestSpec,
    CertificateSpec,
    RequestSpec,
    read_description,
)
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.hosts.addresses import parse_address

_CHANCE = Chance(random.random, random.randbytes)


def _routes(**changes: Any) -> Router:
    arms = {
        name: {"servers": [f"http://{name}:1", f"http://{name}:2"]}
        for name in ("stable", "canary")
    }
    config = build({"ratio": 0.25, "arms": arms, **changes})
    return Router(config, service="web", secrets=[b"secret"])


def _explain(described: RequestSpec, **changes: Any) -> Explanation:
    return explain(described, _routes(**changes), 57, _CHANCE)[0]


_RULES = [
    {"name": "beta", "header": "X-Beta", "equals": "yes", "arm": "canary"},
    {"path_prefix": "/admin", "arm": "stable"},
]


def test_a_rule_is_named() -> None:
    found = _explain(RequestSpec(headers=(("x-beta", "yes"),)), rules=_RULES)

    assert found == Explanation(
        *(57, "canary", "rule", "beta"),
        servers=("http://canary:1", "http://canary:2"),
        fallback="stable",
    )


@pytest.mark.parametrize(
    "target", ["/admin/x?y", "http://example.org/admin", "example.org/admin#top"]
)
def test_a_target_may_be_a_path_or_a_url(target: str) -> None:
    found = _explain(RequestSpec(target=target), rules=_RULES)

    assert (found.arm, found.rule) == ("stable", "rule 2")


def test_the_host_is_that_of_the_url_unless_a_field_says_other() -> None:
    rules = [{"host": "beta.example.org", "arm": "canary"}]
    url = "http://beta.example.org:8080/"
    other = RequestSpec(target=url, headers=(("Host", "other"),))

    assert _explain(RequestSpec(target=url), rules=rules).arm == "canary"
    assert _explain(other, rules=rules).reason == "ratio"


def test_what_chance_decides_is_not_called_certain() -> None:
    found = _explain(RequestSpec())

    assert (found.arm, found.certain) == (None, False)
    assert found.shares == {"stable": 0.75, "canary": 0.25}
    assert _explain(RequestSpec(), ratio=0).arm == "stable"
    assert _explain(RequestSpec(), ratio=1).arm == "canary"


def test_a_new_user_is_told_and_a_known_one_has_a_bucket() -> None:
    routes = _routes(sticky_sessions=True)
    decision = routes.choose(
        *(RequestSpec().head(), "", WeightedSequence(), _CHANCE), secure=False
    )
    assert decision.cookie is not None
    cookie = decision.cookie.decode().partition(";")[0]
    new = explain(RequestSpec(), routes, 57, _CHANCE)[0]
    described = RequestSpec(headers=(("Cookie", f"a=b; {cookie}"),))
    known, key = explain(described, routes, 57, _CHANCE)

    assert (new.new_user, new.bucket, new.certain) == (True, None, False)
    assert (known.reason, known.arm) == ("sticky", decision.arm)
    assert (known.bucket, key) == (decision.bucket, decision.key)


def test_a_hash_of_the_address_is_certain() -> None:
    routes = _routes(style="hash")
    for number in range(50):
        described = RequestSpec(client=f"192.0.2.{number}")
        found = explain(described, routes, 57, _CHANCE)[0]
        real = routes.choose(
            *(described.head(), described.client, WeightedSequence(), _CHANCE),
            secure=False,
        )
        assert (found.arm, found.reason) == (real.arm, "hash")


def test_an_arm_that_no_one_may_use_has_no_server() -> None:
    servers = [{"url": "http://canary:1", "mode": "maintenance"}]
    arms = {"stable": {"servers": ["http://s:1"]}, "canary": {"servers": servers}}
    found = _explain(RequestSpec(), ratio=1, arms=arms)

    assert (found.servers, found.fallback) == ((), "stable")


def test_a_question_takes_no_turn() -> None:
    routes, sequence = _routes(), WeightedSequence()
    before = repr(sequence)
    for _ in range(5):
        explain(RequestSpec(), routes, 57, _CHANCE)

    assert repr(sequence) == before


_TEXT = st.text(st.characters(codec=None), max_size=30)


@example("GET", "http://[", [], "")
@example("GET", "/\ud800", [("A", "\udcff")], "\ud800")
@given(_TEXT, _TEXT, st.lists(st.tuples(_TEXT, _TEXT), max_size=3), _TEXT)
def test_whatever_is_described_is_explained_or_refused(
    method: str, target: str, headers: list[tuple[str, str]], client: str
) -> None:
    described = RequestSpec(method, target, tuple(headers), client)
    try:
        head = described.head()
    except BadRequestSpec as exc:
        assert exc.problems
    else:
        assert head.raw.count(b"\r\n\r\n") == 1
        assert head.raw.count(b"\r\n") <= len(headers) + 3
        _explain(described, rules=_RULES)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (b"x", ["$: found no JSON"]),
        (b"[]", ["$: found []"]),
        (b'{"method": 1, "path": "/"}', ["$.method: found 1", "$.path: found an unk"]),
        (b'{"headers": {"a": 1}}', ["$.headers: found"]),
        (b'{"headers": [["a"]]}', ["$.headers: found"]),
        (b'{"secure": "yes"}', ["$.secure: found"]),
        (b'{"certificate": "CN=a"}', ["$.certificate: found"]),
        (b'{"certificate": {"san": "a"}}', ["$.certificate: found"]),
        (b'{"certificate": {"san": [1]}}', ["$.certificate: found"]),
        (b'{"certificate": {"names": []}}', ["$.certificate: found"]),
    ],
)
def test_a_description_is_refused_with_all_of_its_faults(
    text: bytes, problems: list[str]
) -> None:
    with pytest.raises(BadRequestSpec) as caught:
        read_description(text)

    for problem, begin in zip(caught.value.problems, problems, strict=True):
        assert str(problem).startswith(begin)


@pytest.mark.parametrize("headers", [{"A": "b", "C": "d"}, [["A", "b"], ["C", "d"]]])
def test_a_description_is_read(headers: object) -> None:
    shown = {"method": "POST", "target": "/x", "headers": headers, "client": "::1"}

    assert read_description(json.dumps(shown).encode()) == RequestSpec(
        "POST", "/x", (("A", "b"), ("C", "d")), "::1"
    )


def test_a_certificate_is_described_and_decides() -> None:
    rules = [
        {"client_cert": "san", "equals": "spiffe://a/web", "arm": "canary"},
        {"client_cert": "common_name", "equals": "a, b", "arm": "stable"},
    ]
    shown = {
        "certificate": {"subject": "O=x,CN=a\\, b", "san": ["a", "spiffe://a/web"]}
    }
    spec = read_description(json.dumps(shown).encode())
    assert spec.certificate == CertificateSpec("O=x,CN=a\\, b", ("a", "spiffe://a/web"))
    assert _explain(spec, rules=rules).rule == "rule 1"
    assert _explain(spec, rules=rules[1:]).arm == "stable"
    assert _explain(RequestSpec(), rules=rules).reason == "ratio"


@given(st.text(max_size=20))
def test_a_client_is_an_address_or_of_a_socket(text: str) -> None:
    described = RequestSpec(client=text)
    if text == "unix" or parse_address(text) is not None:
        described.head()
    else:
        with pytest.raises(BadRequestSpec) as caught:
            described.head()
        assert [problem.path for problem in caught.value.problems] == ["$.client"]


@pytest.mark.parametrize("client", ["::1", "192.0.2.7", "unix"])
def test_what_is_one_is_taken(client: str) -> None:
    RequestSpec(client=client).head()
