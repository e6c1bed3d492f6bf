"""A service that leaves a gateway while something of it is going on, or fails in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio import Proxy
from canary_trio.proxy.runtime import Runtime
from canary_trio.serving.gateway import Gateway
from canary_trio.serving.hosted_service import HostedService
from canary_trio.testing import url_of
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.serving.test_gateway import (
    PATIENCE_S,
    document,
    echo,
    eventually,
    gateway_on,
    table,
    write,
)

ONE = {"host": "one.org", "service": "one"}
TWO = {"host": "two.org", "service": "two"}


def files_of(directory: Path, name: str = "*") -> list[Path]:
    return list(directory.rglob(f"{name}.json"))


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.01)


def gateway_of(proxy: Proxy) -> Gateway:
    gateway = proxy._view.gateway
    assert isinstance(gateway, Gateway)
    return gateway


async def test_what_is_built_late_is_not_remembered_of_a_service_that_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building, go_on = trio.Event(), trio.Event()
    build = Runtime.build

    async def slowly(self: Runtime, *given: Any, **named: Any) -> Any:
        if self.service == "two" and self.live is not None:
            building.set()
            await go_on.wait()
        return await build(self, *given, **named)

    monkeypatch.setattr(Runtime, "build", slowly)
    kept: dict[str, Any] = {"remember": True, "state": tmp_path}
    async with fake_upstream(echo) as up, in_memory_store() as client:
        for name in ("one", "two"):
            await write(client, name, document(url_of(up)))
        await write(client, "@edge", table(ONE, TWO))
        async with gateway_on(client, **kept) as proxy:
            await until(lambda: len(files_of(tmp_path)) == 3)
            hosted = gateway_of(proxy).services["two"]
            await write(client, "two", document(url_of(up)) | {"ratio": 1})
            await building.wait()
            await write(client, "@edge", table(ONE))
            await until(lambda: hosted.closed)
            await until(lambda: not files_of(tmp_path, "two"))
            go_on.set()
            await until(lambda: not hosted.busy)
            memory = gateway_of(proxy)._memory
            assert memory is not None
            await until(lambda: not memory._latest)
            await write(client, "one", document(url_of(up)) | {"ratio": 1})
            await until(lambda: gateway_of(proxy).services["one"].runtime.live)
        assert not files_of(tmp_path, "two"), "it has the secret"
        assert not await client.keys("canary/two/proxies/")


async def test_what_nobody_foresaw_holds_up_no_other_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take, failures = HostedService.take, 0

    async def fail(self: HostedService, *given: Any) -> None:
        nonlocal failures
        if self.name == "two" and failures < 2:
            failures += 1
            raise RuntimeError("nobody foresaw this")
        await take(self, *given)

    monkeypatch.setattr(HostedService, "take", fail)
    async with fake_upstream(echo) as up, in_memory_store() as client:
        for name in ("one", "two"):
            await write(client, name, document(url_of(up)))
        await write(client, "@edge", table(ONE, TWO))
        async with gateway_on(client) as proxy:  # or it would never be ready
            await eventually(proxy, "one.org", 200)
            await eventually(proxy, "two.org", 200)
    assert failures == 2
    assert caplog.text.count("service failed, and goes on") == 1


async def endless(asked: ReceivedRequest) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await asked.stream.send_all(head + b"2\r\nhi\r\n")
    await trio.sleep_forever()


Act = Callable[[Client, Proxy], Awaitable[None]]


async def long_response(change: str, act: Act) -> None:
    """Have a response without an end of a service, and act."""
    rule = {"connections": {"change": change, "time": 0.05}}
    async with fake_upstream(endless) as up, in_memory_store() as client:
        for name in ("one", "two"):
            await write(client, name, document(url_of(up)) | rule)
        await write(client, "@edge", table(ONE, TWO))
        async with gateway_on(client) as proxy:
            assert proxy._view.server is not None
            async with connected(proxy._view.server) as raw:
                await raw.send(b"GET / HTTP/1.1\r\nHost: two.org\r\n\r\n")
                await raw.until(b"hi")
                await act(client, proxy)


@pytest.mark.parametrize("change", ["recall", "drain"])
async def test_long_connections_of_a_service_that_left_are_ended(change: str) -> None:
    async def leave(client: Client, proxy: Proxy) -> None:
        hosted = gateway_of(proxy).services["two"]
        await write(client, "@edge", table(ONE))
        await until(lambda: hosted.closed)
        assert not hosted.runtime.is_busy

    await long_response(change, leave)


async def test_by_default_they_are_let_end() -> None:
    async def leave(client: Client, proxy: Proxy) -> None:
        hosted = gateway_of(proxy).services["two"]
        await write(client, "@edge", table(ONE))
        await until(lambda: set(gateway_of(proxy).services) == {"one"})
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert not hosted.closed
        assert hosted.runtime.is_busy

    await long_response("keep", leave)


async def test_those_of_a_service_that_is_back_in_time_are_let_be() -> None:
    async def leave(client: Client, proxy: Proxy) -> None:
        gateway = gateway_of(proxy)
        long = gateway.services["two"].view.long_connections
        assert long is not None
        await long.leave()
        assert long.leaving == 1
        long.stay()
        await until(lambda: long.leaving == 0)
        assert long.recalled == 0

    await long_response("recall", leave)


async def test_one_that_is_back_before_it_began_to_leave_is_let_be() -> None:
    async def leave(client: Client, proxy: Proxy) -> None:
        gateway = gateway_of(proxy)
        hosted = gateway.services["two"]
        long = hosted.view.long_connections
        assert long is not None
        await gateway._drop_later(hosted)
        assert long.leaving == 0
        assert not hosted.closed

    await long_response("recall", leave)
