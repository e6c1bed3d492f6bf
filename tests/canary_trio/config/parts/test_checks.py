"""JSON that says more than a program can use is a fault with its path, wherever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import build, load
from canary_trio.errors import InvalidConfig
from canary_trio.routing.request.request_spec import BadRequestSpec, read_description
from tests.canary_trio.support.document_strategies import DOCUMENTS
from tests.canary_trio.support.documents import problems

ODD = st.sampled_from(
    ["\ud800", "a\udfffb", 10**400, -(10**400), 1e300, -(2**70), "deep"]
)


def _places(value: Any, path: str = "$") -> list[tuple[str, Any, Any]]:
    """All places of a document, as (path, container, key)."""
    found = []
    steps = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in steps:
        where = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}"
        found.append((where, value, key))
        if isinstance(inner, dict | list):
            found += _places(inner, where)
    return found


@given(DOCUMENTS, ODD, st.data())
def test_an_odd_value_anywhere_is_a_fault_with_its_path(
    document: Any, odd: Any, data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(document))
    path, container, key = data.draw(st.sampled_from(_places(changed)))
    if odd == "deep":
        odd = json.loads("[" * 200 + "]" * 200)
    container[key] = odd

    for parsed in (True, False):
        with pytest.raises(InvalidConfig) as raised:
            build(changed) if parsed else load(json.dumps(changed))
        assert any(one.path.startswith(path) for one in raised.value.problems)
        str(raised.value).encode()


@given(DOCUMENTS, st.data())
def test_an_odd_name_anywhere_is_a_fault_with_its_path(
    document: Any, data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(document))
    tables = [
        changed,
        *(c[k] for _, c, k in _places(changed) if isinstance(c[k], dict)),
    ]
    data.draw(st.sampled_from(tables))["\udc80"] = 1

    with pytest.raises(InvalidConfig) as raised:
        load(json.dumps(changed))

    assert any(one.path.endswith(".\\udc80") for one in raised.value.problems)


@pytest.mark.parametrize("levels", [100, 900, 100_000])
@pytest.mark.parametrize("kind", ["[]", "{}"])
def test_what_is_nested_too_deeply_is_a_fault(levels: int, kind: str) -> None:
    text = "[" * levels + "]" * levels
    if kind == "{}":
        text = '{"a":' * levels + "1" + "}" * levels

    with pytest.raises(InvalidConfig):
        load(text)
    with pytest.raises(BadRequestSpec):
        read_description(text.encode())


@given(st.text("0123456789-+.eE", min_size=1, max_size=400))
def test_any_number_is_taken_or_a_fault(text: str) -> None:
    try:
        load(f'{{"ratio": {text}, "arms": {{"stable": {{"servers": ["http://a"]}}}}}}')
    except InvalidConfig as exc:
        str(exc).encode()


@pytest.mark.parametrize(
    ("sticky", "refused"),
    [({"cookie": "canary"}, True), (True, False), ({"cookie": "other"}, False)],
)
def test_a_rule_cannot_ask_for_always_in_our_own_cookie(
    sticky: object, refused: bool
) -> None:
    rule = {"canary-by-cookie": "canary"}
    servers = {"servers": ["http://a"]}
    document = {
        "sticky_sessions": sticky,
        "rules": [rule],
        "arms": {"stable": servers, "canary": servers},
    }

    if refused:
        assert list(problems(document)) == ["$.rules[0].canary-by-cookie"]
    else:
        build(document)


@pytest.mark.parametrize(
    ("sticky", "name", "refused"),
    [
        (True, "canary-web", True),
        ({"epoch": 2}, "canary-web", True),
        (True, "canary-shop", False),
        ({"cookie": "mine"}, "canary-web", False),
        ({"header": "X-User"}, "canary-web", False),
        (False, "canary-web", False),
    ],
)
def test_nor_in_the_cookie_that_the_service_gives_its_name(
    sticky: object, name: str, refused: bool
) -> None:
    servers = {"servers": ["http://a"]}
    document = {
        "sticky_sessions": sticky,
        "rules": [{"canary-by-cookie": name}],
        "arms": {"stable": servers, "canary": servers},
    }
    build(document)  # whose document it is, is not known here
    if refused:
        with pytest.raises(InvalidConfig, match=r"\$\.rules\[0\]\.canary-by-cookie"):
            build(document, service="web")
    else:
        build(document, service="web")


def test_what_is_no_number_is_called_so() -> None:
    with pytest.raises(InvalidConfig, match="found NaN, which is no number"):
        build({"arms": {}, "ratio": float("nan")})
