"""Arms of a document: what is refused, and whom they fall back to."""

from __future__ import annotations

import json

import pytest

from canary_trio.config.document import dump, load
from tests.canary_trio.support.documents import ARMS, problems


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
        ("response_headers", {"set": {"X": "a\r\nY: b"}}, ".set.X"),
        ("response_headers", {"set": {"X": "a\0"}}, ".set.X"),
        ("response_headers", {"set": {"X": 5}}, ".set.X"),
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


def test_stable_falls_back_only_where_it_is_told() -> None:
    arms = {"stable": {"servers": ["http://a"], "fallback": "canary"}, **ARMS}
    arms["stable"] = {"servers": ["http://a"], "fallback": "canary"}

    assert load(json.dumps({"arms": ARMS})).arms["stable"].fallback is None
    assert load(json.dumps({"arms": ARMS})).arms["canary"].fallback == "stable"
    config = load(json.dumps({"arms": arms}))
    assert config.arms["stable"].fallback == "canary"
    assert load(dump(config)) == config
