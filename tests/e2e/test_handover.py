"""Restarts: proxies in turn on one port, sockets handed down, and what is told of it."""

from __future__ import annotations

import signal
import socket
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from http_trio.testing.ports import free_port
from tests.e2e.handover import hand_over
from tests.e2e.manager import service_manager, until_the_end
from tests.e2e.processes import ask, run, world


async def test_proxies_in_turn_lose_no_request(tmp_path: Path) -> None:
    done, faults = await hand_over(tmp_path, 3, "edge")  # which has one name
    assert not faults, faults[:5]
    assert set(done) == {"kept", "new", "http2", "upload"}


async def test_no_client_meets_a_proxy_without_a_document(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        port, admin = free_port(), free_port()
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url),
            *("--bind", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"),
        )
        await process.says("waits for a document")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = f"http://127.0.0.1:{admin}/ready"
            assert (await client.get(ready)).status_code == 503
            told = await run("canary", "health", f"http://127.0.0.1:{admin}", status=1)
            assert "not ready: 503 no configuration yet" in told.err
            await made.canary("apply", made.write())
            await process.says("runs revision")
            assert (await client.get(ready)).status_code == 200
            await run("canary", "health", f"http://127.0.0.1:{admin}")
            assert await ask(f"127.0.0.1:{port}", 1) == ["v1"]
            process.process.send_signal(signal.SIGHUP)
            assert await ask(f"127.0.0.1:{port}", 1) == ["v1"]


async def test_a_lame_duck_says_so_and_serves(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        admin = free_port()
        process, address = await made.start_proxy(
            *("--lame-duck", 60, "--admin", f"127.0.0.1:{admin}")
        )
        process.process.send_signal(signal.SIGTERM)
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = f"http://127.0.0.1:{admin}/ready"
            with trio.fail_after(40):
                while (await client.get(ready)).status_code != 503:
                    await trio.sleep(0.01)
            response = await client.get(f"http://{address}/")
            assert (response.text, response.headers["connection"]) == ("v1", "close")
        await process.ends(signal.SIGTERM)  # a second one ends it at once


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_service_manager_hands_down_sockets_and_is_told(
    tmp_path: Path, workers: int
) -> None:
    """Its sockets outlive the service, whether one process serves or several."""
    async with world(tmp_path) as made:
        with (
            service_manager(tmp_path) as manager,
            socket.create_server(("127.0.0.1", 0)) as served,
            socket.create_server(("127.0.0.1", 0)) as admin,
        ):
            words = ("canary", "serve", "web", "--config-server", made.store_url)
            process = manager.start(
                *(*words, "--bootstrap", made.write(), "--workers", workers),
                sockets={"http": served, "admin": admin},
            )
            with until_the_end(process):
                assert b"is live" in manager.hears(b"READY=1")
                address, asked = (
                    "{}:{}".format(*sock.getsockname()) for sock in (served, admin)
                )
                for _ in range(10):
                    assert await ask(address, 1) == ["v1"]
                async with httpx.AsyncClient(trust_env=False) as client:
                    table = (await client.get(f"http://{asked}/status")).json()
                assert len(table.get("workers", [{}])) == workers
                assert table["arms"]["stable"]["requests"] == 10
                for _ in range(3):
                    manager.hears(b"WATCHDOG=1")
                process.send_signal(signal.SIGHUP)
                manager.hears(b"RELOADING=1")
                manager.hears(b"READY=1")
                said: list[str] = []

                async def change() -> None:
                    said.append((await made.canary("set", "ratio=0.5")).out)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(change)  # its socket holds ten messages
                    hears = partial(manager.hears, b"STATUS=revision ")
                    told = (await trio.to_thread.run_sync(hears)).decode()
                assert told.split()[1] == said[0].split()[1]
                process.send_signal(signal.SIGTERM)
                manager.hears(b"STOPPING=1")
                assert process.wait(20) == 0
                with socket.create_connection(served.getsockname()):
                    served.accept()[0].close()  # the next one will have it
