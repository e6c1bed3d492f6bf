"""A rollout in a document: what is read, written, and refused with its path (R8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.config.document import dump, load
from canary_trio.config.rollout import ErrorUnit, JudgeRules, Phase, RolloutStep, Then
from tests.canary_trio.support.documents import ARMS, problems

THREE = {**ARMS, "baseline": {"servers": ["http://a"]}}
SMALL: dict[str, Any] = {"id": "v42", "steps": [0.01, 0.5, 1]}


def document(**rollout: Any) -> dict[str, Any]:
    return {"arms": THREE, "rollout": {**SMALL, **rollout}}


def test_the_example_of_the_docs_is_read_and_written() -> None:
    config = load(
        json.dumps(
            {
                "arms": THREE,
                "ratio": {"canary": 0.05, "baseline": 0.05},
                "rollout": {
                    "id": "v42",
                    "arm": "canary",
                    "against": "baseline",
                    "steps": [
                        {"ratio": 0.01, "hold": 300},
                        {"ratio": 0.05, "hold": 600, "requests": 5000},
                        {"ratio": 0.25, "hold": None},
                        {"ratio": 1.0},
                    ],
                    "judge": {
                        "errors": {"tolerance": 1.0},
                        "latency": {"quantiles": [0.5, 0.9, 0.99], "tolerance": 1.1},
                        "alpha": 0.01,
                        "then": "abort",
                    },
                    "gates": [
                        {"at": [2], "url": "http://127.0.0.1:9/ok", "timeout": 5}
                    ],
                    "deadline": 86400,
                    "when": "abort",
                    "state": {
                        "phase": "running",
                        "step": 1,
                        "since": 1795750000000,
                        "by": "proxy-7",
                        "reason": "",
                        "verdict": {
                            "finding": "no difference yet",
                            "requests": [5120, 5093],
                        },
                    },
                },
            }
        )
    )
    rollout = config.rollout

    assert rollout is not None
    assert load(dump(config)) == config
    assert rollout.steps[2] == RolloutStep(2500, None)
    assert rollout.judge is not None
    assert rollout.judge.then is Then.ABORT
    assert rollout.state is not None
    assert rollout.state.phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("given", "judge"),
    [(True, JudgeRules()), (False, None), (None, None), ({}, JudgeRules())],
    ids=["true", "false", "null", "a table"],
)
def test_r19_a_rollout_without_a_judge_is_valid(
    given: Any, judge: JudgeRules | None
) -> None:
    rollout = load(json.dumps(document(judge=given))).rollout

    assert rollout is not None
    assert rollout.judge == judge


@pytest.mark.parametrize(
    ("rollout", "path"),
    [
        ({"arm": "gone"}, "$.rollout.arm"),
        ({"arm": "stable"}, "$.rollout.arm"),
        ({"against": "gone"}, "$.rollout.against"),
        ({"against": "canary"}, "$.rollout.against"),
        ({"steps": []}, "$.rollout.steps"),
        ({"steps": 0.1}, "$.rollout.steps"),
        ({"steps": [0]}, "$.rollout.steps[0]"),
        ({"steps": [0.1, 0.1]}, "$.rollout.steps[1]"),
        ({"steps": [0.1, 0.05, 1]}, "$.rollout.steps[1]"),
        ({"steps": [{"ratio": 0.1, "hold": -1}]}, "$.rollout.steps[0].hold"),
        ({"steps": [{"ratio": 0.1, "holds": 1}]}, "$.rollout.steps[0].holds"),
        ({"steps": [{"hold": 5}]}, "$.rollout.steps[0].ratio"),
        ({"steps": [1.5]}, "$.rollout.steps[0]"),
        ({"judge": {"alpha": 0}}, "$.rollout.judge.alpha"),
        ({"judge": {"then": "retry"}}, "$.rollout.judge.then"),
        ({"judge": {"errors": {"unit": "user"}}}, "$.rollout.judge.errors.unit"),
        ({"judge": {"errors": {"unit": None}}}, "$.rollout.judge.errors.unit"),
        ({"judge": {"latency": {"unit": "users"}}}, "$.rollout.judge.latency.unit"),
        (
            {"judge": {"latency": {"quantiles": [1.0]}}},
            "$.rollout.judge.latency.quantiles[0]",
        ),
        ({"judge": "yes"}, "$.rollout.judge"),
        ({"gates": [{}]}, "$.rollout.gates[0]"),
        ({"gates": [{"url": "ftp://a"}]}, "$.rollout.gates[0].url"),
        ({"gates": [{"url": "http://a", "at": [3]}]}, "$.rollout.gates[0].at"),
        (
            {"gates": [{"url": "http://a", "prometheus": "http://b"}]},
            "$.rollout.gates[0]",
        ),
        ({"gates": [{"approval": True, "tries": 3}]}, "$.rollout.gates[0].tries"),
        ({"gates": [{"prometheus": "http://b"}]}, "$.rollout.gates[0].query"),
        ({"gates": [{"prometheus": "http://b", "query": "up"}]}, "$.rollout.gates[0]"),
        (
            {"gates": [{"prometheus": "http://b", "query": "up", "min": 2, "max": 1}]},
            "$.rollout.gates[0].max",
        ),
        (
            {"gates": [{"window": {"zone": "Mars/Olympus"}}]},
            "$.rollout.gates[0].window.zone",
        ),
        (
            {"gates": [{"window": {"from": "17:00", "to": "09:00"}}]},
            "$.rollout.gates[0].window.to",
        ),
        (
            {"gates": [{"window": {"days": ["monday"]}}]},
            "$.rollout.gates[0].window.days[0]",
        ),
        (
            {
                "gates": [
                    {"name": "a", "approval": True},
                    {"name": "a", "url": "http://a"},
                ]
            },
            "$.rollout.gates[1].name",
        ),
        (
            {"gates": [{"url": "http://a", "headers": "../x"}]},
            "$.rollout.gates[0].headers",
        ),
        *(
            case
            for url in (
                *("http://", "http:///x", "http://:80/", "http://a:b/", "http://a:0/"),
                *("http://a:99999/", "http://me:key@a/", "http://[::1/", "http://[g]/"),
                *("http://a/#part", "http://a/ b", "http://a b/", "http://a..b/"),
                *("http://-a/", "http://é/", "http://a/é", f"http://{'a' * 64}/"),
                *("http://a/" + "b" * 2000, "HTTP://a/", "//a/", "http://a\\b/"),
                *("http://a/\n", "http://a/\r\nX: y", 5, None),
            )
            for case in (
                ({"gates": [{"name": "a", "url": url}]}, "$.rollout.gates[0].url"),
                ({"hook": {"url": url}}, "$.rollout.hook.url"),
                (
                    {"gates": [{"prometheus": url, "query": "up", "min": 1}]},
                    "$.rollout.gates[0].prometheus",
                ),
            )
        ),
        (
            {"gates": [{"prometheus": "http://a?b", "query": "up", "min": 1}]},
            "$.rollout.gates[0].prometheus",
        ),
        ({"deadline": 0}, "$.rollout.deadline"),
        ({"when": "say"}, "$.rollout.when"),
        ({"slope": 0}, "$.rollout.slope"),
        ({"hook": {"url": "http://a", "key": "a/b"}}, "$.rollout.hook.key"),
        ({"state": {"phase": "promoted"}}, "$.rollout.state.phase"),
        ({"id": ""}, "$.rollout.id"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_r08_a_bad_reference_is_refused_with_its_path(
    rollout: dict[str, Any], path: str
) -> None:
    assert list(problems(document(**rollout))) == [path]


@pytest.mark.parametrize(
    "url",
    [
        *("http://a", "https://a/", "http://a:1", "http://a.b-c_d:65535/p/q?r=s&t={u}"),
        *("http://[::1]:80/x", "http://127.0.0.1?a", "http://a/b@c:d", "http://a./"),
    ],
)
def test_urls_of_gates_and_hooks(url: str) -> None:
    rollout = load(
        json.dumps(document(gates=[{"url": url}], hook={"url": url}))
    ).rollout

    assert rollout is not None
    assert rollout.hook is not None
    assert (rollout.gates[0].url, rollout.hook.url) == (url, url)


def test_r08_a_step_beyond_what_other_arms_leave_is_refused() -> None:
    arms = {**THREE, "beta": {"servers": ["http://a"]}}
    ratio = {"canary": 0.1, "beta": 0.5}
    found = problems({"arms": arms, "ratio": ratio, "rollout": SMALL})

    assert list(found) == ["$.rollout.steps[2]"]
    assert found["$.rollout.steps[2]"][1] == "at most 0.5"


def test_errors_are_counted_by_users_if_nothing_else_is_said() -> None:
    units = [
        rollout.judge.errors.unit
        for errors in ({}, {"unit": "users"}, {"unit": "requests"})
        if (rollout := load(json.dumps(document(judge={"errors": errors}))).rollout)
        and rollout.judge
    ]
    assert units == [ErrorUnit.USERS, ErrorUnit.USERS, ErrorUnit.REQUESTS]
    found, expected = problems(document(judge={"errors": {"unit": "request"}}))[
        "$.rollout.judge.errors.unit"
    ]
    assert found == '"request"'
    assert expected == "one of users, requests (did you mean requests?)"


def test_gates_without_a_name_are_told_apart() -> None:
    gates = [{"approval": True}, {"url": "http://a"}, {"url": "http://b"}]
    gates += [{"name": "url-2", "url": "http://c"}, {"url": "http://d"}]
    rollout = load(json.dumps(document(gates=gates))).rollout

    assert rollout is not None
    names = [gate.name for gate in rollout.gates]
    assert names == ["approval", "url", "url-3", "url-2", "url-4"]


MIRROR = "with judge.mirror the first step exposes nobody"


@pytest.mark.parametrize(
    ("rollout", "path", "words"),
    [
        ({"steps": [0, 1]}, "$.rollout.steps[0]", "only with judge.mirror"),
        ({"steps": [0.1, 0, 1]}, "$.rollout.steps[1]", "steps that rise"),
        (
            {"steps": [0.1, 1], "judge": {"mirror": True}},
            "$.rollout.steps[0]",
            MIRROR,
        ),
        ({"steps": [0], "judge": {"mirror": {}}}, "$.rollout.steps", "that follow"),
        (
            {"steps": [0, 1], "judge": {"mirror": {"ignore": ["a..b"]}}},
            "$.rollout.judge.mirror.ignore[0]",
            "names with dots between",
        ),
        (
            {"steps": [0, 1], "judge": {"mirror": {"rate": 0}}},
            "$.rollout.judge.mirror.rate",
            "0.01",
        ),
        (
            {"steps": [0, 1], "judge": {"mirror": 5}},
            "$.rollout.judge.mirror",
            "a table such as",
        ),
    ],
)
def test_a_step_that_exposes_nobody_is_for_a_judge_that_mirrors(
    rollout: dict[str, Any], path: str, words: str
) -> None:
    found = problems(document(**rollout))
    assert list(found) == [path]
    assert words in found[path][1]


@pytest.mark.parametrize("mirror", [True, {}, {"ignore": ["items.*.id"], "rate": 5}])
def test_a_judge_that_mirrors_is_read_and_written(mirror: Any) -> None:
    told = document(steps=[{"ratio": 0, "hold": 60}, 1], judge={"mirror": mirror})
    config = load(json.dumps(told))
    assert config.rollout is not None
    assert config.rollout.compares_first
    assert load(dump(config)) == config
