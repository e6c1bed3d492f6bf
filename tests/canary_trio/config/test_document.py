from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary_trio.config import rules as r
from canary_trio.config.document import dump, load
from canary_trio.config.model import Balance, Config, Server, Sticky, Style
from canary_trio.config.rules import HostIs, Key, Source, ValueIs
from canary_trio.errors import InvalidConfig
from tests.canary_trio.support.document_strategies import DOCUMENTS

ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b:81/"]}}


def problems(document: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(InvalidConfig) as caught:
        load(document if isinstance(document, str | bytes) else json.dumps(document))
    return {one.path: (one.found, one.expected) for one in caught.value.problems}


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
        ({"rules": {}}, "$.rules"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    assert list(problems({"arms": ARMS, **change})) == [path]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("balance", "robin", ""),
        ("hash_by", 5, ""),
        ("health", {"pth": "/"}, ".pth"),
        ("health", {"path": "x"}, ".path"),
        ("health", {"interval": 0}, ".interval"),
        ("health", {"status": []}, ".status"),
        ("health", {"status": ["200-99"]}, ".status[0]"),
        ("health", {"status": [200, 600]}, ".status[1]"),
        ("health", {"status": ["504-502"]}, ".status[0]"),
        ("health", 1, ""),
        ("ejection", True, ""),
        ("ejection", {"failures": 1.5}, ".failures"),
        ("ejection", {"time": 400}, ".longest"),
        ("panic_threshold", 2, ""),
        ("slow_start", -1, ""),
        ("fallback", "nobody", ""),
        ("fallback", "canary", ""),
        ("timeouts", {"connect": 0}, ".connect"),
        ("timeouts", {"connect": None}, ".connect"),
        ("timeouts", {"conect": 1}, ".conect"),
        ("retries", {"tries": 6}, ".tries"),
        ("retries", {"longest_backoff": 0.001}, ".longest_backoff"),
        ("limits", {"in_flight": 0}, ".in_flight"),
        ("limits", {"pending": True}, ".pending"),
        ("request_headers", {"set": {"Host": "a"}}, ".set.Host"),
        ("request_headers", {"add": {"Connection": "close"}}, ".add.Connection"),
        ("request_headers", {"remove": ["content-length"]}, ".remove[0]"),
        ("request_headers", {"add": {"a b": "c"}}, ".add.a b"),
        ("request_headers", {"add": {"X-A": "b", "x-a": "c"}}, ".add.x-a"),
        ("answer_headers", {"set": {"X": "a\r\nY: b"}}, ".set.X"),
        ("answer_headers", {"set": {"X": "a\0"}}, ".set.X"),
        ("answer_headers", {"set": {"X": 5}}, ".set.X"),
        ("tls", {"verify": "no"}, ".verify"),
        ("tls", {"ca": ""}, ".ca"),
    ],
    ids=str,
)
def test_a_bad_field_of_an_arm_is_named_by_its_path(
    field: str, value: object, path: str
) -> None:
    canary = {"servers": ["http://b"], field: value}
    found = problems({"arms": {**ARMS, "canary": canary}})

    assert list(found) == [f"$.arms.canary.{field}{path}"]


HEADER = {"header": "X-A", "equals": "b"}


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (5, ""),
        ({"arm": "canary"}, ""),
        (HEADER, ".arm"),
        ({**HEADER, "arm": "nobody"}, ".arm"),
        ({**HEADER, "arm": "canary", "prefix": "b"}, ""),
        ({**HEADER, "arm": "canary", "cookie": "b"}, ""),
        ({"header": "X-A", "arm": "canary"}, ""),
        ({"equals": "b", "arm": "canary"}, ""),
        ({"address": True, "equals": "b", "arm": "canary"}, ""),
        ({"header": "X-A", "percent": 0.001, "arm": "canary"}, ".percent"),
        ({"header": "X-A", "percent": 101, "arm": "canary"}, ".percent"),
        ({"header": "X-A", "regex": "(", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "(?=a)", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "a" * 1001, "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "((a{100}){100}){10}", "arm": "canary"}, ".regex"),
        ({"header": "X-A", "regex": "(ab|cd){100}", "arm": "canary"}, ".regex"),
        ({"path_prefix": "api", "arm": "canary"}, ".path_prefix"),
        ({"host": "a:80", "arm": "canary"}, ".host"),
        ({"host": ["a", "*b"], "arm": "canary"}, ".host[1]"),
        ({"method": "get", "arm": "canary"}, ".method"),
        ({"network": "10.0.0.1/8", "arm": "canary"}, ".network"),
        ({"network": ["10.0.0.0/8", "x"], "arm": "canary"}, ".network[1]"),
        ({"all": [{}], "arm": "canary"}, ".all[0]"),
        ({"all": [{"header": "a"}], "arm": "canary"}, ".all[0]"),
        ({"all": [{**HEADER, "arm": "canary"}], "arm": "canary"}, ".all[0].arm"),
        ({"canary-by-heder": "X-A"}, ".canary-by-heder"),
        ({"canary-by-header-value": "x"}, ""),
        (
            {
                "canary-by-header": "A",
                "canary-by-header-value": "x",
                "canary-by-header-pattern": "y",
            },
            "",
        ),
        ({**HEADER, "arm": "canary", "name": " x"}, ".name"),
        ({"canary-by-cookie": "a", "name": "x" * 90}, ".name"),
    ],
    ids=str,
)
def test_a_bad_rule_is_named_by_its_path(rule: object, path: str) -> None:
    good = {**HEADER, "arm": "canary"}

    assert list(problems({"arms": ARMS, "rules": [good, rule]})) == [
        f"$.rules[1]{path}"
    ]


