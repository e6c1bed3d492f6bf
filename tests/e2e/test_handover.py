"""Restarts: proxies in turn on one port, sockets handed down, and what is told of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import trio

from http_trio.testing.ports import free_port
from tests.e2e.handover import hand_over
from tests.e2e.processes import BIN, ask, world


async def test_proxies_in_turn_lose_no_request(tmp_path: Path) -> None:
    done, faults = await hand_over(tmp_path, 3)
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
            await made.canary("apply", made.write())
            await process.says("runs revision")
            assert (await client.get(ready)).status_code == 200
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
            with trio.fail_after(5):
                while (await client.get(ready)).status_code != 503:
                    await trio.sleep(0.01)
            response = await client.get(f"http://{address}/")
            assert (response.text, response.headers["connection"]) == ("v1", "close")
        await process.ends(signal.SIGTERM)  # a second one ends it at once


async def test_a_service_manager_hands_down_sockets_and_is_told(tmp_path: Path) -> None:
    notify = tmp_path / "notify"
    async with world(tmp_path) as made:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
            socket.create_server(("127.0.0.1", 0)) as served,
            socket.create_server(("127.0.0.1", 0)) as admin,
        ):
            heard.bind(str(notify))
            heard.settimeout(20)
            code = (
                "import os, sys; a, b = map(int, sys.argv[1:3]);"
                "a, b = os.dup2(a, 50), os.dup2(b, 51); os.dup2(a, 3); os.dup2(b, 4);"
                "os.environ['LISTEN_PID'] = str(os.getpid());"
                "os.execv(sys.argv[3], sys.argv[3:])"
            )
            numbers = (served.fileno(), admin.fileno())
            process = subprocess.Popen(  # noqa: ASYNC220
                [
                    *(sys.executable, "-c", code, *map(str, numbers)),
                    *(str(BIN / "canary"), "serve", "web"),
                    *("--config-server", made.store_url),
                    *("--bootstrap", str(made.write())),
                ],
                pass_fds=numbers,
                env={
                    **os.environ,
                    "CANARY_STATE": str(tmp_path / "state"),
                    "NOTIFY_SOCKET": str(notify),
                    "WATCHDOG_USEC": "600000",
                    "LISTEN_FDS": "2",
                    "LISTEN_FDNAMES": "http:admin",
                },
            )
            try:
                told = [b""]
                while not told[-1].startswith(b"READY=1"):
                    told.append(heard.recv(4096))
                assert b"is live" in told[-1]
                host, port = served.getsockname()
                assert await ask(f"{host}:{port}", 1) == ["v1"]
                beats = [heard.recv(4096) for _ in range(3)]
                assert b"WATCHDOG=1" in beats
                process.send_signal(signal.SIGTERM)
                while not told[-1].startswith(b"STOPPING=1"):
                    told.append(heard.recv(4096))
                assert process.wait(20) == 0
                with socket.create_connection((host, port)):
                    served.accept()[0].close()  # the next one will have it
            finally:
                process.kill()
                process.wait()
