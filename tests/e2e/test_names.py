"""Two proxies of one name: the newcomer is refused, and a former life is taken over."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from canary_trio import read_fleet
from kv_trio import Client
from tests.e2e.processes import PATIENCE_S, Process, World, ask, world


async def refused(made: World, *words: object) -> Process:
    """Start a proxy that is to be refused; give it once it has ended with status 2."""
    one = await made.start(
        *("canary", "serve", "web", "--config-server", made.store_url),
        *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", *words),
    )
    with trio.fail_after(PATIENCE_S):
        assert await one.process.wait() == 2
        while "Error: " not in one.output:
            await trio.sleep(0.01)
    return one


async def ids(made: World) -> list[tuple[str, str]]:
    async with Client(made.store_url) as client:
        fleet = await read_fleet(client, "web", 1)
    return [(report.id, report.address) for report in fleet.reports]


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_name_of_a_live_proxy_is_refused(
    tmp_path: Path, workers: int
) -> None:
    name = ("--id", "same", "--workers", workers)
    async with world(tmp_path) as made:
        first, address = await made.start_proxy(*name)
        told = await refused(made, *name)
        assert "runs on this machine" in told.output
        told = await refused(made, *name, "--reuse-port")
        assert "runs on this machine" in told.output, "it serves on another port"
        elsewhere = tmp_path / "another machine's"
        told = await refused(made, *name, "--data", elsewhere)
        assert "serves web already" in told.output
        assert "--id NAME" in told.output
        assert await ask(address, 3) == ["v1"] * 3
        names = ["same"] if workers == 1 else ["same.1", "same.2"]
        assert await ids(made) == [(one, address) for one in names]
        assert await first.ends() == 0


async def test_who_comes_back_after_a_crash_takes_over_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        first, _ = await made.start_proxy("--id", "same")
        while not await ids(made):
            await trio.sleep(0.01)
        first.kill()
        _, address = await made.start_proxy("--id", "same")
        with trio.fail_after(15):  # its session would live for 20 s more
            while await ids(made) != [("same", address)]:
                await trio.sleep(0.01)
