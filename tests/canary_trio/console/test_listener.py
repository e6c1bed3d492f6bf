"""The console on a real admin listener: of a proxy, beside what was there before."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import trio

from canary_trio import ProxyOptions, serve, write_document
from http_trio.testing.peers import RawClient
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.consoles import DOCUMENT, SERVICE


async def ask(address: str, path: str, *lines: bytes) -> tuple[int, bytes, bytes]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        client = RawClient(stream)
        with trio.fail_after(20):
            head, body = await client.ask(path.encode(), *lines)
    return int(head.split()[1]), head, body


async def test_a_proxy_shows_itself_and_the_rest_of_its_listener_stays() -> None:
    async with in_memory_store() as store, trio.open_nursery() as nursery:
        await write_document(store, "web", DOCUMENT, over=0)
        options = ProxyOptions(
            config_server=store.url,
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            remember=False,
            proxy_id="one",
        )
        proxy = await nursery.start(partial(serve, "web", options))
        view: dict[str, Any] = {"live": 0}
        while not view["live"]:
            _, _, body = await ask(proxy.admin_url, SERVICE)
            view = json.loads(body)
        status, page, _ = await ask(proxy.admin_url, "/", b"Accept: text/html")
        plain, _, _ = await ask(proxy.admin_url, "/")
        old, _, _ = await ask(proxy.admin_url, "/status")
        index, head, _ = await ask(proxy.admin_url, "/console/")
        large, _, told = await ask(
            proxy.admin_url, f"{SERVICE}/preview", b"Content-Length: 99999999"
        )
        nursery.cancel_scope.cancel()

    (own,) = view["proxies"]
    assert (own["id"], own["here"], own["fault"]) == ("one", True, "")
    assert view["events"][-1]["kind"] == "change"
    assert (status, plain, old, index, large) == (307, 404, 200, 200, 413)
    assert b"location: /console/" in page.lower()
    assert b"Content-Security-Policy".lower() in head.lower()
    assert json.loads(told)["error"]


async def test_a_source_that_is_only_read_says_why(tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(json.dumps(DOCUMENT))
    async with trio.open_nursery() as nursery:
        options = ProxyOptions(
            config_server=f"file://{file}",
            binds=["127.0.0.1:0"],
            admin="127.0.0.1:0",
            remember=False,
            proxy_id="one",
        )
        proxy = await nursery.start(partial(serve, "web", options))
        view: dict[str, Any] = {"known": 0}
        while not view.get("known") or not view["revision"]:
            _, _, body = await ask(proxy.admin_url, SERVICE)
            view = json.loads(body)
        _, _, rows = await ask(proxy.admin_url, "/api/v1/services")
        status, _, _ = await ask(proxy.admin_url, f"{SERVICE}/history")
        nursery.cancel_scope.cancel()

    assert view["read_only"]
    assert view["live"] == 1
    assert [arm["asked"] for arm in view["arms"]] == [0.9, 0.1]
    (row,) = json.loads(rows)["services"]
    assert row["ratio"] == {"canary": 0.1}
    assert not json.loads(rows)["whole"]
    assert status == 409