def test_two_rules_may_not_have_one_name() -> None:
    rule = {**HEADER, "arm": "canary", "name": "beta"}

    assert list(problems({"arms": ARMS, "rules": [rule, rule]})) == ["$.rules[1].name"]
    clash = [{**rule, "name": "rule 2"}, {**HEADER, "arm": "canary"}]
    assert list(problems({"arms": ARMS, "rules": clash})) == ["$.rules[1].name"]


def test_all_faults_of_rules_are_told_at_once() -> None:
    rules = [{"arm": "x", **HEADER}, {"header": 5, "equals": 6}, {"regexp": "x"}]

    assert set(problems({"arms": ARMS, "rules": rules})) == {
        "$.rules[0].arm",
        "$.rules[1].header",
        "$.rules[1].equals",
        "$.rules[2].regexp",
    }


def test_the_words_of_ingress_nginx_are_ordinary_rules() -> None:
    rules = [
        {"canary-by-header": "X-Canary", "canary-by-cookie": "canary"},
        {"canary-by-header": "Y", "canary-by-header-value": "on", "name": "y"},
        {"canary-by-header": "Z", "canary-by-header-pattern": "^o", "host": "a"},
    ]
    config = load(json.dumps({"arms": ARMS, "rules": rules}))

    header, cookie = Key(Source.HEADER, "X-Canary"), Key(Source.COOKIE, "canary")
    y, z = Key(Source.HEADER, "Y"), Key(Source.HEADER, "Z")
    assert [(rule.name, rule.arm, rule.conditions) for rule in config.rules] == [
        ("rule 1", "canary", (ValueIs(header, r.Test.EQUALS, "always"),)),
        ("rule 2", "stable", (ValueIs(header, r.Test.EQUALS, "never"),)),
        ("rule 3", "canary", (ValueIs(cookie, r.Test.EQUALS, "always"),)),
        ("rule 4", "stable", (ValueIs(cookie, r.Test.EQUALS, "never"),)),
        ("y", "canary", (ValueIs(y, r.Test.EQUALS, "on"),)),
        ("rule 6", "canary", (ValueIs(z, r.Test.REGEX, "^o"), HostIs(("a",)))),
    ]


def test_stable_falls_back_only_where_it_is_told() -> None:
    told = {"stable": {"servers": ["http://a"], "fallback": "canary"}, **ARMS}
    told["stable"] = {"servers": ["http://a"], "fallback": "canary"}

    assert load(json.dumps({"arms": ARMS})).arms["stable"].fallback is None
    assert load(json.dumps({"arms": ARMS})).arms["canary"].fallback == "stable"
    config = load(json.dumps({"arms": told}))
    assert config.arms["stable"].fallback == "canary"
    assert load(dump(config)) == config


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_is_loaded_is_dumped_and_loaded_again(document: dict[str, Any]) -> None:
    config = load(json.dumps(document))

    assert load(dump(config)) == config
    written = json.loads(dump(config))
    assert [name for name, value in written.items() if value is None] == (
        ["request_id"] if config.request_id is None else []
    )


def test_defaults_are_left_out() -> None:
    assert json.loads(dump(load(json.dumps({"arms": ARMS})))) == {
        "arms": {
            "stable": {"servers": ["http://a"]},
            "canary": {"servers": ["http://b:81"]},
        }
    }


@pytest.mark.parametrize(
    "server",
    [
        "https://",
        "unix:a",
        "unix:/" + "a" * 200,
        "http://[::g]",
        "http://a/../b",
        "http://a/b?c",
        "a:80",
        "http://",
        "http://a:0",
        "http://a:99999",
        "http://a?q",
        "http://u:p@a",
        "http://u@a:80",
        "http://a:",
        "http://a b",
        "http://[::1",
        "ftp://a",
        5,
        None,
    ],
)
def test_a_bad_server_is_refused(server: object) -> None:
    found = problems({"arms": {"stable": {"servers": ["http://ok", server]}}})

    assert list(found) == ["$.arms.stable.servers[1]"]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a", ("a", 80, "", "", False)),
        ("https://a", ("a", 443, "", "", True)),
        ("https://[::1]:8443/base/", ("::1", 8443, "/base", "", True)),
        ("http://a:81/b/c", ("a", 81, "/b/c", "", False)),
        ("unix:/run/app.sock", ("", 0, "", "/run/app.sock", False)),
    ],
)
def test_a_server_is_taken_apart(url: str, parts: tuple[Any, ...]) -> None:
    config = load(json.dumps({"arms": {"stable": {"servers": [url]}}}))
    (server,) = config.arms["stable"].servers

    assert (
        server.host,
        server.port,
        server.prefix,
        server.path,
        server.is_tls,
    ) == parts
    assert load(dump(config)) == config


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
        told = exc.problems
    else:
        assert load(dump(config)) == config
        return
    assert told
    assert all(one.path.startswith("$") for one in told)
