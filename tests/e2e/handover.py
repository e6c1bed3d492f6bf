"""Proxies in turn on one port, under load: no request may be lost, none reset.

Each is started while the one before it serves, and that one is asked to end when the new one
is ready. Clients of four kinds ask all the time: over connections that they keep, over new
ones, over HTTP/2, and with an upload that is slow.

    python -m tests.e2e.handover --rounds 50
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import trio

from http_trio import Limits
from http_trio.testing.ports import free_port
from tests.e2e.processes import Process, World, world

LAME_DUCK_S = 0.5
NOTICE_S = Limits().notice_s
UPLOAD = 20  # pieces, each after a pause


class Load:
    """Clients that ask until they are told to stop, and what went wrong."""

    def __init__(self, port: int, h2_port: int) -> None:
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._stop = False
        self._ask = {
            "kept": (self._kept, f"http://127.0.0.1:{port}/"),
            "new": (self._new, f"http://127.0.0.1:{port}/"),
            "http2": (self._http2, f"127.0.0.1:{h2_port}"),
            "upload": (self._upload, f"http://127.0.0.1:{port}/"),
        }

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with trio.open_nursery() as nursery:
            for kind, (ask, url) in self._ask.items():
                for _ in range(4):
                    nursery.start_soon(self._repeat, kind, ask, url)
            task_status.started()

    def stop(self) -> None:
        self._stop = True

    async def _repeat(
        self, kind: str, ask: Callable[[str, str], Awaitable[None]], url: str
    ) -> None:
        while not self._stop:
            try:
                await ask(kind, url)  # each request has 20 s
            except Exception as exc:  # each is a client that lost
                self.faults.append(f"{kind}: {type(exc).__name__}: {exc}")
                await trio.sleep(0.05)

    def _note(self, kind: str, status: int, text: str) -> None:
        self.done[kind] += 1
        if status != 200:
            self.faults.append(f"{kind}: {status} {text!r}")

    async def _kept(self, kind: str, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            last = trio.current_time()
            for _ in range(1000):
                try:
                    response = await client.get(url)
                except httpx.RemoteProtocolError:
                    if trio.current_time() - last < NOTICE_S:
                        raise
                    return  # it was we who were slow, and the connection let go as idle
                last = trio.current_time()
                self._note(kind, response.status_code, response.text)
                if self._stop:
                    return

    async def _new(self, kind: str, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            response = await client.get(url, headers={"Connection": "close"})
            self._note(kind, response.status_code, response.text)

    async def _http2(self, kind: str, url: str) -> None:
        """Ask over a new connection of HTTP/2, by curl.

        Over one that is kept, curl 7.88 and h2 4.4 (httpx) themselves fail the request that
        follows a GOAWAY, in place of sending it over another connection.
        """
        words = [
            "curl",
            "-sS",
            "--max-time",
            "20",
            "--http2-prior-knowledge",
            "-w",
            "%{http_code}",
        ]
        words += ["-o", "/dev/null", f"http://{url}/"]
        done = await trio.run_process(
            words, capture_stdout=True, capture_stderr=True, check=False
        )
        self._note(kind, int(done.stdout), done.stderr.decode())

    async def _upload(self, kind: str, url: str) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(UPLOAD):
                yield b"x" * 1000
                await trio.sleep(0.05)

        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            response = await client.post(url, content=pieces())
            self._note(kind, response.status_code, response.text)


async def start_proxy(
    made: World, port: int, h2_port: int, admin: int, name: str = ""
) -> Process:
    """Start one more proxy on the ports; give it when it serves."""
    process = await made.start(
        *("canary", "serve", "web", "--config-server", made.store_url),
        *("--bind", f"127.0.0.1:{port}", "--h2c-bind", f"127.0.0.1:{h2_port}"),
        *("--admin", f"127.0.0.1:{admin}", "--reuse-port"),
        *("--lame-duck", LAME_DUCK_S, "--drain", 10),
        *(("--id", name) if name else ()),
    )
    await process.says("runs revision")
    return process


async def hand_over(
    path: Path, rounds: int, name: str = ""
) -> tuple[Counter[str], list[str]]:
    """Let proxies follow each other, under one name if it is given.

    Give what was done, and what went wrong.
    """
    async with world(path) as made:
        await made.canary("apply", made.write())
        ports = free_port(), free_port(), free_port()
        serving = await start_proxy(made, *ports, name)
        load = Load(*ports[:2])
        async with trio.open_nursery() as nursery:
            await nursery.start(load.run)
            for _ in range(rounds):
                following = await start_proxy(made, *ports, name)
                serving.process.send_signal(signal.SIGTERM)
                with trio.fail_after(20):
                    status = await serving.process.wait()
                if status:
                    load.faults.append(f"it ended with {status}: {serving.output}")
                serving = following
            load.stop()
        said = await made.canary("set", "ratio=0", "--wait", 20)
        if "live on 1/1 proxies" not in said.out:
            load.faults.append(f"the fleet is not one proxy: {said}")
    return load.done, load.faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--id", default="", help="of all of them")
    given = parser.parse_args()
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory() as directory:
        done, faults = trio.run(hand_over, Path(directory), given.rounds, given.id)
    print(json.dumps({"rounds": given.rounds, "requests": done, "faults": len(faults)}))
    for fault in faults[:20]:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
