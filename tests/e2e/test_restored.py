"""A store that is restored from a backup under live proxies.

The numbers of a Consul and of an etcd begin again below those that proxies run; a kv-trio's
go on far above.

On each store: they run what it holds within seconds, however long their `update_rate` is;
a number that they ran before is never taken for the same one of now.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import pytest
import trio
import trio.testing

from canary_trio import Fleet, change, read_fleet, wait_applied
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource
from http_trio.testing.ports import free_port
from kv_trio import Client, KvError, KvServer, serve
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on
from tests.e2e.etcds import etcd, needs_etcd
from tests.e2e.processes import PATIENCE_S
from tests.e2e.test_sources import consul

CONSUL = os.environ.get("CONSUL") or shutil.which("consul")
SECONDS = 10.0
"""Within which a proxy runs what the store holds; its `update_rate` is ten times that."""


class Backup(Protocol):
    """What makes a backup of a store that runs, and brings it back."""

    url: str

    async def save(self) -> None:
        """Keep what the store holds."""

    async def restore(self) -> None:
        """Bring the store back to it."""


class OfConsul(Backup):
    def __init__(self, url: str) -> None:
        self.url, self._saved = url, b""

    async def save(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.get(f"{self.url}/v1/snapshot")
        self._saved = reply.raise_for_status().content

    async def restore(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as http:
            reply = await http.put(f"{self.url}/v1/snapshot", content=self._saved)
        reply.raise_for_status()


@asynccontextmanager
async def on_consul(path: Path) -> AsyncIterator[Backup]:
    with consul(path) as url:
        yield OfConsul(url)


@asynccontextmanager
async def on_etcd(path: Path) -> AsyncIterator[Backup]:
    """A copy of its directory, with the same cluster's id: as of a disk's snapshot."""
    with etcd(path) as store:
        await store.wait_ready()
        (member,) = store.members
        saved = path / "saved"

        class OfEtcd(Backup):
            url = store.url

            async def save(self) -> None:
                member.kill()
                shutil.copytree(member.directory, saved)
                member.start()
                await store.wait_ready()

            async def restore(self) -> None:
                member.kill()
                shutil.rmtree(member.directory)
                shutil.copytree(saved, member.directory)
                member.start()

        yield OfEtcd()


@asynccontextmanager
async def on_kv_trio(path: Path) -> AsyncIterator[Backup]:
    bind = f"127.0.0.1:{free_port()}"
    saved = path / "saved"
    async with trio.open_nursery() as nursery:

        async def start(data: Path) -> trio.CancelScope:
            scope = trio.CancelScope()
            started = trio.Event()

            async def run() -> None:
                with scope:
                    async with trio.open_nursery() as inner:
                        served = partial(serve, [bind], data=data)
                        server: KvServer = await inner.start(served)
                        assert server.url.endswith(bind)
                        started.set()

            nursery.start_soon(run)
            await started.wait()
            return scope

        first = await start(path / "data")

        class OfKvTrio(Backup):
            url = f"http://{bind}"
            scope = first

            async def save(self) -> None:
                saved.mkdir()
                async with Client(self.url) as client:
                    await client.back_up(saved / "kv.sqlite")

            async def restore(self) -> None:
                self.scope.cancel()
                await trio.testing.wait_all_tasks_blocked(0.05)
                self.scope = await start(saved)

        yield OfKvTrio()
        nursery.cancel_scope.cancel()


STORES = [
    pytest.param(on_kv_trio, id="kv-trio"),
    pytest.param(
        on_consul,
        id="consul",
        marks=pytest.mark.skipif(
            CONSUL is None,
            reason="no Consul; benchmarks/README.md tells how to get one",
        ),
    ),
    pytest.param(on_etcd, id="etcd", marks=needs_etcd),
]


@pytest.mark.parametrize("on_store", STORES)
async def test_a_restored_store_is_followed_and_its_numbers_are_not_believed(
    tmp_path: Path,
    on_store: Callable[[Path], AbstractAsyncContextManager[Backup]],
) -> None:
    async with on_store(tmp_path) as backup, open_source(backup.url) as source:
        await until_it_writes(source)
        options = {"proxy_id": "p", "bootstrap": None}
        with trio.fail_after(3 * PATIENCE_S):
            async with proxy_on(source, **options) as proxy:
                held = await set_ratio(source, 0.1)
                await backup.save()
                await wait_applied(source, "web", held)
                for share in (0.2, 0.3, 0.4):
                    await wait_applied(source, "web", await set_ratio(source, share))
                before = proxy.revision
                assert before > held

                await backup.restore()
                with trio.fail_after(SECONDS):
                    while proxy.config.shares["canary"] != 1_000:
                        await trio.sleep(0.02)
                    while not (fleet := await fleet_of(source)).is_applied:
                        await trio.sleep(0.02)
                assert proxy.revision == fleet.revision
                if (
                    fleet.revision < before
                ):  # a kv-trio's numbers go on above all others
                    assert fleet.revision == held
                    lost = await wait_applied(
                        source, "web", before, until=lambda fleet: fleet.is_lost
                    )
                    assert lost.revision == held
                after = await set_ratio(source, 0.5)
                with trio.fail_after(SECONDS):
                    await wait_applied(source, "web", after)
                assert proxy.config.shares["canary"] == 5_000


async def fleet_of(source: DocumentSource) -> Fleet:
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                return await read_fleet(source, "web", 0)
            except KvError:
                await trio.sleep(0.05)


async def set_ratio(source: DocumentSource, share: float) -> int:
    return await surely(lambda: change(source, "web", f"ratio={share}"))


async def surely(ask: Callable[[], Awaitable[int]]) -> int:
    """Ask until it is done: a store that was just restored may not take writes yet."""
    while True:
        try:
            return await ask()
        except KvError:
            await trio.sleep(0.05)


async def until_it_writes(source: DocumentSource) -> None:
    document = json.dumps({**DOCUMENT, "update_rate": 10 * SECONDS}).encode()
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                if (await source.put("canary/web/config", document)).done:
                    return
            except KvError:
                pass
            await trio.sleep(0.05)
