"""`canary check`: a yes needs everybody, a no needs one, and all else is unknown."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from canary_trio.admin.asking.overview import Overview, read_overview
from canary_trio.command.cli.main import main
from canary_trio.command.cli.options import store_options
from canary_trio.command.cli.views.check import (
    NO,
    UNKNOWN,
    YES,
    is_healthy,
    is_safe_to_remove,
)
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.fleet.report import Fleet, Report
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on

ARMS = {name: {"servers": ["http://10.0.0.1:1"]} for name in ("stable", "canary")}


def overview(
    *ids: str, running: int = 7, ratio: float = 0.0, pending: Any = None, **more: Any
) -> Overview:
    document = json.dumps({"ratio": ratio, "arms": ARMS, **more}).encode()
    reports = tuple(
        Report(id_, running, running, admin=f"{id_}:1") for id_ in ids or ("one",)
    )
    return Overview("web", document, Fleet(7, reports), (), pending, 0.0)


def arm(*held_by: str, usable: int = 1, panic: bool = False) -> dict[str, Any]:
    return {
        "held_by": list(held_by),
        "usable_servers": usable,
        "panic": panic,
        "servers": [{}],
    }


def said(**more: Any) -> dict[str, Any]:
    return {
        "service": "web",
        "arms": {"stable": arm("the ratio gives it 1"), "canary": arm()},
        "removed_arms": {},
        "store": {"stale": False, "error": ""},
        **more,
    }


WAITS = PendingChange(
    json.dumps({"ratio": 0.5, "arms": ARMS}), 5, "anna", "", 0, 60_000, 7
)


@pytest.mark.parametrize(
    ("found", "statuses", "status", "why"),
    [
        (overview(), {"one:1": said()}, YES, ""),
        (overview(ratio=0.1), {"one:1": said()}, NO, "revision 7: the ratio gives it"),
        (
            overview(rules=[{"name": "b", "path_prefix": "/b", "arm": "canary"}]),
            {"one:1": said()},
            NO,
            "revision 7: rule b",
        ),
        (
            overview(rollout={"id": "r1", "steps": [{"ratio": 0.5}]}),
            {"one:1": said()},
            NO,
            "the rollout is about it",
        ),
        (overview(pending=WAITS), {"one:1": said()}, NO, "revision 5, which an unconf"),
        (
            overview(),
            {"one:1": said(arms={"canary": arm("2 requests in progress")})},
            NO,
            "one: 2 requests in progress",
        ),
        (
            overview(),
            {"one:1": said(removed_arms={"canary": {"in_flight": 3}})},
            NO,
            "one: it is removed, and has 3 requests",
        ),
        (overview(), {"one:1": "no response"}, UNKNOWN, "one cannot be asked: no resp"),
        (overview(), {"one:1": {"service": "web"}}, UNKNOWN, "gives no status"),
        (overview(), {"one:1": said(arms={"canary": {}})}, UNKNOWN, "gives no status"),
        (
            overview("one", "two"),
            {
                "one:1": said(arms={"canary": arm("rule beta")}),
                "two:1": "no response",
            },
            NO,
            "one: rule beta",
        ),
        (overview("one", "two"), {"one:1": said(), "two:1": "lost"}, UNKNOWN, "two"),
    ],
)
def test_an_arm_is_safe_to_remove_only_where_nobody_objects(
    found: Overview, statuses: Any, status: int, why: str
) -> None:
    answer = is_safe_to_remove(found, statuses, "canary")

    assert answer.status == status
    assert any(why in line for line in (*answer.against, *answer.unasked)) or not why


def test_an_arm_that_nobody_knows_is_safe_to_remove() -> None:
    assert is_safe_to_remove(overview(), {"one:1": said()}, "v9").status == YES


@pytest.mark.parametrize(
    ("found", "statuses", "status", "why"),
    [
        (overview(), {"one:1": said()}, YES, ""),
        (overview(running=6), {"one:1": said()}, NO, "one: runs 6"),
        (
            overview(),
            {"one:1": said(store={"stale": True, "error": "refused"})},
            NO,
            "one: no contact with the store: refused",
        ),
        (
            overview(),
            {"one:1": said(arms={"stable": arm("the ratio", usable=0)})},
            NO,
            "one: arm stable has no usable server of 1",
        ),
        (overview(), {"one:1": said(arms={"canary": arm(usable=0)})}, YES, ""),
        (
            overview(),
            {"one:1": said(arms={"stable": arm("the ratio", panic=True)})},
            NO,
            "in panic",
        ),
        (overview(), {"one:1": "lost"}, UNKNOWN, "one cannot be asked: lost"),
        (overview(running=6), {"one:1": "lost"}, NO, "one: runs 6"),
        (
            overview(),
            {
                "one:1": said(
                    service="web",
                    services={"api": said(arms={"v1": arm("x", usable=0)})},
                )
            },
            NO,
            "one: api: arm v1 has no usable server",
        ),
    ],
)
def test_a_service_is_healthy_only_where_all_that_serves_is(
    found: Overview, statuses: Any, status: int, why: str
) -> None:
    answer = is_healthy(found, copy.deepcopy(statuses))

    assert answer.status == status
    assert any(why in line for line in (*answer.against, *answer.unasked)) or not why


def test_no_proxy_is_not_healthy() -> None:
    document = json.dumps({"arms": ARMS}).encode()
    alone = Overview("web", document, Fleet(7, ()), (), None, 0.0)

    assert is_healthy(alone, {}).against == ("no proxy is live",)


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        (["--safe-to-remove", "canary"], YES, "yes"),
        (["--safe-to-remove", "stable"], NO, "no"),
        (["--healthy"], YES, "yes"),
    ],
)
def test_a_live_proxy_is_asked(
    words: list[str], status: int, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(_: str, question: Callable[[Client], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            async with in_memory_store() as client, proxy_on(client):
                with trio.fail_after(30):
                    while not (await read_overview(client, "web")).fleet.live:
                        await trio.sleep(0.01)
                return await question(client)

        return trio.run(asked)

    monkeypatch.setattr(store_options, "ask", ask)
    ran = CliRunner().invoke(main, ["check", "web", *words, "--json"])

    assert ran.exit_code == status, ran.output
    assert json.loads(ran.output)["answer"] == answer


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["check", "web"], 2),
        (["check", "web", "--healthy", "--safe-to-remove", "v1"], 2),
        (["check", "@edge", "--safe-to-remove", "v1"], 2),
        (["check", "web", "--healthy", "--config-server", "http://127.0.0.1:1"], NO),
        (*(["check", "web", "--safe-to-remove", "v1"], UNKNOWN),),
    ],
)
def test_the_status_says_what_was_wrong(words: list[str], status: int) -> None:
    env = {"CANARY_CONFIG_SERVER": "http://127.0.0.1:1"}
    assert CliRunner().invoke(main, words, env=env).exit_code == status
