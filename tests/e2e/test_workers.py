"""Several workers on one port, as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.e2e.processes import PATIENCE_S, Process, World, ask, run, world


async def start(made: World, *words: object) -> tuple[Process, str, str]:
    """Start a proxy with two workers; give it, its address and its admin's."""
    process = await made.start(
        *("canary", "serve", "web", "--config-server", made.store_url),
        *("--admin", "127.0.0.1:0", "--workers", 2, "--id", "edge"),
        *("--bootstrap", made.write(), "--bind", "127.0.0.1:0", *words),
    )
    match = await process.says(r"listens on ([\d.:]+)\S*.*, admin on (\S+), 2 workers")
    await process.says("runs revision")
    return process, match[1], match[2]


async def get(admin: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"http://{admin}{path}", timeout=20)


async def status(admin: str) -> dict[str, Any]:
    table: dict[str, Any] = (await get(admin, "/status")).json()
    return table


def number(metrics: str, name: str) -> float:
    """Give the sum over the labels of a metric."""
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


async def test_workers_are_one_proxy(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with world(tmp_path) as made:
        process, address, admin = await start(made, "--bind", f"unix:{path}")
        pids = {row["pid"] for row in (await status(admin))["workers"]}
        assert len(pids) == 2

        for _ in range(40):  # each a connection of its own
            assert await ask(address, 1) == ["v1"]
        table = await status(admin)
        shares = [
            row["status"]["arms"]["stable"]["requests"] for row in table["workers"]
        ]
        assert sum(shares) == table["arms"]["stable"]["requests"] == 40
        assert all(shares), "the kernel spreads the connections"
        metrics = (await get(admin, "/metrics")).text
        assert number(metrics, "canary_requests_total") == 40
        assert number(metrics, "canary_request_seconds_count") == 40
        assert number(metrics, "canary_worker_restarts_total") == 0
        assert (await get(admin, "/ready")).status_code == 200
        assert (await get(admin, "/healthz")).text == "ok\n"

        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("http://a/")).text == "v1"

        said = (await made.canary("set", "ratio=1", "--wait", "40")).out
        assert "live on 2/2 proxies" in said
        assert set(await ask(address, 4)) == {"v2"}
        fleet = json.loads((await made.canary("status", "--json")).out)
        assert {one["id"] for one in fleet["proxies"]} == {"edge.1", "edge.2"}

        await drain(made, process, address)
        assert not any(map(is_running, pids))
        assert not path.exists()

        process, address, admin = await start(made)
        await end_at_once(process, address, admin)


async def drain(made: World, process: Process, address: str) -> None:
    """SIGTERM: what has begun is answered."""
    responses: list[list[str]] = []

    async def ask_slowly() -> None:
        responses.append(await ask(address, 1, b"/slow"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_slowly)
        with trio.fail_after(PATIENCE_S):
            await made.asked_to_be_slow["v2"].wait()
        assert await process.ends(signal.SIGTERM) == 0
    assert responses == [["v2"]]


async def end_at_once(process: Process, address: str, admin: str) -> None:
    """A second signal: nothing is waited for."""
    pids = [row["pid"] for row in (await status(admin))["workers"]]
    host, port = address.split(":")
    async with await trio.open_tcp_stream(host, int(port)) as held:
        await held.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        process.process.send_signal(signal.SIGINT)
        with trio.fail_after(40):
            while (await get(admin, "/ready")).text != "draining\n":
                pass
        assert process.process.poll() is None
        await process.ends(signal.SIGINT)
    assert not any(map(is_running, pids))


async def test_a_worker_that_is_killed_while_all_drain_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        process, address, admin = await start(made)
        pids = [row["pid"] for row in (await status(admin))["workers"]]
        host, port = address.split(":")
        async with await trio.open_tcp_stream(host, int(port)) as held:
            await held.send_all(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
            )
            process.process.send_signal(signal.SIGTERM)
            with trio.fail_after(40):
                while sum(map(is_running, pids)) != 1:
                    await trio.sleep(0.02)
            os.kill(next(filter(is_running, pids)), signal.SIGKILL)
            await process.says(r"was ended by SIGKILL while it drained")
            assert await process.process.wait() == 0


async def test_workers_live_as_long_as_their_supervisor(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        process, address, admin = await start(made)
        first, second = (row["pid"] for row in (await status(admin))["workers"])
        os.kill(first, signal.SIGKILL)
        await process.says(r"worker 1 \(pid \d+\) was ended by SIGKILL")
        with trio.fail_after(40):
            while (await get(admin, "/ready")).status_code != 200:
                assert await ask(address, 1) == ["v1"]  # the other one serves
        rows = (await status(admin))["workers"]
        assert [row["restarts"] for row in rows] == [1, 0]
        assert rows[0]["pid"] != first
        assert rows[1]["pid"] == second
        metrics = (await get(admin, "/metrics")).text
        assert number(metrics, "canary_worker_restarts_total") == 1

        await process.ends(signal.SIGKILL)
        with trio.fail_after(40):
            while any(is_running(row["pid"]) for row in rows):
                await trio.sleep(0.02)


async def test_a_worker_that_hangs_is_replaced_and_told_of(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        process, address, admin = await start(made, "--worker-timeout", 3)
        first, second = (row["pid"] for row in (await status(admin))["workers"])
        os.kill(first, signal.SIGSTOP)
        await process.says(rf"worker 1 \(pid {first}\) gives no sign of life for 3 s")
        await process.says(r"worker 1 \(pid \d+\) was ended by SIGKILL")
        with trio.fail_after(40):
            while (await get(admin, "/ready")).status_code != 200:
                await trio.sleep(0.05)
        for _ in range(20):  # each a connection of its own, to either worker
            assert await ask(address, 1) == ["v1"]
        rows = (await status(admin))["workers"]
        assert [(row["hangs"], row["restarts"]) for row in rows] == [(1, 1), (0, 0)]
        assert rows[1]["pid"] == second
        metrics = (await get(admin, "/metrics")).text
        assert number(metrics, "canary_worker_hangs_total") == 1


async def test_a_port_that_is_taken_is_refused_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ("--bind", bind, "--admin", "127.0.0.1:0", "--workers", 2)
        ran = await run("canary", "serve", "web", *words, status=1)
    assert ran.err.startswith(
        f"canary: cannot listen on {bind}: Address already in use"
    )
    assert ran.err.count("\n") == 1


async def test_what_no_worker_can_do_is_said_once(tmp_path: Path) -> None:
    words = ("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", 2)
    log = tmp_path / "no" / "such" / "directory"
    ran = await run("canary", "serve", "web", *words, "--access-log", log, status=1)
    assert ran.err.count("cannot open the access log") == 1
    ran = await run("canary", "serve", "no/name", *words, status=1)
    assert ran.err.count("\n") == 1


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
