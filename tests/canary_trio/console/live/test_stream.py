"""The stream of a page: what comes at once, what comes at a change, and who is dropped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio import write_document
from canary_trio.console.live import desk, stream
from canary_trio.console.live.collecting import ServiceCollector
from canary_trio.console.live.stream import PER_CALLER, STREAMS, Streams
from http_trio import HttpServer
from http_trio.net.process import followed_file
from http_trio.testing.peers import RawClient, connected
from kv_trio import Client
from tests.canary_trio.support.consoles import DOCUMENT, served_console


class Follower:
    """A page that follows."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

    async def begin(self, query: str = "?service=web", *lines: bytes) -> bytes:
        await self._client.send(
            b"GET /api/v1/stream%b HTTP/1.0\r\nHost: a\r\n%b\r\n"
            % (query.encode(), b"".join(line + b"\r\n" for line in lines))
        )
        return await self._client.head()

    async def next(self, *kinds: str) -> tuple[str, Any]:
        """Give the next event of one of these kinds."""
        while True:
            block = (await self._client.until(b"\n\n")).decode()
            fields = dict(
                line.split(": ", 1) for line in block.split("\n") if ": " in line
            )
            if fields.get("event") in kinds:
                return fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def followed(
    directory: Path,
) -> AsyncIterator[tuple[HttpServer, Client, Follower]]:
    async with served_console(directory) as (server, store, _):
        await write_document(store, "web", DOCUMENT, over=0)
        async with connected(server) as client:
            yield server, store, Follower(client)


async def test_a_view_comes_at_once_and_at_each_change(tmp_path: Path) -> None:
    async with followed(tmp_path) as (_, store, follower):
        head = await follower.begin()
        _, first = await follower.next("view")
        over = first["revision"]
        await write_document(store, "web", {**DOCUMENT, "ratio": 0.7}, over=over)
        second = first
        while second["revision"] == over:
            _, second = await follower.next("view")
        while second["change"] is None:  # who made it comes a moment later
            _, second = await follower.next("view")
        _, numbers = await follower.next("traffic")

    assert b"text/event-stream" in head
    assert b"x-accel-buffering: no" in head.lower()
    assert [arm["asked"] for arm in second["arms"]] == [0.3, 0.7]
    assert second["change"]["changes"] == ["ratio: 0.1 → 0.7"]
    assert numbers.keys() < second.keys()


async def test_the_list_comes_without_a_service(tmp_path: Path) -> None:
    async with followed(tmp_path) as (_, store, follower):
        await follower.begin("")
        _, first = await follower.next("services")
        await write_document(store, "shop", DOCUMENT, over=0)
        _, second = await follower.next("services")

    assert [row["name"] for row in first["services"]] == ["web"]
    assert [row["name"] for row in second["services"]] == ["shop", "web"]


async def test_events_before_that_are_not_kept_are_said_to_be_gone(
    tmp_path: Path,
) -> None:
    async with followed(tmp_path) as (_, _, follower):
        await follower.begin("?service=web", b"Last-Event-ID: another.7")
        kind, said = await follower.next("reset", "event")

    assert (kind, said["after"]) == ("reset", "another.7")


async def test_a_service_that_goes_is_said_to_be_gone(tmp_path: Path) -> None:
    async with followed(tmp_path) as (_, store, follower):
        await follower.begin()
        await follower.next("view")
        await store.delete("canary/web/config")
        kind, _ = await follower.next("gone")

    assert kind == "gone"


async def test_what_nobody_looks_at_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "LINGER_S", 0.01)
    begun: list[str] = []
    ended = trio.Event()
    real = ServiceCollector.run

    async def run(self: Any) -> None:
        begun.append(self.service)
        try:
            await real(self)
        finally:
            ended.set()

    monkeypatch.setattr(ServiceCollector, "run", run)
    async with followed(tmp_path) as (server, _, follower):
        await follower.begin()
        await follower.next("view")
        async with connected(server) as other:
            second = Follower(other)
            await second.begin()
            await second.next("view")
        assert not ended.is_set()
        await follower._client.stream.aclose()
        await ended.wait()

    assert begun == ["web"]  # one, for both


async def test_a_sign_of_life_comes_where_nothing_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.01)
    async with followed(tmp_path) as (_, _, follower):
        await follower.begin("")
        await follower.next("services")
        assert await follower._client.until(b":\n\n") == b""


def test_streams_are_bounded_in_all_and_for_each_caller() -> None:
    streams = Streams()
    for _ in range(PER_CALLER):
        assert streams.why_not("anna") == ""
        streams.begin("anna")
    assert "of yours" in streams.why_not("anna")
    for number in range(STREAMS - PER_CALLER):
        streams.begin(str(number))
    assert "here already" in streams.why_not("other")
    streams.end("anna")
    assert streams.why_not("anna") == ""


async def test_streams_that_come_at_once_are_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(self: desk.Desk, found: desk.Collector) -> None:
        await come.wait()  # as where the store takes its time

    come, heads = trio.Event(), list[bytes]()
    monkeypatch.setattr(stream, "PER_CALLER", 2)
    monkeypatch.setattr(desk.Desk, "_wait_first", wait)

    async def follow(server: HttpServer) -> None:
        async with connected(server) as client:
            heads.append((await Follower(client).begin()).split()[1])
            if len(heads) == 3:  # those that are refused need not wait
                come.set()
            await ended.wait()

    ended = trio.Event()
    async with served_console(tmp_path) as (server, store, _):
        await write_document(store, "web", DOCUMENT, over=0)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(follow, server)
            with trio.move_on_after(5):
                await come.wait()
            come.set()
            while len(heads) < 5:
                await trio.sleep(0.01)
            ended.set()

    assert sorted(heads) == [b"200", b"200", b"429", b"429", b"429"]


async def test_a_stream_ends_with_the_token_of_who_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_file, "CHECK_S", 0.02)
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    async with served_console(tmp_path) as (server, store, secrets):
        await write_document(store, "web", DOCUMENT, over=0)
        async with connected(server) as client, connected(server) as other:
            shown = b"Authorization: Bearer %b" % secrets["bob"].encode()
            follower, stays = Follower(client), Follower(other)
            await follower.begin("?service=web", shown)
            await stays.begin("?service=web")
            await follower.next("view")
            (tmp_path / "admin.toml").write_text("")
            with trio.fail_after(5):
                while await client.stream.receive_some():
                    pass
            await write_document(store, "shop", DOCUMENT, over=0)
            await stays.next("traffic")
