"""The document of a gateway: what may stand in it, and how its faults are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.command.cli.main import main
from canary_trio.errors import InvalidConfig
from canary_trio.routing.edge.model import FixedResponse, Redirect
from canary_trio.routing.edge.table_codec import (
    ROUTES,
    SERVICES,
    TABLE_SCHEMA,
    build_table,
    dump_table,
    load_table,
)
from tests.canary_trio.support.routes import route_tables

EXAMPLE = Path(__file__).parents[4] / "examples" / "edge.json"


def faults(*routes: Any, **more: Any) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        build_table({"routes": list(routes), **more})
    return [str(problem) for problem in caught.value.problems]


def test_the_example_is_a_table() -> None:
    config = load_table(EXAMPLE.read_bytes())

    assert config.services == ("shop", "api", "api-beta", "blog")
    assert [route.name for route in config.routes[:2]] == [
        "shop.example.org/",
        "shop.example.org/api",
    ]
    jsonschema.validate(json.loads(EXAMPLE.read_bytes()), dict(TABLE_SCHEMA))


def test_a_route_without_a_service() -> None:
    to, fixed = build_table(
        {
            "routes": [
                {"host": "Old.Example.org.", "to": "/new", "status": 301},
                {"path_prefix": "/robots.txt", "respond": {"body": "x", "status": 410}},
            ]
        }
    ).routes

    assert to.hosts == ("old.example.org",)
    assert to.redirect == Redirect("/new", 301)
    assert fixed.response == FixedResponse(410, "x")


BAD = [
    ({}, "$.routes[0]: found none of them, expected one of service, to"),
    ({"service": "a", "to": "/"}, "$.routes[0]: found service and to, expected one of"),
    ({"service": "@a"}, '$.routes[0].service: found "@a", expected the name of a serv'),
    (
        {"service": "a", "status": 301},
        "$.routes[0].status: found 301, expected no such",
    ),
    ({"to": "/", "strip_prefix": True}, "$.routes[0].strip_prefix: found true, expec"),
    ({"to": "//evil.org"}, '$.routes[0].to: found "//evil.org", expected http://'),
    ({"to": "/\\evil.org"}, "$.routes[0].to: found"),
    ({"to": "ftp://x"}, "$.routes[0].to: found"),
    ({"to": "/a\r\nX: y"}, "$.routes[0].to: found"),
    ({"to": "/", "status": 200}, "$.routes[0].status: found 200, expected one of 301"),
    ({"service": "a", "host": "a b"}, "$.routes[0].host: found"),
    ({"service": "a", "host": "a.org:80"}, "$.routes[0].host: found"),
    ({"service": "a", "path_prefix": "api"}, "$.routes[0].path_prefix: found"),
    ({"service": "a", "path_prefix": "/a?b"}, "$.routes[0].path_prefix: found"),
    ({"service": "a", "method": "get"}, "$.routes[0].method: found"),
    ({"service": "a", "header": "X"}, "$.routes[0]: found header alone"),
    ({"service": "a", "percent": 5}, "$.routes[0].percent: found an unknown field"),
    ({"service": "a", "all": [{}]}, "$.routes[0].all[0]: found no condition"),
    ({"service": "a", "hots": "x"}, "(did you mean host?)"),
    ({"respond": {"status": 99}}, "$.routes[0].respond.status: found 99"),
    ({"respond": {"body": "x" * 20_000}}, "$.routes[0].respond.body: found"),
    (
        {"respond": {"content_type": "a\r\nb"}},
        "$.routes[0].respond.content_type: found",
    ),
    (
        {"service": "a", "strip_prefix": True, "rewrite_prefix": "/b"},
        "$.routes[0]: found strip_prefix and rewrite_prefix, expected one of the two",
    ),
    ("x", '$.routes[0]: found "x", expected a table'),
]


@pytest.mark.parametrize(("route", "told"), BAD, ids=[told[:40] for _, told in BAD])
def test_what_may_not_stand_there(route: Any, told: str) -> None:
    (fault,) = faults(route)

    assert told in fault


def test_all_faults_are_told_at_once_each_with_its_path() -> None:
    told = faults({"service": 1}, {"service": "a"}, {"host": 2, "to": 3}, update_rate=0)

    assert [fault.partition(":")[0] for fault in told] == [
        "$.routes[0].service",
        "$.routes[2].host",
        "$.routes[2].to",
        "$.update_rate",
    ]


def test_routes_that_match_the_same_are_told_beside_other_faults() -> None:
    told = faults({"service": "a"}, {"service": 1}, {"service": "b"})

    assert [fault.partition(":")[0] for fault in told] == [
        "$.routes[1].service",
        "$.routes[2]",
    ]
    assert "as $.routes[0]" in told[1]


def test_two_routes_that_match_the_same_are_told_with_both_paths() -> None:
    (told,) = faults(
        {"host": ["a.org", "b.org"], "path_prefix": "/x", "service": "one"},
        {"host": "b.org", "path_prefix": "/y", "service": "two"},
        {"host": "B.org", "path_prefix": "/x/", "service": "three"},
    )

    assert told.startswith("$.routes[2]: found the same host, path and conditions as")
    assert "$.routes[0]" in told


@pytest.mark.parametrize("target", [{"to": "/x"}, {"respond": {}}])
@pytest.mark.parametrize(
    ("name", "rules"),
    [("basic_auth", {"file": "staff"}), ("forward_auth", {"url": "http://auth"})],
)
def test_who_asks_is_asked_before_a_service_only(
    target: dict[str, Any], name: str, rules: dict[str, Any]
) -> None:
    assert faults({**target, name: rules}) == [
        f"$.routes[0].{name}: found a table, expected no such field: it is beside `service`"
    ]
    (route,) = build_table({"routes": [{"service": "a", name: rules}]}).routes
    assert getattr(route, name) is not None


def test_limits_of_one_name_are_one_limit() -> None:
    limit = {"name": "a", "requests": 5}
    (told,) = faults(
        {"path_prefix": "/x", "service": "a", "rate_limits": [limit]},
        {"path_prefix": "/y", "service": "b", "rate_limits": [limit]},
        {"path_prefix": "/z", "respond": {}, "rate_limits": [{**limit, "per": 2}]},
    )

    assert told.startswith("$.routes[2].rate_limits[0].name: found the name of")
    assert "$.routes[0].rate_limits[0], which says something else" in told


def test_the_order_of_methods_and_conditions_makes_no_other_route() -> None:
    tests = [{"header": "A", "equals": "1"}, {"header": "B", "equals": "2"}]
    told = faults(
        {"method": ["GET", "POST"], "all": tests, "service": "a"},
        {"method": ["POST", "GET"], "all": tests[::-1], "service": "b"},
    )

    assert len(told) == 1


def test_a_document_of_a_service_is_told_what_it_is() -> None:
    with pytest.raises(InvalidConfig) as caught:
        build_table({"arms": {}})

    assert "a gateway's" in str(caught.value)


def test_too_much() -> None:
    many = [{"path_prefix": f"/{n}", "service": f"s{n}"} for n in range(SERVICES + 1)]

    assert faults(*many) == [
        f"$.routes: found {SERVICES + 1} services, expected at most {SERVICES}"
    ]
    assert "a list of at most" in faults(*[{}] * (ROUTES + 1))[0]


@given(st.lists(route_tables(), max_size=6))
def test_what_is_written_is_read_as_the_same(tables: list[dict[str, Any]]) -> None:
    try:
        config = build_table({"routes": tables})
    except InvalidConfig:
        return

    assert load_table(dump_table(config)) == config
    jsonschema.validate(json.loads(dump_table(config)), dict(TABLE_SCHEMA))


def test_validate_tells_a_table_by_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "edge.json"
    file.write_text('{"routes": [{"service": "a"}, {"service": "b"}]}')
    run = CliRunner().invoke

    told = run(main, ["validate", str(file)])
    as_service = run(main, ["validate", "web", str(file)])
    misnamed = run(main, ["validate", "web@edge", str(file)])
    good = run(main, ["validate", "@edge", str(EXAMPLE)])

    assert (told.exit_code, as_service.exit_code) == (1, 1)
    assert "$.routes[1]: found the same host" in told.output
    assert "$.arms: found nothing" in as_service.output
    assert "expected @ at its beginning" in misnamed.output
    assert (good.exit_code, good.output) == (0, f"{EXAMPLE} is valid\n")


def test_the_schema_is_printed() -> None:
    ran = CliRunner().invoke(main, ["schema", "--gateway"])
    tables = CliRunner().invoke(main, ["schema", "--gateway", "--markdown"])

    fields = {"$schema", "routes", "update_rate", "history"}
    assert json.loads(ran.output)["properties"].keys() == fields
    assert "| `path_prefix` |" in tables.output
