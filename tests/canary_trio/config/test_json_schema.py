"""The schema and the docs say what the loader does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from canary_trio.command.cli.main import main
from canary_trio.config.document import dump, load
from canary_trio.config.json_schema import json_schema, reference, with_reference
from canary_trio.errors import InvalidConfig
from tests.canary_trio.support.document_strategies import DOCUMENTS

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PAGE = Path(__file__).parents[3] / "docs" / "document.md"
ARMS: dict[str, Any] = {"stable": {"servers": ["http://a"]}}


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_what_loads_validates(document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)
    VALIDATOR.validate(json.loads(dump(load(json.dumps(document)))))


@pytest.mark.parametrize(
    "change",
    [
        {"arms": {}},
        {"arms": {"canary": {"servers": ["http://a"]}}},
        {"arms": {"stable": {}}},
        {"arms": {"stable": {"servers": []}}},
        {"arms": {"stable": {"servers": ["ftp://a"]}}},
        {"arms": {"stable": {"servers": [{"weight": 1}]}}},
        {"arms": {"stable": {"servers": ["http://a"], "balance": "robin"}}},
        {"arms": {"stable": {"servers": ["http://a"], "timeouts": {"conect": 1}}}},
        {"arms": {"stable": {"servers": ["http://a"], "health": {"interval": 0}}}},
        {"arms": {"stable": {"servers": ["http://a"], "response_headers": {"ad": {}}}}},
        {"arms": {**ARMS, "a b": {"servers": ["http://a"]}}},
        {"ratoi": 0.5},
        {"ratio": 1.5},
        {"ratio": "0.5"},
        {"ratio": {"canary": -1}},
        {"style": "roundrobin"},
        {"hash_by": {"header": "a", "cookie": "b"}},
        {"sticky_sessions": 1},
        {"sticky_sessions": {"epoch": "x"}},
        {"connections": "cut"},
        {"mirror": {}},
        {"update_rate": 0},
        {"rules": {}},
        {"rules": [{}]},
        {"rules": [{"header": "a", "equals": "b"}]},
        {"rules": [{"header": "a", "equal": "b", "arm": "stable"}]},
        {"rules": [{"method": "get", "arm": "stable"}]},
    ],
    ids=str,
)
def test_a_typical_fault_is_refused_by_both(change: dict[str, Any]) -> None:
    document = {"arms": ARMS, **change}

    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InvalidConfig):
        load(json.dumps(document))


def test_every_field_is_described() -> None:
    def check(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            for name, field in schema.get("properties", {}).items():
                assert field["description"].endswith("."), f"{path}.{name}"
            for name, inner in schema.items():
                check(inner, f"{path}.{name}")
        elif isinstance(schema, list):
            for inner in schema:
                check(inner, path)

    check(SCHEMA, "$")


def test_the_page_in_the_docs_has_the_tables_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == with_reference(page), "run: make docs"
    with pytest.raises(ValueError, match="found no"):
        with_reference("")


def test_each_example_in_the_docs_loads() -> None:
    page = PAGE.read_text(encoding="utf-8")
    blocks = [part.partition("```")[0] for part in page.split("```json\n")[1:]]

    assert len(blocks) >= 4
    for block in blocks:
        given_fields = json.loads(block)
        arms = dict.fromkeys(("stable", "canary", "baseline"), ARMS["stable"])
        document = {"arms": arms, **given_fields}
        load(json.dumps(document))
        VALIDATOR.validate(document)


def test_the_command_prints_it() -> None:
    ran = CliRunner().invoke(main, ["schema"])
    tables = CliRunner().invoke(main, ["schema", "--markdown"])

    assert json.loads(ran.output) == SCHEMA
    assert tables.output == reference() + "\n"


def test_validate_tells_all_faults(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps({"arms": ARMS, "ratio": 5, "stlye": "x", "rules": 1}))
    ran = CliRunner().invoke(main, ["validate", str(file)])

    assert ran.exit_code == 1
    for path in ("$.ratio", "$.stlye", "$.rules"):
        assert f"{path}: found" in ran.stderr
