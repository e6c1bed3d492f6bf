"""Documents as a whole: what is loaded, refused and where, and dumped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary_trio.config.document import dump, load
from canary_trio.config.model import Balance, Config, Server, Sticky, Style
from canary_trio.errors import InvalidConfig
from tests.canary_trio.support.document_strategies import DOCUMENTS
from tests.canary_trio.support.documents import ARMS, problems


def test_everything_has_a_default_but_the_servers() -> None:
    config = load(json.dumps({"arms": {"stable": {"servers": ["http://a"]}}}))

    assert config == Config(arms=config.arms)
    assert (config.style, config.update_rate, dict(config.ratio)) == (
        Style.ROUND_ROBIN,
        30,
        {},
    )
    assert config.arms["stable"].servers == (Server("http://a"),)


def test_a_full_document() -> None:
    servers = [{"url": "http://[::1]:8000", "weight": 3}, "http://b"]
    config = load(
        json.dumps(
            {
                "style": "random",
                "ratio": {"canary": 0.05, "baseline": 0.0001},
                "sticky_sessions": {"epoch": 2},
                "config_server": "http://127.0.0.1:8500/",
                "update_rate": 0.5,
                "arms": {
                    **ARMS,
                    "baseline": {"servers": servers, "balance": "least_requests"},
                },
            }
        )
    )

    assert config.style is Style.RANDOM
    assert config.ratio == {"canary": 500, "baseline": 1}
    assert config.sticky_sessions == Sticky(epoch=2)
    assert config.config_server == "http://127.0.0.1:8500"
    assert config.arms["baseline"].balance is Balance.LEAST_REQUESTS
    server = config.arms["baseline"].servers[0]
    assert (server.host, server.port, server.weight) == ("::1", 8000, 3)
    assert load(dump(config)) == config


@pytest.mark.parametrize(
    ("ratio", "share"),
    [(0, 0), (1, 10_000), (0.25, 2500), (0.0001, 1), (0.9999, 9999), (0.1 + 0.2, 3000)],
)
def test_a_ratio_in_steps(ratio: float, share: int) -> None:
    config = load(json.dumps({"arms": ARMS, "ratio": ratio}))

    assert config.ratio.get("canary", 0) == share
    assert load(dump(config)) == config


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"ratio": 0.00005}, "$.ratio"),
        ({"ratio": 1.0001}, "$.ratio"),
        ({"ratio": -0.1}, "$.ratio"),
        ({"ratio": True}, "$.ratio"),
        ({"ratio": "0.5"}, "$.ratio"),
        ({"ratio": {"canary": 2}}, "$.ratio.canary"),
        ({"ratio": {"nobody": 0.1}}, "$.ratio.nobody"),
        ({"ratio": {"stable": 0.1}}, "$.ratio.stable"),
        ({"style": "roundrobin"}, "$.style"),
        ({"style": 5}, "$.style"),
        ({"sticky_sessions": 1}, "$.sticky_sessions"),
        ({"sticky_sessions": {"epoch": -1}}, "$.sticky_sessions.epoch"),
        ({"sticky_sessions": {"cookie": "a b"}}, "$.sticky_sessions.cookie"),
        ({"config_server": "nonsense"}, "$.config_server"),
        ({"config_server": 5}, "$.config_server"),
        ({"update_rate": 0}, "$.update_rate"),
        ({"update_rate": 601}, "$.update_rate"),
        ({"update_rate": "5"}, "$.update_rate"),
        ({"ratoi": 1}, "$.ratoi"),
        ({"arms": {}}, "$.arms"),
        ({"arms": []}, "$.arms"),
        ({"arms": {**ARMS, "stable": {"servers": []}}}, "$.arms.stable.servers"),
        ({"arms": {**ARMS, "canary": {}}}, "$.arms.canary.servers"),
        ({"arms": {**ARMS, "canary": 5}}, "$.arms.canary"),
        ({"arms": {**ARMS, "a b": {"servers": ["http://a"]}}}, "$.arms.a b"),
        ({"hash_by": "header"}, "$.hash_by"),
        ({"hash_by": {"header": "a b"}}, "$.hash_by.header"),
        ({"hash_by": {"header": "a", "cookie": "b"}}, "$.hash_by"),
        ({"hash_by": {"address": {"v4": 33}}}, "$.hash_by.address.v4"),
        ({"sticky_sessions": {"key": 1}}, "$.sticky_sessions.key"),
        ({"sticky_sessions": {"header": "a", "cookie": "b"}}, "$.sticky_sessions"),
        (
            {"sticky_sessions": {"header": "a", "domain": "b"}},
            "$.sticky_sessions.domain",
        ),
        ({"sticky_sessions": {"max_age": 0}}, "$.sticky_sessions.max_age"),
        ({"sticky_sessions": {"same_site": "no"}}, "$.sticky_sessions.same_site"),
        ({"sticky_sessions": {"address": {"v5": 1}}}, "$.sticky_sessions.address.v5"),
        ({"mirror": {"arm": "nobody"}}, "$.mirror.arm"),
        ({"mirror": {}}, "$.mirror.arm"),
        ({"mirror": {"arm": "stable", "share": 0.00001}}, "$.mirror.share"),
        ({"connections": "cut"}, "$.connections"),
        ({"connections": {"change": "cut"}}, "$.connections.change"),
        ({"decision_header": "a b"}, "$.decision_header"),
        ({"decision_header": "Content-Length"}, "$.decision_header"),
        ({"strict_transport_security": True}, "$.strict_transport_security"),
        ({"strict_transport_security": "max-age"}, "$.strict_transport_security"),
        (
            {"strict_transport_security": "max-age=1\r\nSet-Cookie: a=b"},
            "$.strict_transport_security",
        ),
        (
            {"strict_transport_security": {"max_age": -1}},
            "$.strict_transport_security.max_age",
        ),
        ({"strict_transport_security": {}}, "$.strict_transport_security.max_age"),
        (
            {"strict_transport_security": "max-age=60; includeSubDomains; preload"},
            "$.strict_transport_security",
        ),
        (
            {
                "arms": {
                    "stable": {"servers": ["https://a"], "tls": {"client_key": "/k"}}
                }
            },
            "$.arms.stable.tls.client_key",
        ),
        ({"rules": {}}, "$.rules"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    assert list(problems({"arms": ARMS, **change})) == [path]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_is_loaded_is_dumped_and_loaded_again(document: dict[str, Any]) -> None:
    config = load(json.dumps(document))

    assert load(dump(config)) == config
    written = json.loads(dump(config))
    assert [name for name, value in written.items() if value is None] == (
        ["request_id"] if config.request_id is None else []
    )


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("max-age=0", "max-age=0"),
        ('MAX-AGE="60"; includesubdomains', "max-age=60; includeSubDomains"),
        (
            {"max_age": 31536000, "include_subdomains": True, "preload": True},
            "max-age=31536000; includeSubDomains; preload",
        ),
    ],
)
def test_strict_transport_security_is_a_value_or_a_table(
    given: Any, value: str
) -> None:
    config = load(json.dumps({"arms": ARMS, "strict_transport_security": given}))
    assert config.strict_transport_security is not None
    assert config.strict_transport_security.value == value


def test_defaults_are_left_out() -> None:
    assert json.loads(dump(load(json.dumps({"arms": ARMS})))) == {
        "arms": {
            "stable": {"servers": ["http://a"]},
            "canary": {"servers": ["http://b:81"]},
        }
    }


def test_all_faults_are_told_at_once() -> None:
    found = problems(
        {
            "ratio": 5,
            "stlye": "random",
            "update_rate": 0,
            "arms": {"stable": {"servers": ["x", {"url": "http://a", "weigth": 2}]}},
        }
    )

    assert set(found) == {
        "$.ratio",
        "$.stlye",
        "$.update_rate",
        "$.arms.stable.servers[0]",
        "$.arms.stable.servers[1].weigth",
    }
    assert found["$.stlye"][1].endswith("(did you mean style?)")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"nonsense",
        b'{"ratio": 1, "ratio": 2}',
        b'{"ratio": NaN}',
        b"\xff",
        b'{"a":' * 100_000,
        b" " * 600_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_document_at_all(text: bytes) -> None:
    assert list(problems(text)) == ["$"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["stable", "servers", "url", "canary", "x"]), inner
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of the machine, not of ours
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "arms",
                "style",
                "ratio",
                "sticky_sessions",
                "config_server",
                "update_rate",
                "x",
            ]
        ),
        JSON,
    )
)
def test_anything_is_either_valid_or_refused_with_paths(
    document: dict[str, Any],
) -> None:
    try:
        config = load(json.dumps(document))
    except InvalidConfig as exc:
        problems = exc.problems
    else:
        assert load(dump(config)) == config
        return
    assert problems
    assert all(one.path.startswith("$") for one in problems)
