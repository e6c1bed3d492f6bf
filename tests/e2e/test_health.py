"""Servers as processes that die, come back, drain and move: no client notices."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import PATIENCE_S, World, ask, connected_to, world

CHECK = {"interval": 0.2, "timeout": 5, "rise": 2, "fall": 2}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, versions=False) as made:
        yield made


async def servers_of(admin: str) -> list[dict[str, Any]]:
    async with connected_to(admin) as client:
        _, body = await client.ask(b"/status")
    servers: list[dict[str, Any]] = json.loads(body)["arms"]["stable"]["servers"]
    return servers


async def until(admin: str, holds: Callable[[list[dict[str, Any]]], bool]) -> None:
    with trio.fail_after(PATIENCE_S * 2):
        while not holds(await servers_of(admin)):
            await trio.sleep(0.05)


async def test_a_server_that_is_killed_fails_nobody_and_comes_back(
    here: World,
) -> None:
    one, third = (f"127.0.0.1:{free_port()}" for _ in range(2))
    process = await here.start("python", "-m", "tests.e2e.version", "one", one)
    await here.start(
        "python", "-m", "tests.e2e.version", "other", f"unix:{here.path}/o"
    )
    await here.start("python", "-m", "tests.e2e.version", "third", third)
    with trio.fail_after(PATIENCE_S):
        while not (here.path / "o").exists():
            await trio.sleep(0.02)
    arm: dict[str, Any] = {
        "servers": [f"http://{one}", f"unix:{here.path}/o", f"http://{third}"],
        "health": CHECK,
        "slow_start": 0.5,
    }
    here.versions = {"v1": "", "v2": ""}
    proxy, address = await here.start_proxy(arms={"stable": arm})
    match = await proxy.says(r"admin on ([\d.:]+)")
    admin = match[1]
    await until(admin, lambda servers: all(one["up"] for one in servers))
    assert set(await ask(address, 12)) == {"one", "other", "third"}

    process.kill()
    assert "one" not in set(await ask(address, 60))  # all of them are answered with 200
    await until(admin, lambda servers: not servers[0]["up"])
    assert set(await ask(address, 12)) == {"other", "third"}

    await here.start("python", "-m", "tests.e2e.version", "one", one)
    await until(admin, lambda servers: servers[0]["healthy"])
    with trio.fail_after(PATIENCE_S):
        while Counter(await ask(address, 30))["one"] != 10:
            await trio.sleep(0.05)  # it is warm again

    arm["servers"][0] = {"url": f"http://{one}", "mode": "drain"}
    here.write(arms={"stable": arm})
    await here.canary("apply", here.path / "web.json", "--wait", "40")
    assert set(await ask(address, 12)) == {"other", "third"}
