"""Drills of rollouts with real processes, on one store after the other: what has to hold.

kills     five steps; the proxy that drives is killed -9 after each of them
clocks    drivers whose clocks are two minutes off, either way
store     the store is gone for 30 s in a step (a Consul is stopped, since it keeps nothing)
slower    a canary that is 1.2 times slower is judged, and held back
abort     under load, again and again: 1 s after it the canary gets no new request
race      1,000 times promote --full and undo at once: one wins, the other one is told

CONSUL=/usr/bin/consul python -m tests.e2e.drills --store kv-trio --store consul
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import http_trio
from canary_trio.admin.asking.rollout_view import read_rollout
from canary_trio.control.changes.reading import read_document
from canary_trio.control.sources.source import KeyStore
from http_trio import Exchange, Response
from http_trio.testing.ports import free_port
from kv_trio import Client, EtcdClient, KvError
from tests.canary_trio.support.racing import promote_and_undo
from tests.e2e.etcds import ETCD, Etcd, etcd
from tests.e2e.processes import Process, World, connected_to, run
from tests.e2e.test_gateway import CONSUL

STORES = ("kv-trio", "consul", "etcd")
TAKEOVER_S = 13.0
ABORTED_S = 1.0
GONE_S = 30.0
LONG_S = 240.0
"""How long anything here may take."""

OFF = """
import sys, time
true, off_s = time.time, float(sys.argv.pop(1))
time.time = lambda: true() + off_s
sys.argv[0] = "canary"
from canary_health.commands import canary as main
main()
"""
"""The command, with a clock that is so many seconds off."""


@attrs.define(eq=False)
class Version:
    """A server: how long it takes, and when it was asked last."""

    median_s: float = 0.0
    asked: int = 0
    last_at: float = 0.0
    draw: random.Random = attrs.field(factory=lambda: random.Random(1))

    def __call__(self, exchange: Exchange) -> None:
        self.asked, self.last_at = self.asked + 1, trio.current_time()
        if self.median_s:
            takes_s = self.median_s * self.draw.lognormvariate(0, 0.5)
            exchange.park(takes_s, lambda ex: ex.respond(Response(200, b"it")))
        else:
            exchange.respond(Response(200, b"it"))


@attrs.define(eq=False)
class Place(World):
    """A world whose store is one of three kinds.

    Attributes:
        url: of its store.
        client: of its store, in this process.
        stop, go_on: what ends the store for a while, and lets it come back.
        stable, canary: the two versions.
        loads: requests that failed for their clients.
    """

    url: str = ""
    client: KeyStore = attrs.field(kw_only=True)
    stop: Callable[[], Awaitable[None]] = attrs.field(kw_only=True)
    go_on: Callable[[], Awaitable[None]] = attrs.field(kw_only=True)
    stable: Version = attrs.field(factory=Version)
    canary_version: Version = attrs.field(factory=Version)
    bad: list[str] = attrs.field(factory=list)

    @property
    def store_url(self) -> str:
        return self.url

    async def serve_versions(self) -> None:
        for name, version in (("v1", self.stable), ("v2", self.canary_version)):
            serving = partial(http_trio.serve, version, ["127.0.0.1:0"])
            server: http_trio.HttpServer = await self.nursery.start(serving)
            self.versions[name] = f"http://{server.addresses[0]}"

    async def begin(self, **rollout: Any) -> None:
        """Begin a rollout."""
        table = {"id": "v2", "slope": 1, **rollout}
        file = self.path / "rollout.json"
        file.write_text(json.dumps(table))
        words = ("start", "web", file, "--config-server", self.url, "--replace")
        await run("canary", "rollout", *words)

    async def told(self, *words: object) -> None:
        """Tell the rollout something."""
        told = (words[0], "web", *words[1:], "--config-server", self.url)
        await run("canary", "rollout", *told)

    async def reads(self, condition: Callable[[dict[str, Any]], object]) -> Any:
        """Wait until the rollout stands so; give how it does, and how long that took."""
        begun = trio.current_time()
        with trio.fail_after(LONG_S):
            while True:
                try:
                    found = await read_rollout(self.client, "web", time.time())
                    if condition(found):
                        return found, trio.current_time() - begun
                except KvError:
                    pass
                await trio.sleep(0.02)

    async def ask_on(self, address: str) -> None:
        """Ask, one request after another, until cancelled."""
        async with connected_to(address) as client:
            while True:
                head, _ = await client.ask()
                if not head.startswith(b"HTTP/1.1 200 "):
                    self.bad.append(head[:40].decode("latin-1"))


@asynccontextmanager
async def place(kind: str, path: Path) -> AsyncIterator[Place]:
    """Start a store and two versions."""
    async with trio.open_nursery() as nursery, _store(kind, path, nursery) as made:
        await made.serve_versions()
        yield made
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _store(kind: str, path: Path, nursery: trio.Nursery) -> AsyncIterator[Place]:
    if kind == "etcd":
        with etcd(path) as found:
            await found.wait_ready()
            async with EtcdClient(found.url) as other:
                yield _on_etcd(found, other, path, nursery)
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with Client(url) as client:
        if kind == "consul":
            async with _consul(port) as process:
                await _wait_writes(client)

                async def stop() -> None:
                    process.send_signal(signal.SIGSTOP)

                async def go_on() -> None:
                    process.send_signal(signal.SIGCONT)

                yield Place(
                    path, nursery, url=url, client=client, stop=stop, go_on=go_on
                )
            return
        bind = f"127.0.0.1:{port}"
        words = ("kv-trio", "serve", "--bind", bind, "--data", path / "kv")
        store = [await _start(nursery, path, *words)]

        async def kill() -> None:
            store[0].kill()

        async def start() -> None:
            store[0] = await _start(nursery, path, *words)

        await _wait_writes(client)
        yield Place(path, nursery, url=url, client=client, stop=kill, go_on=start)


def _on_etcd(
    found: Etcd, client: EtcdClient, path: Path, nursery: trio.Nursery
) -> Place:
    (member,) = found.members

    async def stop() -> None:
        await trio.to_thread.run_sync(member.kill)

    async def go_on() -> None:
        member.start()

    return Place(path, nursery, url=found.url, client=client, stop=stop, go_on=go_on)


async def _start(nursery: trio.Nursery, path: Path, *words: object) -> Process:
    return await World(path, nursery).start(*words)


@asynccontextmanager
async def _consul(port: int) -> AsyncIterator[trio.Process]:
    words = [str(CONSUL), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={port}"]
    others = ("dns", "grpc", "server", "serf-lan", "serf-wan")
    words += [f"-{name}-port={free_port()}" for name in others]
    quiet = subprocess.DEVNULL
    process = await trio.lowlevel.open_process(words, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _wait_writes(client: KeyStore) -> None:
    with trio.fail_after(60):
        while True:
            try:
                if (await client.put("ready", b"1")).done:
                    return
            except KvError:
                pass
            await trio.sleep(0.1)


# === the drills ===

Figures = dict[str, Any]
Condition = Callable[[dict[str, Any]], object]


def is_at(step: int, drivers: Container[str] | None = None) -> Condition:
    """Whether a rollout is at a step, and one of those drives it, if they are named."""
    return lambda found: (
        found["step"] == step
        and found["ratio"]
        and (drivers is None or found["driver"]["by"] in drivers)
    )


def is_driven_on(by: str) -> Condition:
    """Whether another one drives, or nobody needs to."""
    return lambda found: (
        found["driver"]["by"] not in ("", by) or found["phase"] == "done"
    )


async def kills(here: Place) -> Figures:
    """Kill who drives after each step; another one goes on, and each step comes once."""
    proxies: dict[str, Process] = {}
    for name in (f"p{n}" for n in range(7)):
        proxies[name], _ = await here.start_proxy("--id", name)
    shares = [0.01, 0.05, 0.25, 0.5, 1]
    await here.begin(steps=[{"ratio": one, "hold": 3} for one in shares])
    took, seen = [], []
    for step in range(5):
        found, _ = await here.reads(is_at(step, proxies))
        seen.append(found["ratio"])
        by = found["driver"]["by"]
        proxies.pop(by).kill()
        _, took_s = await here.reads(is_driven_on(by))
        took.append(round(took_s, 1))
    found, _ = await here.reads(lambda f: f["phase"] == "done")
    assert seen == shares, seen
    assert max(took) <= TAKEOVER_S, took
    return {"takeovers_s": took}


async def clocks(here: Place) -> Figures:
    """Let clocks be off; holds last as long as is written, and no longer."""
    here.write()
    figures: Figures = {}
    for off_s in (120, -120):
        async with trio.open_nursery() as nursery:
            words = ["serve", "web", "--config-server", here.url, "--bind"]
            words += ["127.0.0.1:0", "--bootstrap", str(here.path / "web.json")]
            words += ["--id", f"off{off_s}"]
            start = partial(
                trio.run_process,
                [sys.executable, "-c", OFF, str(off_s), *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            nursery.start_soon(start)
            with trio.fail_after(LONG_S):
                while (await here.client.get("canary/web/config")).entry is None:
                    await trio.sleep(0.05)
            held = []
            await here.begin(
                id=f"v{off_s}",
                steps=[{"ratio": one / 4, "hold": 3} for one in (1, 2, 3)],
            )
            for step in (1, 2):
                _, took_s = await here.reads(is_at(step))
                held.append(round(took_s, 1))
            await here.reads(lambda f: f["phase"] == "done")
            figures[f"{off_s:+} s: holds of 3 s took"] = held
            # from when the command had written, which is some later than the step
            assert 1.5 <= held[0] <= 8, held
            assert 2.5 <= held[1] <= 8, held
            await here.told("abort")
            nursery.cancel_scope.cancel()
    return figures


async def store(here: Place, gone_s: float = GONE_S) -> Figures:
    """Let the store be gone in a step: requests are served, and nothing moves but time."""
    _, address = await here.start_proxy("--id", "p")
    async with trio.open_nursery() as nursery:
        await here.begin(steps=[{"ratio": 0.5, "hold": None}, 1])
        before, _ = await here.reads(lambda f: f["phase"] == "waiting")
        nursery.start_soon(here.ask_on, address)
        await here.stop()
        asked = here.canary_version.asked
        await trio.sleep(gone_s)
        assert here.canary_version.asked > asked, "it is served by the last document"
        await here.go_on()
        after, back_s = await here.reads(lambda f: f["driver"]["by"] == "p")
        same = ("phase", "step", "ratio", "reason")
        assert [after[one] for one in same] == [before[one] for one in same]
        await here.told("promote")
        await here.reads(lambda f: f["phase"] == "done")
        nursery.cancel_scope.cancel()
    assert not here.bad, here.bad[:3]
    return {"gone_s": gone_s, "driven_again_s": round(back_s, 1)}


async def slower(here: Place) -> Figures:
    """Let the canary be 1.2 times slower: the judge holds it back."""
    found, took_s = await _compare(here, 1.2, requests=30_000)
    assert found["phase"] == "aborted", found
    assert found["reason"].startswith("regression: p"), found
    requests = found["verdict"]["requests"]
    return {"after_s": round(took_s, 1), "requests": requests, "by": found["reason"]}


async def equal(here: Place) -> Figures:
    """Let it be as quick: after as many requests as that takes it goes on."""
    found, took_s = await _compare(here, 1.0, requests=10_000)
    assert found["step"] == 1, found
    requests = found["verdict"]["requests"]
    return {"after_s": round(took_s, 1), "requests": requests}


async def _compare(
    here: Place, times: float, requests: int
) -> tuple[dict[str, Any], float]:
    """Let a canary take so many times as long; wait until it is stopped, or goes on."""
    here.stable.median_s, here.canary_version.median_s = 0.02, times * 0.02
    addresses = [(await here.start_proxy("--id", f"p{n}"))[1] for n in range(3)]
    async with trio.open_nursery() as nursery:
        for address in addresses * 8:
            nursery.start_soon(here.ask_on, address)
        judge = {"then": "abort", "requests": requests}
        await here.begin(steps=[{"ratio": 0.5, "hold": 5}, 1], judge=judge)
        found, took_s = await here.reads(lambda f: f["over"] or f["step"] == 1)
        nursery.cancel_scope.cancel()
    return found, took_s


async def abort(here: Place, rounds: int = 10) -> Figures:
    """Abort under load: on all proxies the canary gets no new request 1 s later."""
    addresses = [(await here.start_proxy("--id", f"p{n}"))[1] for n in range(3)]
    took = []
    async with trio.open_nursery() as nursery:
        for address in addresses * 4:
            nursery.start_soon(here.ask_on, address)
        await here.begin(steps=[{"ratio": 0.5, "hold": None}, 1])
        for _ in range(rounds):
            asked = here.canary_version.asked
            with trio.fail_after(LONG_S):
                while here.canary_version.asked < asked + 200:
                    await trio.sleep(0.01)
            aborted_at = trio.Event()
            at: list[float] = []

            async def watch(at: list[float], aborted_at: trio.Event) -> None:
                async with here.client.watch("canary/web/config") as states:
                    async for snapshot in states:
                        assert snapshot.entry is not None
                        table = json.loads(snapshot.entry.value)
                        if table["rollout"]["state"]["phase"] == "aborted":
                            at.append(trio.current_time())
                            aborted_at.set()
                            return

            nursery.start_soon(watch, at, aborted_at)
            await here.told("abort")
            await aborted_at.wait()
            await trio.sleep(2)
            took.append(round(max(0.0, here.canary_version.last_at - at[0]), 3))
            await here.told("retry")
        nursery.cancel_scope.cancel()
    assert max(took) <= ABORTED_S, took
    assert not here.bad, here.bad[:3]
    return {"last_request_after_s": took}


async def race(here: Place, times: int = 1000) -> Figures:
    """Let two commands be written at once, on a store that nobody drives."""
    told = await promote_and_undo(here.client, times)
    assert len(told) == times
    text, _ = await read_document(here.client, "web")
    return {"times": times, "last": "undo" if b"rollout" not in text else "promote"}


DRILLS: dict[str, Callable[[Place], Awaitable[Figures]]] = {
    one.__name__: one for one in (kills, clocks, store, slower, equal, abort, race)
}


async def do(kind: str, names: list[str]) -> int:
    """Do drills on a kind of store; give how many failed."""
    failed = 0
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            said: Figures
            try:
                async with place(kind, Path(directory)) as here:
                    said = await DRILLS[name](here)
            except* (AssertionError, trio.TooSlowError) as group:
                failed += 1
                said = {"FAILED": repr(group.exceptions)[:1000]}
        took_s = round(time.monotonic() - begun, 1)
        print(json.dumps({"store": kind, "drill": name, "took_s": took_s, **said}))
    return failed


def main() -> int:
    """Do what is asked for; all of it on the stores that are here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--drill", action="append", choices=list(DRILLS))
    given = parser.parse_args()
    here = {"kv-trio": True, "consul": CONSUL and shutil.which(CONSUL), "etcd": ETCD}
    failed = 0
    for kind in given.store or STORES:
        if here[kind]:
            failed += trio.run(do, kind, given.drill or list(DRILLS))
        else:
            print(json.dumps({"store": kind, "skipped": "there is none here"}))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
