"""A rollout by real processes: three proxies, whose driver is ended on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from canary_trio.admin.asking.rollout_view import read_rollout
from kv_trio import Client
from tests.e2e import drills
from tests.e2e.processes import PATIENCE_S, Process, ask, run, world


async def reads(client: Client, condition: Callable[[dict[str, Any]], bool]) -> Any:
    """Wait until a rollout stands so; give how it does."""
    with trio.fail_after(PATIENCE_S):
        while not condition(found := await read_rollout(client, "web", time.time())):
            await trio.sleep(0.02)
    return found


async def test_five_steps_are_walked_though_the_driver_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as here, Client(here.store_url) as client:
        proxies: dict[str, Process] = {}
        addresses: dict[str, str] = {}
        for id_ in ("a", "b", "c"):
            proxies[id_], addresses[id_] = await here.start_proxy("--id", id_)
        table = {
            "id": "v2",
            "slope": 1,
            "steps": [0.01, {"ratio": 0.05, "hold": None}, 0.25, 0.5, 1],
        }
        (tmp_path / "rollout.json").write_text(json.dumps(table))
        asked = ("--config-server", here.store_url)
        file = tmp_path / "rollout.json"
        await run("canary", "rollout", "start", "web", file, *asked)
        found = await reads(client, lambda one: one["phase"] == "waiting")
        first = found["driver"]["by"]
        assert await proxies[first].ends() == 0
        await run("canary", "rollout", "promote", "web", *asked)
        found = await reads(client, lambda one: one["phase"] == "done")
        assert found["ratio"] == 1
        assert found["by"] in {f"rollout ({id_})" for id_ in "abc" if id_ != first}
        for id_ in "abc":
            if id_ != first:
                with trio.fail_after(PATIENCE_S):
                    while set(await ask(addresses[id_], 4)) != {"v2"}:
                        await trio.sleep(0.05)


async def test_r04_after_an_abort_under_load_no_proxy_asks_the_canary(
    tmp_path: Path,
) -> None:
    async with drills.place("kv-trio", tmp_path) as here:
        addresses = [(await here.start_proxy("--id", id_))[1] for id_ in "ab"]
        async with trio.open_nursery() as nursery:
            for address in addresses * 2:
                nursery.start_soon(here.ask_on, address)
            await here.begin(steps=[{"ratio": 0.5, "hold": None}, 1])
            with trio.fail_after(PATIENCE_S):
                while here.canary_version.asked < 50:
                    await trio.sleep(0.01)
                await here.told("abort", "--wait", "20")
                asked, others = here.canary_version.asked, here.stable.asked
                while here.stable.asked < others + 200:
                    await trio.sleep(0.01)
            assert here.canary_version.asked == asked
            nursery.cancel_scope.cancel()
        assert not here.bad


async def test_a_store_that_is_killed_in_a_step_changes_nothing(tmp_path: Path) -> None:
    """`make drills` has it gone for 30 s, and other stores too."""
    async with drills.place("kv-trio", tmp_path) as here:
        await drills.store(here, gone_s=1.0)
