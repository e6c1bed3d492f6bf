"""Two gateways and a proxy of one service, as processes: on kv-trio, and on a Consul."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from http_trio.testing.ports import free_port
from kv_trio import Client
from tests.e2e.processes import Ran, World, run, running, world

ROUTES = [
    {"host": "shop.org", "service": "shop"},
    {"host": "blog.org", "path_prefix": "/b", "service": "blog", "strip_prefix": True},
]


@asynccontextmanager
async def gateway(
    here: World, store: str, number: int, *more: str
) -> AsyncIterator[tuple[str, str]]:
    """Run a gateway; give its address, and its admin's."""
    bind, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    words = ["canary", "serve", "@edge", "--bind", bind, "--admin", admin]
    words += ["--id", f"edge{number}", "--config-server", store, *more]
    async with running(*words, state=here.path / f"edge{number}") as process:
        await process.says("live")
        yield bind, admin


async def write(here: World, store: str, name: str, document: dict[str, Any]) -> None:
    file = here.path / "given.json"
    await trio.Path(file).write_text(json.dumps(document))
    await run("canary", "apply", name, file, "--config-server", store)


async def status_of(address: str, host: str, path: str = "/") -> int:
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"http://{address}{path}", headers={"Host": host})
    return reply.status_code


async def becomes(status: int, address: str, host: str, path: str = "/") -> None:
    with trio.fail_after(40):
        while await status_of(address, host, path) != status:
            await trio.sleep(0.05)


async def the_story(here: World, store: str) -> None:
    """Changes, a broken document, a service that comes and one that goes."""
    document = here.document()
    for name in ("shop", "blog"):
        await write(here, store, name, document)
    await write(here, store, "@edge", {"routes": ROUTES})
    one = ["canary", "serve", "shop", "--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    one += ["--id", "one", "--config-server", store]
    async with (
        gateway(here, store, 1) as (first, _),
        gateway(here, store, 2, "--workers", "2") as (second, _),
        running(*one, state=here.path / "one") as proxy,
    ):
        await proxy.says("live")

        async def change(*words: str) -> Ran:
            return await run("canary", *words, "--config-server", store)

        assert await status_of(first, "shop.org") == 200
        assert await status_of(second, "blog.org", "/b/x") == 200
        assert await status_of(first, "nobody.org") == 404
        wait = ("--wait", "40", "--expect", "4")
        ran = await change("set", "shop", "ratio=0.2", *wait)
        assert "live on 4/4 proxies" in ran.out, "two gateways, one of two workers"
        ran = await change("set", "@edge", "update_rate=20", "--wait", "40")
        assert "live on 3/3 proxies" in ran.out

        ran = await change("services", "--json")
        found = json.loads(ran.out)
        assert {p["id"] for p in found["shop"]["proxies"]} == {
            *("edge1", "edge2.1", "edge2.2", "one"),
        }
        assert found["@edge"]["routes"][1]["target"] == "blog"
        assert "blog.org /b -> blog" in (await change("services")).out
        ran = await change("explain", "@edge", "--host", "blog.org", "/b/x")
        assert ran.out.startswith("route blog.org/b: service blog, as /x\n")

        async with httpx.AsyncClient() as http:
            await http.put(f"{store}/v1/kv/canary/blog/config", content=b"broken")
        await write(here, store, "new", document)
        added = [*ROUTES, {"host": "new.org", "service": "new"}]
        await write(here, store, "@edge", {"routes": added})
        for address in (first, second):
            await becomes(200, address, "new.org")
            assert await status_of(address, "blog.org", "/b") == 200, (
                "the last good one"
            )
        await write(here, store, "@edge", {"routes": added[::2]})
        for address in (first, second):
            await becomes(404, address, "blog.org", "/b")
        proxy.process.kill()
        await end_session(store, "canary/shop/proxies/one")
        ran = await change("status", "shop")
        assert "live on 3/3 proxies" in ran.out
        assert re.search(r"^  one  \S+  last seen a moment ago$", ran.out, re.MULTILINE)


async def end_session(store: str, key: str) -> None:
    """End the session that holds a key, as time would in the end."""
    async with Client(store) as client:
        entry = (await client.get(key)).entry
        assert entry is not None
        assert entry.session is not None
        await client.destroy_session(entry.session)


CONSUL = os.environ.get("CONSUL") or shutil.which("consul")


@asynccontextmanager
async def consul() -> AsyncIterator[str]:
    """Run a Consul; give its URL when it takes writes."""
    port = free_port()
    words = [str(CONSUL), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={port}"]
    others = ("dns", "grpc", "server", "serf-lan", "serf-wan")
    words += [f"-{name}-port={free_port()}" for name in others]
    process = await trio.lowlevel.open_process(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as http:
            with trio.fail_after(60):
                while not await _takes_writes(http, url):
                    await trio.sleep(0.1)
        yield url
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _takes_writes(http: httpx.AsyncClient, url: str) -> bool:
    try:
        reply = await http.put(f"{url}/v1/kv/ready", content=b"1")
    except httpx.HTTPError:
        return False
    return reply.text.strip() == "true"


async def test_the_story_on_a_kv_trio(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await the_story(here, here.store_url)


@pytest.mark.skipif(
    CONSUL is None, reason="no Consul; benchmarks/README.md tells how to get one"
)
async def test_the_story_on_a_consul(tmp_path: Path) -> None:
    async with world(tmp_path) as here, consul() as store:
        await the_story(here, store)
