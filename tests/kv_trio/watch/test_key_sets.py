"""Requests for a change of any of many keys: who is woken, with what, and by what bounds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from kv_trio import Client, KvServer, StoreRefused, serve
from kv_trio.api.tokens import make_token
from kv_trio.limits import StoreLimits
from kv_trio.testing import in_memory_store


class Asker:
    """Asks a store about keys, as a client of any language would."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url

    async def ask(
        self, *keys: str, index: int = 0, wait: str = "5s", body: bytes | None = None
    ) -> tuple[dict[str, Any], int]:
        """Give what changed, by key (None for deleted), and the index."""
        query = f"?index={index}&wait={wait}" if index else ""
        content = json.dumps(keys).encode() if body is None else body
        reply = await self._http.post(f"{self._url}/v1/watch{query}", content=content)
        if reply.status_code != 200:
            raise StoreRefused(reply.status_code, reply.text)
        rows = {
            row["Key"]: None if row.get("Deleted") else row["Value"]
            for row in reply.json()
        }
        return rows, int(reply.headers["X-Consul-Index"])


async def test_what_is_there_comes_at_once_and_then_what_changes() -> None:
    async with in_memory_store() as client, httpx.AsyncClient() as http:
        asker = Asker(http, client.url)
        await client.put("a", b"1")
        await client.put("other", b"x")
        rows, index = await asker.ask("a", "b", "c")
        assert rows == {"a": "MQ=="}

        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def wait() -> None:
                found.append(await asker.ask("a", "b", "c", index=index))

            nursery.start_soon(wait)
            await trio.sleep(0.05)
            await client.put("other", b"y")
            await trio.sleep(0.05)
            assert not found, "none of its keys has changed"
            await client.put("b", b"2")
        rows, later = found[0]
        assert rows == {"b": "Mg=="}
        await client.delete("a")
        await client.put("c", b"3")
        rows, _ = await asker.ask("a", "b", "c", index=later)
        assert rows == {"a": None, "c": "Mw=="}


async def test_a_wait_ends_with_nothing_and_an_index_that_is_foreign_at_once() -> None:
    async with in_memory_store() as client, httpx.AsyncClient() as http:
        asker = Asker(http, client.url)
        await client.put("a", b"1")
        _, index = await asker.ask("a")
        assert (await asker.ask("a", index=index, wait="10ms"))[0] == {}
        with trio.fail_after(30):
            rows, back = await asker.ask("a", index=index + 1000, wait="60s")
        assert (rows, back) == ({"a": "MQ=="}, index)


@given(
    writes=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=12),
    asked_at=st.integers(0, 12),
)
def test_nothing_that_changed_is_missed(
    writes: list[tuple[str, bool]], asked_at: int
) -> None:
    async def run() -> None:
        async with in_memory_store() as client, httpx.AsyncClient() as http:
            asker = Asker(http, client.url)
            await client.put("first", b"x")
            known: dict[str, Any] = {}
            index = 0
            for number, (key, deletes) in enumerate(writes):
                if number == asked_at:
                    known, index = await asker.ask("a", "b", "c")
                if deletes:
                    await client.delete(key)
                else:
                    await client.put(key, b"%d" % number)
            rows, _ = await asker.ask("a", "b", "c", index=index, wait="1ms")
            if not index:
                known = {}
            known |= rows
            fresh, _ = await asker.ask("a", "b", "c")
            assert {k: v for k, v in known.items() if v is not None} == fresh

    trio.run(run)


async def test_those_who_ask_for_the_same_are_answered_with_one_look() -> None:
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(partial(serve, ["127.0.0.1:0"]))
        limits = httpx.Limits(max_connections=None)
        async with (
            Client(server.url) as client,
            httpx.AsyncClient(limits=limits) as http,
        ):
            asker = Asker(http, server.url)
            await client.put("k0", b"1")
            keys = [f"k{number}" for number in range(1000)]
            _, index = await asker.ask(*keys)
            found: list[Any] = []

            async def wait() -> None:
                found.append(await asker.ask(*keys, index=index))

            async with trio.open_nursery() as waiting:
                for _ in range(20):
                    waiting.start_soon(wait)
                while server.key_sets.waiting < 20:
                    await trio.sleep(0.01)
                assert server.key_sets.watched == 1000, "they are one group"
                await client.put("k7", b"2")
            assert len(found) == 20
            assert {tuple(rows) for rows, _ in found} == {("k7",)}
            assert server.key_sets.watched == 0
        nursery.cancel_scope.cancel()


BAD = [
    (b"", 400, "Failed to parse body"),
    (b"{}", 400, "expected a list of keys"),
    (b"[1]", 400, "expected a list of keys"),
    (b'[""]', 400, "expected a list of keys"),
    (b"[]", 400, "expected one key"),
    (b'["\\ud800"]', 400, "half a character"),
    (b'["a","b","c","d","e"]', 413, "more than 4 keys"),
    (b" " * 1_100_000, 413, "bytes of keys"),
]


@pytest.mark.parametrize(("body", "status", "told"), BAD)
async def test_what_is_no_list_of_keys(body: bytes, status: int, told: str) -> None:
    limits = StoreLimits(watched_keys=4)
    async with trio.open_nursery() as nursery:
        run = partial(serve, ["127.0.0.1:0"], store_limits=limits)
        server: KvServer = await nursery.start(run)
        async with httpx.AsyncClient() as http:
            with pytest.raises(StoreRefused, match=told) as caught:
                await Asker(http, server.url).ask(body=body)
        nursery.cancel_scope.cancel()
    assert caught.value.status == status


async def test_keys_that_are_waited_for_have_a_bound() -> None:
    limits = StoreLimits(watched_keys_in_all=3)
    async with trio.open_nursery() as nursery:
        run = partial(serve, ["127.0.0.1:0"], store_limits=limits)
        server: KvServer = await nursery.start(run)
        async with Client(server.url) as client, httpx.AsyncClient() as http:
            asker = Asker(http, server.url)
            await client.put("a", b"1")
            _, index = await asker.ask("a")
            with pytest.raises(StoreRefused, match="watched_keys_in_all") as caught:
                await asker.ask("a", "b", "c", "d", index=index)
            assert caught.value.status == 429
            assert (await asker.ask("a", "b", "c", index=index, wait="1ms"))[0] == {}
        nursery.cancel_scope.cancel()


async def test_rights_are_looked_at_key_by_key(tmp_path: Path) -> None:
    secret, lines = make_token("some", ["a/"], [])
    everything, more = make_token("all", [], [""])
    file = tmp_path / "tokens"
    file.write_text(lines + more)
    async with trio.open_nursery() as nursery:
        run = partial(serve, ["127.0.0.1:0"], tokens=file)
        server: KvServer = await nursery.start(run)
        async with (
            Client(server.url, token=everything) as client,
            httpx.AsyncClient(headers={"X-Consul-Token": secret}) as http,
            httpx.AsyncClient() as nobody,
        ):
            asker = Asker(http, server.url)
            await client.put("a/x", b"1")
            await client.put("b/x", b"1")
            rows, index = await asker.ask("a/x", "b/x")
            assert rows == {"a/x": "MQ=="}
            await client.put("b/x", b"2")
            assert (await asker.ask("a/x", "b/x", index=index, wait="1ms"))[0] == {}
            for one, keys in ((http, ("b/x",)), (nobody, ("a/x",))):
                with pytest.raises(StoreRefused) as caught:
                    await Asker(one, server.url).ask(*keys)
                assert caught.value.status == 403
        nursery.cancel_scope.cancel()
