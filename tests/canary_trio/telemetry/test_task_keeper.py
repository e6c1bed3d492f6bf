"""Tasks beside the requests outlive whatever happens to them, each of them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio.control.fleet.acknowledger import Acknowledger
from canary_trio.control.last_good import LastGoodFile
from canary_trio.control.moving import NextStore
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.task_keeper import TaskKeeper
from canary_trio.upstream.arm import ArmTimes
from canary_trio.upstream.dns import Resolver
from canary_trio.upstream.health_checks import HealthChecker
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on


async def test_a_task_that_fails_is_begun_again_and_told_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, runs = TaskKeeper(), 0

    async def task() -> None:
        nonlocal runs
        runs += 1
        if runs < 20:
            raise KeyError("unforeseen")

    await keeper.run("one", task)

    assert runs == 20
    assert keeper.failures == {"one": 19}
    assert [record.message for record in caplog.records] == [
        "one failed, and goes on: KeyError: 'unforeseen'"
    ]
    assert trio.current_time() < 20 * 10


async def test_another_error_is_told_too_and_the_first_again_after_steady_work(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    raised = iter(
        [ValueError("a"), ExceptionGroup("", [ValueError("b")]), ValueError("b"), None]
    )

    async def task() -> None:
        exc = next(raised)
        if isinstance(exc, ValueError) and str(exc) == "b":
            await trio.sleep(3600)
        if exc is not None:
            raise exc

    await TaskKeeper().run("one", task)

    assert len(caplog.records) == 3


async def test_a_task_that_fails_all_the_time_has_a_rate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    keeper = TaskKeeper()

    async def task() -> None:
        raise OSError

    with trio.move_on_after(600):
        await keeper.run("one", task)

    assert 60 < keeper.failures["one"] < 600


TASKS: dict[str, tuple[type, str]] = {
    "dns": (Resolver, "keep"),
    "health_checks": (HealthChecker, "_begin_due"),
    "time": (ArmTimes, "keep"),
    "remember": (LastGoodFile, "run"),
    "acknowledge": (Acknowledger, "_acknowledge"),
    "follow": (Supervisor, "_write_first"),
    "admin": (Supervisor, "unused"),
    "long_connections": (LongConnections, "run"),
    "access_log": (AccessLog, "_flush"),
}


@pytest.mark.parametrize("task", TASKS)
async def test_each_task_of_a_proxy_outlives_what_nobody_foresaw(
    task: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kind, name = TASKS[task]
    left = 1

    def fail_once(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def run(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left:
                left -= 1
                raise LookupError("nobody foresaw this")
            return await original(*args, **options)

        return run

    if task == "admin":
        from canary_trio.serving.listeners import SideListener  # noqa: PLC0415

        kind, name = SideListener, "run"
    monkeypatch.setattr(kind, name, fail_once(getattr(kind, name)))
    caplog.set_level(logging.ERROR)
    async with (
        in_memory_store() as client,
        proxy_on(client, remember=True, state=tmp_path) as proxy,
    ):
        observer = proxy._view.runtime.observer
        if task == "access_log":
            log = AccessLog(tmp_path / "log")
            log._news.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run, observer.tasks)
                await _wait(lambda: observer.tasks.failures.get(task) == 1)
                nursery.cancel_scope.cancel()
        await _wait(lambda: observer.tasks.failures.get(task) == 1)
        await _wait(lambda: bool((tmp_path / f"web@{proxy.id}.json").exists()))
        key = f"canary/web/proxies/{proxy.id}"
        while (await client.get(key)).entry is None:
            await trio.sleep(0.01)

        assert proxy.revision > 0
        assert proxy.status()["running"] == proxy.revision
        told = [
            one.message for one in caplog.records if "nobody foresaw" in one.message
        ]
        assert told == [f"{task} failed, and goes on: LookupError: nobody foresaw this"]
        assert math.isfinite(observer.tasks.failures[task])


async def _wait(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.01)


@pytest.mark.parametrize("task", ["recall", "move"])
async def test_a_task_that_has_an_end_outlives_it_too(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = {
        "recall": (Supervisor, "_fall_back"),
        "move": (NextStore, "wait_valid"),
    }[task]
    original, left = getattr(owner, name), 1

    async def fail_once(*args: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise LookupError("nobody foresaw this")
        await original(*args)

    options = {"remember": True, "state": tmp_path, "proxy_id": "p"}
    async with in_memory_store() as one, in_memory_store() as two:
        async with proxy_on(one, **options) as proxy:
            await _wait((tmp_path / "web@p.json").exists)
        monkeypatch.setattr(owner, name, fail_once)
        async with proxy_on(one, **options) as proxy:
            tasks = proxy._view.runtime.observer.tasks
            if task == "move":
                await two.put("canary/web/config", json.dumps(DOCUMENT).encode())
                here = DOCUMENT | {"config_server": two.url}
                await one.put("canary/web/config", json.dumps(here).encode())
                await _wait(lambda: proxy.status()["store"]["url"] == two.url)  # type: ignore[index]
            await _wait(lambda: tasks.failures.get(task) == 1)
            assert proxy.revision > 0
