"""The pace of a load, over real sockets: how many were asked, and what a stall leaves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from canary_trio.bench.comparison import value_of
from canary_trio.bench.load import Generator
from canary_trio.bench.plan import LoadPlan
from canary_trio.bench.sender import ArmSender, SenderSettings
from canary_trio.bench.tally import LoadTally
from http_trio import EventLoop, Limits, Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class StallingServer:
    """Responds to all at once, but for one stall.

    Attributes:
        asked: how many requests came.
        stalls_at: the number of the request at which it stalls.
    """

    def __init__(self, stalls_at: int = 0, stall_s: float = 0.0) -> None:
        self.asked = 0
        self.stalls_at = stalls_at
        self._stall_s = stall_s
        self._until = 0.0

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                self.asked += 1
                if self.asked == self.stalls_at:
                    self._until = trio.current_time() + self._stall_s
                await trio.sleep_until(self._until)
                await stream.send_all(OK)


@asynccontextmanager
async def generator(
    plan: LoadPlan, *servers: StallingServer
) -> AsyncIterator[Generator]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            loop = EventLoop(Limits(), nursery)
            nursery.start_soon(loop.keep_time)
            begun = time.monotonic() + plan.warm_up_s
            senders = []
            for server in servers:
                listeners = await nursery.start(
                    partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
                )
                port = listeners[0].socket.getsockname()[1]
                address = (trio.socket.AF_INET, ("127.0.0.1", port))
                most = plan.concurrency if plan.rate is None else 100
                request = b"GET / HTTP/1.1\r\nHost: it\r\n\r\n"
                settings = SenderSettings(request, b"GET", most, 5.0)
                upstream = Upstream("it", [address], b"it")
                senders.append(ArmSender(loop, upstream, settings, LoadTally(begun)))
            try:
                yield Generator(plan, senders, begun)
            finally:
                loop.close()
            nursery.cancel_scope.cancel()


async def test_the_open_loop_asks_each_as_often_as_it_was_told() -> None:
    one, other = StallingServer(), StallingServer()
    plan = LoadPlan(rate=100, seconds=0.5, warm_up_s=0.2)

    async with generator(plan, one, other) as running:
        cost = await running.run()
        counted = [sender.tally.requests for sender in running.senders]

    assert counted == [50, 50]
    assert one.asked == other.asked == 70  # with those of the warm-up
    assert sum(cost.lateness.values()) == 100
    assert cost.cpu_s > 0


async def test_the_open_loop_ends_with_the_number_of_requests() -> None:
    plan = LoadPlan(rate=200, requests=21, seconds=9.0, warm_up_s=0.05)

    async with generator(plan, StallingServer(), StallingServer()) as running:
        cost = await running.run()
        counted = [sender.tally.requests for sender in running.senders]

    assert counted == [21, 21]
    assert cost.wall_s < plan.seconds


async def test_a_server_that_stalls_is_asked_no_less_and_the_tail_shows_it() -> None:
    server = StallingServer(stalls_at=10, stall_s=1.0)
    plan = LoadPlan(rate=50, seconds=2.0, warm_up_s=0.0)

    async with generator(plan, server) as running:
        await running.run()
        found = running.senders[0].tally.result()

    assert found.requests == server.asked == 100
    p75 = value_of(found, 0.75)
    assert p75 is not None
    assert p75 > 0.3  # half of all came in that second, and waited for its rest
    assert found.slowest_s > 0.9


async def test_what_is_awaited_after_the_end_costs_the_generator_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "process_time", time.monotonic)  # as if always busy
    plan = LoadPlan(rate=50, seconds=0.2, warm_up_s=0.0)

    async with generator(plan, StallingServer(stalls_at=1, stall_s=2.0)) as running:
        cost = await running.run()

    assert running.senders[0].tally.result().slowest_s >= 1.5
    assert cost.cpu_s < 1.5


async def test_the_closed_loop_ends_with_the_number_of_requests() -> None:
    server = StallingServer()
    plan = LoadPlan(rate=None, concurrency=3, requests=40, seconds=9.0, warm_up_s=0.0)

    async with generator(plan, server) as running:
        cost = await running.run()
        counted = running.senders[0].tally.requests

    assert counted == server.asked == 40
    assert cost.wall_s < plan.seconds
    assert not cost.lateness


@pytest.mark.parametrize("rate", [100.0, None], ids=["open", "closed"])
async def test_who_stops_it_gets_what_there_is(rate: float | None) -> None:
    server = StallingServer(stalls_at=5, stall_s=60.0)
    plan = LoadPlan(rate=rate, concurrency=4, seconds=60.0, warm_up_s=0.0)

    async with generator(plan, server) as running, trio.open_nursery() as nursery:

        async def stop() -> None:
            while server.asked < 8:
                await trio.sleep(0.01)
            running.stopped = True

        nursery.start_soon(stop)
        cost = await running.run()

    assert cost.interrupted
    assert cost.unfinished >= 4
    assert running.senders[0].tally.requests >= 4


async def test_cancelled_it_ends() -> None:
    plan = LoadPlan(rate=1000, seconds=60.0, warm_up_s=0.0)

    async with generator(plan, StallingServer()) as running:
        with trio.move_on_after(0.1) as scope:
            await running.run()

    assert scope.cancelled_caught
