"""The client against a real Consul, where there is one: `$CONSUL`, or on the path."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio

from canary_trio import Proxy
from http_trio.testing.ports import free_port
from kv_trio import Client, KvError, TxnOperation, live
from tests.canary_trio.control.driving.test_rollout_duty import takes_over
from tests.canary_trio.support.failing_canary import let_canary_fail
from tests.canary_trio.support.stored_proxy import proxy_on
from tests.e2e.processes import PATIENCE_S, run

CONSUL = os.environ.get("CONSUL") or shutil.which("consul")

pytestmark = pytest.mark.skipif(
    CONSUL is None, reason="no Consul; benchmarks/README.md tells how to get one"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    ports = {name: free_port() for name in ("server", "serf-lan")}
    words = [str(CONSUL), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={port}"]
    words += [f"-{name}-port={found}" for name, found in ports.items()]
    words += ["-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1"]
    words += ["-hcl", "disable_update_check = true"]
    log = (tmp_path_factory.mktemp("consul") / "log").open("wb")
    with log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url) as made:
        with trio.fail_after(PATIENCE_S):
            while not await ready(made):
                await trio.sleep(0.05)
        yield made
        await made.delete("", recurse=True)


async def ready(client: Client) -> bool:
    try:
        return (await client.put("ready", b"yes")).done
    except KvError:
        return False


async def test_keys_are_written_read_and_removed(client: Client) -> None:
    first = await client.put("a/b", b"1", cas=0, flags=7)
    late = await client.put("a/b", b"2", cas=0)
    next_ = await client.put("a/b", b"3", cas=first.index)

    snapshot = await client.get("a/b")
    assert (first.done, late.done, next_.done) == (True, False, True)
    assert snapshot.entry is not None
    assert (snapshot.entry.value, snapshot.entry.modify_index) == (b"3", next_.index)
    assert await client.keys("a/") == ("a/b",)
    assert [entry.key for entry in (await client.list("a/")).entries] == [b"a/b"]
    assert await client.delete("a/b", cas=next_.index)
    assert (await client.get("a/b")).entry is None


async def test_a_transaction_takes_effect_at_once(client: Client) -> None:
    done = await client.transact(
        [TxnOperation("set", "a", b"1"), TxnOperation("get", "a")]
    )
    failed = await client.transact(
        [TxnOperation("set", "b", b""), TxnOperation("get", "none")]
    )

    assert done.done
    assert done.results[1].value == b"1"
    assert not failed.done
    assert failed.failed[0].position == 1
    assert (await client.get("b")).entry is None


async def test_a_watch_gives_the_last_state(client: Client) -> None:
    async with client.watch("k") as states, trio.open_nursery() as nursery:
        assert (await anext(states)).entry is None
        seen: list[bytes] = []

        async def follow() -> None:
            async for state in states:
                assert state.entry is not None
                seen.append(state.entry.value)
                if seen[-1] == b"19":
                    return

        nursery.start_soon(follow)
        for n in range(20):
            await client.put("k", b"%d" % n)
    assert seen == sorted(set(seen), key=int)


async def test_a_lock_is_had_by_one(client: Client) -> None:
    holders = most = 0

    async def work() -> None:
        nonlocal holders, most
        async with client.lock("lock"):
            holders += 1
            most = max(most, holders)
            await trio.sleep(0.01)
            holders -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(work)
    assert most == 1


@attrs.frozen
class Rate:
    rate: int


async def test_a_live_value_follows_its_key(client: Client) -> None:
    await client.put("limits", b'{"rate": 1}')
    async with live(client, "limits", Rate) as limits:
        await client.put("limits", b'{"rate": 2}')
        assert await limits.changed() == Rate(2)


async def test_what_only_our_server_has_is_refused_clearly(client: Client) -> None:
    with pytest.raises(KvError, match="the store answered 40"):
        await client.compact()


async def test_a_rollout_goes_on_with_another_driver(client: Client) -> None:
    await takes_over(client)


async def test_the_secret_of_a_fleet_rotates_and_is_given_back(client: Client) -> None:
    asked = ("--config-server", client.url)
    key = "canary/web/secret"

    async def wait(count: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while len(secrets_of(one)) != count or secrets_of(one) != secrets_of(two):
                await trio.sleep(0.02)

    async with proxy_on(client) as one, proxy_on(client) as two:
        await wait(1)
        first = secrets_of(one)
        done = await run("canary", "secret", "rotate", "web", *asked)
        assert "the new secret signs from" in done.out
        await wait(2)
        assert secrets_of(one)[0] == first[0], "it signs before all proxies know it"
        await client.delete(key)
        with trio.fail_after(PATIENCE_S):
            while (entry := (await client.get(key)).entry) is None:
                await trio.sleep(0.02)
        assert base64.b64encode(first[0]) in entry.value
        assert (
            await run("canary", "secret", "rotate", "web", "--days", "0", *asked)
        ).out
        await wait(1)
        assert first[0] not in secrets_of(one)


def secrets_of(proxy: Proxy) -> tuple[bytes, ...]:
    live = proxy._view.runtime.live
    assert live is not None
    return live.router._secrets


async def test_a_rollout_of_a_canary_that_fails_is_aborted(client: Client) -> None:
    await let_canary_fail(client)
