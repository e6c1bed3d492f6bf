"""`/events`: each event once, in order, whoever comes back; few readers, and no slow one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from canary_trio.admin import event_pages
from canary_trio.admin.event_pages import EventPages, follow_events
from canary_trio.command.process import merged_events
from canary_trio.command.process.merged_events import follow_workers
from canary_trio.telemetry.events import KEPT, EventKind, Events
from http_trio import HttpServer
from http_trio.testing.peers import connected, serving


@asynccontextmanager
async def pages(
    events: Events, life: str = "a1", **where: Any
) -> AsyncIterator[HttpServer]:
    async with serving(EventPages(follow_events(events, life)), **where) as server:
        yield server


@asynccontextmanager
async def reading(server: HttpServer, after: str | None = None) -> AsyncIterator[Any]:
    """Read a stream of HTTP/1.0, which has no chunks; give what gives the next event."""
    async with connected(server) as client:
        line = "" if after is None else f"Last-Event-ID: {after}\r\n"
        await client.send(f"GET /events HTTP/1.0\r\nHost: a\r\n{line}\r\n".encode())
        await client.until(b"retry: 1000\n\n")

        async def take() -> dict[str, str]:
            with trio.fail_after(30):
                while True:
                    block = (await client.until(b"\n\n")).decode()
                    if "event: " in block:
                        return dict(line.split(": ", 1) for line in block.split("\n"))

        yield take


def tell(events: Events, *numbers: int) -> None:
    for number in numbers:
        events.tell(EventKind.CHANGE, f"number {number}", revision=number)


async def settled(client: int, page: EventPages) -> None:
    with trio.fail_after(30):
        while len(page._open) != client:
            await trio.sleep(0.01)


async def test_what_happens_is_told_as_it_happens() -> None:
    events = Events()
    tell(events, 1)
    async with pages(events) as server, reading(server) as take:
        tell(events, 2, 3)
        for number in (2, 3):
            event = await take()
            assert (event["id"], event["event"]) == (f"a1.{number}", "change")
            assert json.loads(event["data"])["revision"] == number


@pytest.mark.parametrize("seen", range(4))
async def test_who_comes_back_gets_each_event_once(seen: int) -> None:
    events = Events()
    tell(events, 1, 2, 3)
    after = f"a1.{seen}" if seen else "0"
    async with pages(events) as server, reading(server, after) as take:
        tell(events, 4)
        found = [(await take())["id"] for _ in range(seen + 1, 5)]
        assert found == [f"a1.{number}" for number in range(seen + 1, 5)]


@pytest.mark.parametrize("after", ["b2.1", "a1.9", "odd", "a1.-1", "a1." + "9" * 99])
async def test_who_comes_from_another_life_begins_anew(after: str) -> None:
    events = Events()
    tell(events, 1)
    async with pages(events) as server, reading(server, after) as take:
        assert (await take())["event"] == "reset"
        assert (await take())["id"] == "a1.1"


async def test_what_is_not_kept_any_more_is_said_so() -> None:
    events = Events()
    tell(events, *range(KEPT + 9))
    async with pages(events) as server, reading(server, "a1.3") as take:
        assert (await take())["event"] == "reset"
        assert (await take())["id"] == "a1.10"


async def test_there_are_few_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pages, "STREAMS", 2)
    page = EventPages(follow_events(Events(), "a1"))
    async with serving(page) as server:
        async with reading(server), reading(server), connected(server) as third:
            head, body = await third.ask(b"/events")
            assert head.startswith(b"HTTP/1.1 503")
            assert body == b"2 readers of /events are here already, and no more may\n"
        await settled(0, page)
        async with reading(server):
            assert len(page._open) == 1


async def test_a_reader_that_is_too_slow_is_told_so_and_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_pages, "BEHIND", 1000)
    events = Events()
    page = EventPages(follow_events(events, "a1"))
    async with serving(page) as server, connected(server) as client:
        await client.send(b"GET /events HTTP/1.0\r\nHost: a\r\n\r\n")
        await client.until(b"retry: 1000\n\n")
        with trio.fail_after(30):
            while page._open:
                events.tell(EventKind.CHANGE, "x" * 100_000)
                await trio.lowlevel.checkpoint()
        data = await client.to_end()

    assert b"\n\nevent: dropped\ndata: " in data
    assert data.endswith(b"\n\n")


async def test_a_stream_where_nothing_happens_gives_signs_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_pages, "HEARTBEAT_S", 0.05)
    async with pages(Events()) as server, connected(server) as client:
        await client.send(b"GET /events HTTP/1.0\r\nHost: a\r\n\r\n")
        await client.until(b"retry: 1000\n\n")
        with trio.fail_after(30):
            assert await client.until(b"\n\n") == b"id: a1.0"
            for _ in range(2):
                assert await client.until(b"\n\n") == b":"


async def test_workers_are_one_stream_that_goes_on_in_all_of_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged_events, "AGAIN_S", 0.02)
    workers = {number: (Events(), tmp_path / f"{number}.sock") for number in (1, 2)}
    paths = {number: str(path) for number, (_, path) in workers.items()}
    page = EventPages(follow_workers(lambda: paths))
    one, two = workers[1][0], workers[2][0]
    async with (
        pages(one, "a1", bind=f"unix:{paths[1]}"),
        pages(two, "b2", bind=f"unix:{paths[2]}"),
        serving(page) as server,
    ):
        tell(one, 1)
        tell(two, 1)
        async with reading(server, "1=a1.0,2=b2.0") as take:
            found = {}
            for _ in range(2):
                event = await take()
                found[json.loads(event["data"])["worker"]] = event["id"]
        assert sorted(found) == [1, 2]
        last = "1=a1.1,2=b2.1"
        assert last in found.values()

        tell(two, 2)
        async with reading(server, last) as take:
            event = await take()
            assert event["id"] == "1=a1.1,2=b2.2"
            assert json.loads(event["data"])["message"] == "number 2"


@pytest.mark.parametrize("after", [None, "0", "odd", "1=a1.1", "1=a1.1,2=b2.1"])
async def test_of_workers_nothing_is_lost_whatever_the_place(
    tmp_path: Any, after: str | None
) -> None:
    """From now on without an id, all with 0, and after a place that lacks a worker."""
    workers = {number: (Events(), tmp_path / f"{number}.sock") for number in (1, 2)}
    paths = {number: str(path) for number, (_, path) in workers.items()}
    page = EventPages(follow_workers(lambda: paths))
    for events, _ in workers.values():
        tell(events, 1)
    async with (
        pages(workers[1][0], "a1", bind=f"unix:{paths[1]}"),
        pages(workers[2][0], "b2", bind=f"unix:{paths[2]}"),
        serving(page) as server,
    ):
        if after is None:
            async with connected(server) as client:
                await client.send(b"GET /events HTTP/1.0\r\nHost: a\r\n\r\n")
                await client.until(b"id: 1=a1.1,2=b2.1\n\n")
            after = "1=a1.1,2=b2.1"  # nothing happened, and it is known where it was
        for events, _ in workers.values():
            tell(events, 2)
        wanted = {"0": 4, "odd": 6, "1=a1.1": 4}.get(after, 2)
        found = set()
        async with reading(server, after) as take:
            for _ in range(wanted):
                event = await take()
                shown = json.loads(event["data"])
                found.add((shown["worker"], event["event"], shown.get("number")))
        news = {(worker, "change", 2) for worker in (1, 2)}
        assert found >= news
        resets = {worker for worker, kind, _ in found if kind == "reset"}
        assert resets == {"odd": {1, 2}, "1=a1.1": {2}}.get(after, set())
