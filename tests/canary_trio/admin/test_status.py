"""What a proxy shows of itself, and that several workers can show it as one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
import trio

from canary_trio.admin.certificates import expiries
from canary_trio.admin.merge_rules import ByName, MergeRule, Rows, Shape, paths
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.admin.status import RULES, describe
from canary_trio.command.process.admin import with_rules
from canary_trio.command.process.merge import merge_status
from canary_trio.control.driving.duty import Turn
from canary_trio.control.fleet.report import Refusal
from canary_trio.control.sources.store_tokens import StoreTokens
from canary_trio.control.supervisor import Supervisor
from canary_trio.errors import Problem
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.changing.trial import Trial, begin_trial
from canary_trio.proxy.runtime import Runtime
from canary_trio.testing import arm, proxied, says_canary, says_stable, url_of
from http_trio import Tls
from http_trio.net.certificates.store import CertificateStore
from http_trio.testing.peers import connected, fake_upstream
from tests.http_trio.support.certificates import Authority

PAGE = Path(__file__).parents[3] / "docs" / "workers.md"
EVERYTHING: dict[str, Any] = {
    "ratio": 0.25,
    "mirror": {"arm": "canary"},
    "sticky_sessions": {"cookie": "release", "epoch": 2, "server": True},
    "rules": [{"name": "beta", "header": "X-Beta", "present": True, "arm": "canary"}],
    "connections": {"change": "recall", "time": 0},
    "access": {"rate_limits": [{"name": "each", "requests": 1, "dry_run": True}]},
}
EACH_ARM: dict[str, Any] = {
    "health": {"interval": 60},
    "ejection": {"failures": 3},
    "slow_start": 30,
    "retries": {"tries": 2},
    "limits": {"in_flight": 2, "pending": 2},
}
SPREAD = {
    *("connections", "decisions", "ejections", "errors", "failures", "fallbacks"),
    *("in_flight", "pending", "repeats", "repeats_refused", "requests", "saved"),
    *("taken_over", "same", "other_size", "other_status", "no_response", "late"),
    *(
        "passed",
        "refused",
        "dry_run",
        "body",
        "busy",
        "no_server",
        "no_original",
        "connected",
        "in_progress",
        "granted",
        "questions",
    ),
}
"""The names of what each worker has a part of."""


def control_of(runtime: Runtime) -> Supervisor:
    return Supervisor(
        runtime,
        service="web",
        proxy_id="one",
        config_server="http://127.0.0.1:1",
        tokens=StoreTokens({}),
        bootstrap=None,
        memory=None,
        address="",
        admin="",
        duties=[Due()],
    )


class Due:
    """A duty that somebody must drive for."""

    name, is_due, knows_less = "rollout", True, False

    def look(self) -> None:
        pass

    async def run(self, turn: Turn) -> None:
        await trio.sleep_forever()


@asynccontextmanager
async def everything() -> AsyncIterator[ProxyView]:
    """Run a proxy with all that a document can switch on, and a past; give its view."""
    async with fake_upstream(says_stable) as one, fake_upstream(says_canary) as two:
        arms = {name: arm(one, two, **EACH_ARM) for name in ("stable", "canary")}
        async with proxied({**arms, "old": arm(one)}, **EVERYTHING) as proxy:
            async with connected(proxy.server) as client:
                for line in (b"X-A: b", b"X-Beta: 1") * 4:
                    await client.ask(b"/", line)
            proxy.server_state("old").began(0.0)
            auth = {"forward_auth": {"url": url_of(one), "cache": {"time": 60}}}
            access = {**EVERYTHING["access"], **auth}
            await proxy.install({**EVERYTHING, "arms": arms, "access": access})
            live = proxy.runtime.live
            assert live is not None
            given: dict[str, Any] = {"share": 5000, "salt": b"salt"}
            await begin_trial(proxy.runtime, live.config, 5, (b"secret",), **given)
            live = proxy.runtime.live
            assert live is not None
            assert isinstance(live.trial, Trial)
            for counts in (live.trial.tried, live.trial.present):
                counts.add(500, 0.1)
            async with connected(proxy.server) as client:
                await client.ask()
                await client.ask()
            control = control_of(proxy.runtime)
            control.status.contact.last_s = trio.current_time()
            problem = Problem("$.ratio", "5", "a share")
            control.status.failed = Refusal(3, (problem,))
            long = LongConnections(proxy.runtime, proxy.server, lambda: 0.5)
            proxy.server._certificates = certificates_of("a.example", "*.b.example")
            view = ProxyView("web", "one", proxy.runtime, control, proxy.server, long)
            view.minute.note(trio.current_time() - 30, {})
            yield view


def certificates_of(*names: str) -> CertificateStore:
    now = dt.datetime.now(dt.UTC)
    with TemporaryDirectory() as directory:
        days = dt.timedelta(days=-3)
        pair = Authority(Path(directory)).issue(*names, not_after=now + days)
        return CertificateStore(Tls(*pair))


async def shown() -> dict[str, Any]:
    async with everything() as view:
        status: dict[str, Any] = json.loads(json.dumps(describe(view)))
        return status


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give all that is no table and no list, with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{at}]")
    else:
        yield path, value


def lost(status: dict[str, Any], rules: Mapping[str, Shape]) -> set[str]:
    """Give what two workers do not say any more though each of them does."""
    return {*dict(leaves(status))} - {
        *dict(leaves(merge_status([status, status], rules)))
    }


def without(shape: Shape, gone: str, path: str = "") -> Any:
    """Give rules without those of one path."""
    match shape:
        case MergeRule():
            return shape
        case ByName(inner):
            left = without(inner, gone, f"{path}.NAME")
            return ByName({} if f"{path}.NAME" == gone else left)
        case Rows(key, inner):
            return Rows(key, without(inner, gone, f"{path}[]"))
        case _:
            places = {name: f"{path}.{name}" if path else name for name in shape}
            return {
                name: without(inner, gone, places[name])
                for name, inner in shape.items()
                if places[name] != gone
            }


def none_is_zero(table: dict[str, Any]) -> dict[str, Any]:
    """Raise the counts that are 0, which would be the same when added."""
    return {
        name: 1 if name in SPREAD and value == 0 else value
        for name, value in table.items()
    }


async def test_all_that_is_shown_has_a_rule() -> None:
    assert lost(await shown(), RULES) == set()


async def test_a_rule_that_is_taken_away_is_missed() -> None:
    status = await shown()

    of_service = {n: r for n, r in RULES.items() if n not in ("routes", "services")}
    for path, _ in paths(of_service):
        name = path.rpartition(".")[2]
        missed = lost(status, without(RULES, path))
        assert missed, path
        if name != "NAME":
            assert all(name in one for one in missed), path


async def test_what_is_spread_over_the_workers_is_added() -> None:
    status = json.loads(json.dumps(await shown()), object_hook=none_is_zero)
    one = dict(leaves(merge_status([status], RULES)))
    both = dict(leaves(merge_status([status, status], RULES)))
    numbers = {
        path: value
        for path, value in one.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }

    latencies = {path for path in numbers if ".latency." in path}
    assert latencies
    added = {path for path in numbers if path.rpartition(".")[2] in SPREAD}
    assert {path.rpartition(".")[2] for path in added} == SPREAD
    added |= latencies
    assert {path: both[path] for path in added} == {p: 2 * numbers[p] for p in added}
    rest = numbers.keys() - added
    assert {path: both[path] for path in rest} == {p: numbers[p] for p in rest}


def test_the_page_in_the_docs_has_the_rules_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")

    again = "run: python -m canary_trio.command.process.admin docs/workers.md"
    assert page == with_rules(page), again
    with pytest.raises(ValueError, match="found no"):
        with_rules("")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(False, False, id="off"),
        pytest.param(True, {"cookie": "canary-web", "epoch": 0}, id="on"),
        pytest.param({"cookie": "a"}, {"cookie": "a", "epoch": 0}, id="a cookie"),
        pytest.param({"epoch": 3}, {"cookie": "canary-web", "epoch": 3}, id="an epoch"),
        pytest.param({"header": "X-U"}, {"header": "X-U", "epoch": 0}, id="a header"),
        pytest.param(
            {"address": True}, {"address": True, "epoch": 0}, id="the address"
        ),
        pytest.param(
            {"address": {"v4": 24, "v6": 56}, "epoch": 1},
            {"address": {"v4": 24, "v6": 56}, "epoch": 1},
            id="a network",
        ),
    ],
)
async def test_what_users_are_sticky_by_is_said_as_in_the_document(
    given: Any, said: Any
) -> None:
    arms = {"stable": {"servers": ["http://127.0.0.1:1"]}}
    async with proxied(arms, ratio=0, sticky_sessions=given) as proxy:
        view = ProxyView("web", "one", proxy.runtime, control_of(proxy.runtime))
        config = cast(Any, describe(view)["config"])

    assert config["sticky_sessions"] == said


async def test_without_a_document_there_is_nothing_to_say() -> None:
    runtime = Runtime("web")
    empty = json.loads(
        json.dumps(describe(ProxyView("web", "one", runtime, control_of(runtime))))
    )

    assert (empty["config"], empty["split"], empty["arms"]) == (None, None, {})
    assert merge_status([empty, empty], RULES) == empty


async def test_how_long_certificates_last_is_shown() -> None:
    (row,) = (await shown())["certificates"]
    assert row["names"] == ["a.example", "*.b.example"]
    assert row["days_left"] == pytest.approx(-3, abs=0.1)
    assert row["problem"].startswith("expired 3 days ago")
    assert row["not_before"] < row["not_after"] < f"{dt.datetime.now(dt.UTC):%FT%TZ}"
    async with everything() as view:
        rows = dict(expiries(view, 0.0))
    assert list(rows) == [("a.example",), ("*.b.example",)]
    assert list(rows.values()) == [pytest.approx(-3 * 86400, abs=9000)] * 2
