"""The store over real sockets, and on a real disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from http_trio import BadBind
from http_trio.testing.peers import connected
from kv_trio import Client, KvServer, StoreRefused, serve
from kv_trio.serving import LIMITS
from kv_trio.state.entry import Outcome
from kv_trio.state.operations import Delete
from kv_trio.storage.engine import StorageEngine
from kv_trio.testing import in_memory_store


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with in_memory_store() as made:
        yield made


@pytest.fixture
async def server() -> AsyncIterator[KvServer]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, ["127.0.0.1:0"]))
        nursery.cancel_scope.cancel()


async def test_what_is_written_is_read(client: Client) -> None:
    written = await client.put("a/b", b"hello")
    snapshot = await client.get("a/b")

    assert written.done
    assert snapshot.entry is not None
    assert snapshot.entry.value == b"hello"
    assert snapshot.entry.modify_index == written.index == snapshot.index
    assert (await client.get("nothing")).entry is None
    assert await client.delete("a/b")
    assert (await client.list("a")).entries == ()


async def test_a_late_writer_is_refused(client: Client) -> None:
    first = await client.put("a", b"1", cas=0)
    late = await client.put("a", b"2", cas=0)
    next_ = await client.put("a", b"3", cas=first.index)

    assert (first.done, late.done, next_.done) == (True, False, True)
    assert late.index == first.index


async def test_a_blocking_read_ends_with_a_change_of_its_key_only(
    client: Client,
) -> None:
    index = (await client.put("a", b"1")).index
    seen: list[bytes] = []

    async def wait() -> None:
        snapshot = await client.get("a", index=index)
        assert snapshot.entry is not None
        seen.append(snapshot.entry.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await client.put("ab", b"other")
        await client.put("b", b"other")
        assert not seen
        await client.put("a", b"2")
    assert seen == [b"2"]


async def test_an_absent_key_can_be_waited_for(client: Client) -> None:
    index = (await client.get("later")).index
    async with trio.open_nursery() as nursery:
        await client.put("noise", b"")
        waiting = partial(client.get, "later", index=index)
        result: list[object] = []

        async def wait() -> None:
            result.append((await waiting()).entry)

        nursery.start_soon(wait)
        await client.put("more noise", b"")
        assert not result
        await client.put("later", b"here")
    assert result[0] is not None


async def test_the_first_change_of_a_store_is_not_missed(tmp_path: Path) -> None:
    """An empty store is at an index that no change has."""
    async with trio.open_nursery() as nursery:
        async with Client(await serving(nursery, tmp_path)) as client:
            index = (await client.get("first")).index
            await client.put("first", b"")
            with trio.fail_after(30):
                snapshot = await client.get("first", index=index)
        nursery.cancel_scope.cancel()
    assert snapshot.entry is not None
    assert snapshot.index > index


async def test_a_wait_ends_with_its_time(client: Client) -> None:
    index = (await client.put("a", b"1")).index
    with trio.fail_after(30):
        snapshot = await client.get("a", index=index, wait_s=0.05)
    assert snapshot.index == index


async def test_an_index_that_was_never_given_is_answered_at_once(
    client: Client,
) -> None:
    index = (await client.put("a", b"1")).index
    with trio.fail_after(30):
        snapshot = await client.get("a", index=index + 1000)
    assert snapshot.index == index


async def test_a_prefix_is_watched_through_a_delete(client: Client) -> None:
    await client.put("p/1", b"")
    await client.put("p/2", b"")
    index = (await client.list("p/")).index
    found: list[int] = []

    async def wait() -> None:
        listing = await client.list("p/", index=index)
        found.append(len(listing.entries))
        assert listing.index > index

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await client.put("q", b"")
        await client.delete("p/2")
    assert found == [1]


async def test_a_session_that_is_destroyed_takes_its_keys_along(client: Client) -> None:
    session = await client.create_session("me", 10, deletes=True)
    assert (await client.put("k", b"x", acquire=session)).done
    assert await client.renew_session(session)
    await client.destroy_session(session)

    assert (await client.get("k")).entry is None
    assert not await client.renew_session(session)


async def test_too_large_a_value_is_413(client: Client) -> None:
    assert (await client.put("fits", b"x" * 524288)).done
    with pytest.raises(StoreRefused, match="too large") as caught:
        await client.put("k", b"x" * 524289)
    assert caught.value.status == 413


async def serving(nursery: trio.Nursery, data: Path) -> str:
    server = await nursery.start(partial(serve, ["127.0.0.1:0"], data=data))
    url: str = server.url
    return url


async def test_the_index_goes_on_after_a_restart(tmp_path: Path) -> None:
    indexes: list[int] = []
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, tmp_path)
            async with Client(url) as client:
                indexes.append((await client.put("k", b"%d" % len(indexes))).index)
                await client.delete("k")
            nursery.cancel_scope.cancel()
    assert indexes == [2, 4, 6]


async def test_too_many_connections_get_a_429() -> None:
    limits = attrs.evolve(LIMITS, connections=1)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"], limits=limits))
        async with connected(server._server) as one, connected(server._server) as two:
            index = (await one.ask(b"/v1/kv/k"))[0]
            assert b"X-Consul-Index: " in index
            now = index.partition(b"X-Consul-Index: ")[2].split(b"\r\n")[0]
            wait = b"GET /v1/kv/k?wait=30s&index=%b HTTP/1.1\r\nHost: kv\r\n\r\n" % now
            await one.send(wait)  # a watcher is not idle
            head, body = await two.response()
        nursery.cancel_scope.cancel()
    assert head.startswith(b"HTTP/1.1 429")
    assert b"too many connections" in body


async def test_a_body_in_chunks_obeys_the_limit_of_a_value(server: KvServer) -> None:
    chunk = b"%x\r\n%b\r\n" % (65536, bytes(65536))
    async with connected(server._server) as client:
        await client.send(
            b"PUT /v1/kv/k HTTP/1.1\r\nHost: kv\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunk * 9
        )
        assert (await client.head()).startswith(b"HTTP/1.1 413")
    assert server.store.get(b"k") is None


ODD_BODIES = [
    (b"/v1/session/create", b'{"Name": "\\ud800"}'),
    (b"/v1/session/create", b'{"Checks": 5}'),
    (b"/v1/session/create", b'{"ServiceChecks": [1]}'),
    (b"/v1/session/create", b'{"LockDelay": 1e999}'),
    (b"/v1/session/create", b'{"LockDelay": %b}' % (b"9" * 5000)),
    (b"/v1/session/create", b'{"LockDelay": "%bh"}' % (b"9" * 400)),
    (b"/v1/session/create", b"[" * 10_000),
    (b"/v1/txn", b'[{"KV": {"Verb": "set", "Key": "\\udfff"}}]'),
    (b"/v1/txn", b'[{"KV": {"Verb": "\\ud800", "Key": "a"}}]'),
    (b"/v1/txn", b'[{"KV": {"Verb": "set", "Key": "a", "Flags": -0.0}}]'),
    (b"/v1/txn", b'[{"KV": {"Verb": "set", "Key": "a", "Index": Infinity}}]'),
    (b"/v1/txn", b"[" * 100_000),
    (b"/v1/txn", b"9" * 5000),
]


async def test_odd_bodies_are_refused_and_the_store_opens_again(tmp_path: Path) -> None:
    def stand(server: KvServer) -> tuple[object, ...]:
        return server.store.under(b""), dict(server.store.sessions), server.store.index

    start = partial(serve, ["127.0.0.1:0"], data=tmp_path)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        async with connected(server) as client:
            await client.ask(b"/v1/kv/a", method=b"PUT", body=b"1")
            await client.ask(
                b"/v1/session/create", method=b"PUT", body=b'{"LockDelay": -0.0}'
            )
            before = stand(server)
            for path, body in ODD_BODIES:
                head, text = await client.ask(path, method=b"PUT", body=body)
                assert head[9:12] in (b"400", b"413"), (path, body[:80], head, text)
                assert text
            head, _ = await client.ask(b"/v1/session/list")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert stand(server) == before
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        assert stand(await nursery.start(start)) == before
        nursery.cancel_scope.cancel()


async def test_a_fault_of_ours_is_a_500_and_the_store_goes_on(
    server: KvServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Outcome:
        raise TypeError("nobody foresaw this")

    async with connected(server._server) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Delete, "apply_to", fail)
            head, text = await client.ask(b"/v1/kv/a", method=b"DELETE")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"its log says why" in text
        assert len(caplog.records) == 1
        _, written = await client.ask(b"/v1/kv/a", method=b"PUT", body=b"1")
        assert written == b"true"


async def test_a_compaction_that_fails_does_not_end_the_store(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: StorageEngine) -> int:
        raise OSError("too many open files")

    monkeypatch.setattr(StorageEngine, "compact_old", fail)
    async with in_memory_store() as client:
        assert (await client.put("a", b"1")).done
    assert "the history is not compacted" in caplog.text


@pytest.mark.parametrize("in_memory", [False, True])
async def test_two_stores_on_one_port_with_data_of_their_own_are_refused(
    tmp_path: Path, *, in_memory: bool
) -> None:
    """Clients would meet either of them by chance."""
    start = partial(serve, ["127.0.0.1:0"], reuse_port=True)
    async with trio.open_nursery() as nursery:
        data = (None, None) if in_memory else (tmp_path / "1", tmp_path / "2")
        server: KvServer = await nursery.start(partial(start, data=data[0]))
        with pytest.raises(BadBind, match="other data listens there, too"):
            await serve(server.addresses, reuse_port=True, data=data[1])
        nursery.cancel_scope.cancel()


async def test_who_waits_for_a_directory_serves_what_was_written_before(
    tmp_path: Path,
) -> None:
    waiting = trio.Event()
    followed: list[KvServer] = []

    async def follow() -> None:
        following: KvServer = await nursery.start(
            partial(
                serve,
                first.addresses,
                data=tmp_path,
                reuse_port=True,
                wait_s=10.0,
                on_waiting=waiting.set,
            )
        )
        followed.append(following)

    async with trio.open_nursery() as nursery:
        start = partial(serve, ["127.0.0.1:0"], data=tmp_path, reuse_port=True)
        first: KvServer = await nursery.start(start)
        async with Client(first.url) as client, trio.open_nursery() as beside:
            index = (await client.put("a", b"1")).index
            beside.start_soon(follow)
            await waiting.wait()
            first.drain()
            with trio.fail_after(30):
                found = await client.get("a", index=index - 1)  # by either of them
                assert found.entry is not None
        assert [one.addresses for one in followed] == [first.addresses]
        nursery.cancel_scope.cancel()
