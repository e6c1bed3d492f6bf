"""Whatever a proxy says of itself, the numbers that are shown obey the contract."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from canary_trio.config.document import build
from canary_trio.console.contract import contract, schema_of
from canary_trio.console.views.numbers import Heard, numbers
from canary_trio.control.fleet.report import Fleet, Report

CONFIG = build(
    {
        "arms": {
            "stable": {"servers": ["http://a:1"], "health": True},
            "canary": {"servers": ["http://b:1"]},
        },
        "ratio": 0.25,
    }
)
SERVER = {
    "url": "http://a:1",
    "mode": "ready",
    "up": True,
    "ejected": False,
    "ejections": 0,
    "since": 150.0,
    "weight": 1.0,
    "in_flight": 2,
    "most_in_flight": 8,
    "pending": 0,
    "requests": 9,
    "failures": 1,
    "latency_s": 0.01,
    "connections": 1,
}
ARM = {
    "asked_share": 0.75,
    "decisions": 3,
    "requests": 9,
    "errors": 1,
    "saved": 1,
    "in_flight": 2,
    "usable_servers": 1,
    "panic": False,
    "unverified": False,
    "held_by": ["the ratio gives it 0.75"],
    "servers": [SERVER],
    "latency": {"1000": 4, "inf": 1},
    "minute": {"seconds": 50.0, "requests": 5, "errors": 0, "latency": {"1000": 5}},
}
STATUS = {
    "service": "web",
    "arms": {"stable": ARM},
    "split": {"decisions": 3, "p_value": 0.4, "mismatch": False},
    "store": {"last_contact_age_s": 0.2, "stale": False},
}
ODD = st.sampled_from(
    [
        *(None, "", "x" * 300, -1, 2**70, 10**400, 1.5, True, [], {}, [1], {"a": 1}),
        *(float("nan"), float("inf"), float("-inf"), "\ud800", {"arms": {"x": None}}),
    ]
)
WHOLE = contract()
SCHEMAS = {
    name: Draft202012Validator(schema_of(schema, WHOLE))
    for name, schema in (
        *(("arms", "Arm"), ("servers", "Server"), ("proxies", "Proxy")),
        ("split", "Split"),
    )
}


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """Give the path to each part of a value."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        steps: Any = value if isinstance(value, dict) else range(len(value))
        for step in steps:
            found += places(value[step], *path, step)
    return found


@st.composite
def statuses(draw: st.DrawFn) -> Any:
    """Draw a status of which some parts are odd."""
    status = copy.deepcopy(STATUS)
    for path in draw(st.lists(st.sampled_from(places(STATUS)), max_size=4)):
        at: Any = status
        try:
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = draw(ODD)
        except (LookupError, TypeError):
            continue
    return draw(st.one_of(st.just(status), ODD.filter(lambda one: type(one) is dict)))


@settings(max_examples=150, deadline=None)
@example([{**STATUS, "split": {"p_value": 10**400, "mismatch": 1}}])
@example([{**STATUS, "arms": {"stable": {**ARM, "latency": {"1000": 10**400}}}}])
@given(st.lists(statuses(), min_size=1, max_size=3))
def test_whatever_proxies_say_is_shown_as_the_contract_has_it(said: list[Any]) -> None:
    heard = Heard(own="a0")
    reports = []
    for number, status in enumerate(said):
        heard.hear(f"a{number}", status, 100.0 + number)
        reports.append(Report(f"p{number}", 7, 7, admin=f"a{number}"))
    heard.hear("a9", "it cannot be asked", 100.0)
    reports.append(Report("p9", 6, 7, admin="a9"))

    found = numbers("web", Fleet(7, tuple(reports)), heard, CONFIG, 200.0)

    json.dumps(found, allow_nan=False).encode()
    for name, schema in SCHEMAS.items():
        rows = found[name] if isinstance(found[name], list) else [found[name]]
        for row in rows:
            faults = [f"{list(f.path)}: {f.message}" for f in schema.iter_errors(row)]
            assert faults == [], name


def test_what_is_right_is_added_up() -> None:
    heard = Heard(own="a0")
    for number in range(2):
        heard.hear(f"a{number}", copy.deepcopy(STATUS), 100.0)
    reports = tuple(Report(f"p{n}", 7, 7, admin=f"a{n}") for n in range(2))

    found = numbers("web", Fleet(7, reports), heard, CONFIG, 200.0)

    stable, canary = found["arms"]
    assert (stable["errors_made"], stable["errors_saved"], stable["errors_seen"]) == (
        *(2, 2, 0),
    )
    assert (stable["got"], stable["rate"], stable["in_flight"]) == (1.0, 0.2, 4)
    assert (canary["asked"], canary["servers"]) == (0.25, 0)
    server, other = found["servers"]
    assert (server["status"], server["up"], server["sessions"]) == ("up", 2, 4)
    assert (server["sessions_max"], server["since"]) == (8, 150.0)
    assert other["since"] is None
    assert server["checks"] == "/ every 2 s"
    assert other["status"] == "unknown"
    assert [proxy["here"] for proxy in found["proxies"]] == [True, False]
