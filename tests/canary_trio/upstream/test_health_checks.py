"""Active checks: the verdict, their pace, and what a change of the document keeps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.model import ServerMode
from canary_trio.config.policies import Health
from canary_trio.upstream.health_checks import (
    CHECKS_AT_ONCE,
    HealthChecker,
    HealthState,
    is_good,
    pause_s,
    request,
)
from canary_trio.upstream.server import ServerState
from http_trio import Failure, FailureReason, FetchResult, NoResponse, Upstream
from tests.canary_trio.support.arm_bench import Bench

RULE = Health(interval=10.0, timeout=2.0, rise=2, fall=3, jitter=0.0)


# === the verdict ===


def verdicts(*good: bool) -> list[bool]:
    verdict = HealthState()
    found = []
    for one in good:
        verdict.note(RULE, good=one)
        found.append(verdict.up)
    return found


@pytest.mark.parametrize(
    ("checks", "up"),
    [
        ("+---+++", "+++--++"),
        ("-+++", "--++"),
        ("+--+---", "++++++-"),
        ("-+-++", "----+"),
    ],
)
def test_it_takes_some_in_a_row_but_the_first_decides_alone(
    checks: str, up: str
) -> None:
    found = verdicts(*(one == "+" for one in checks))
    assert "".join("+" if one else "-" for one in found) == up


@given(st.floats(0.1, 100), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_the_pause_varies_by_the_jitter(
    interval: float, jitter: float, draw: float
) -> None:
    found = pause_s(Health(interval=interval, jitter=jitter), draw)
    assert interval * (1 - jitter) <= found <= interval * (1 + jitter) + 1e-9


def test_a_request_and_what_is_a_good_response() -> None:
    upstream = Upstream("s", (), b"s:1", prefix=b"/base")
    assert request(Health(path="/ok"), upstream).startswith(
        b"GET /base/ok HTTP/1.1\r\nHost: s:1\r\n"
    )
    assert b"\r\nHost: web\r\n" in request(Health(host="web"), upstream)
    rule = Health(status=((200, 299), (401, 401)))
    assert [is_good(rule, n) for n in (200, 299, 300, 401, 500)] == [
        *(True, True, False, True, False)
    ]


# === the checks, in trio's own time ===


@attrs.define
class World:
    """Servers that respond as they are told, and when they were asked."""

    bench: Bench
    statuses: dict[str, int] = attrs.field(factory=dict)
    asked: list[tuple[float, str]] = attrs.field(factory=list)
    at_once: int = 0
    most_at_once: int = 0
    checks: HealthChecker = attrs.field(init=False)

    async def ask(self, upstream: Upstream, request: bytes) -> FetchResult:
        assert request.startswith(b"GET /")
        self.asked.append((trio.current_time(), upstream.name))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await trio.sleep(0.01)
            status = self.statuses.get(upstream.name, 200)
            if status == 0:
                await trio.sleep_forever()
            if status == 1:
                raise NoResponse(
                    Failure(FailureReason.UNREACHABLE, "s", False, "refused")
                )
            if status == 2:
                raise ZeroDivisionError
            if status == 3:
                raise NoResponse(Failure(FailureReason.FULL, "s", False, "no files"))
        finally:
            self.at_once -= 1
        return FetchResult(status, 0, b"", whole=True)

    def follow(self, rule: Health | None = RULE) -> None:
        self.checks.follow([(server, rule) for server in self.bench.servers])

    def set(self, status: int, *servers: ServerState) -> None:
        for server in servers or self.bench.servers:
            self.statuses[server.name] = status

    @property
    def ups(self) -> list[bool]:
        return [server.up for server in self.bench.servers]


@asynccontextmanager
async def checking(count: int) -> AsyncIterator[World]:
    world = World(Bench.of(count))
    world.checks = HealthChecker(random.Random(1).random, trio.current_time, world.ask)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.checks.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_a_server_goes_down_and_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(2) as world:
        one, other = world.bench.servers
        world.follow()
        await trio.sleep(1)
        assert world.ups == [True, True]
        world.set(500, one)
        await trio.sleep(21)
        assert world.ups == [True, True]
        assert one.check_error == "status 500"
        await trio.sleep(10)
        assert world.ups == [False, True]
        assert set(world.bench.picks()) == {other}
        world.set(204, one)
        await trio.sleep(20.5)
        assert world.ups == [True, True]
        assert one.check_error == ""


@pytest.mark.parametrize(
    ("status", "error", "unreachable"),
    [
        (0, "no response within 2 s", False),
        (1, "unreachable: refused", True),
        (2, "ZeroDivisionError: ", False),
        (302, "status 302", False),
    ],
)
async def test_the_first_check_decides_alone(
    autojump_clock: trio.testing.MockClock,
    status: int,
    error: str,
    *,
    unreachable: bool,
) -> None:
    async with checking(1) as world:
        world.set(status)
        world.follow()
        assert world.ups == [True]
        await trio.sleep(2.5)
        assert world.ups == [False]
        server = world.bench.servers[0]
        assert (server.check_error, server.unreachable) == (error, unreachable)


async def test_a_proxy_without_descriptors_learns_nothing_of_a_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(2) as world:
        one, other = world.bench.servers
        world.set(500, other)
        world.follow()
        await trio.sleep(1)
        assert world.ups == [True, False]
        world.set(3)
        await trio.sleep(100)
        assert world.ups == [True, False]
        assert (one.check_error, other.check_error) == ("", "status 500")
        world.set(200)
        await trio.sleep(21)
        assert world.ups == [True, True]


async def test_changes_keep_what_was_learnt_and_the_pace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(3) as world:
        world.follow()
        await trio.sleep(1)
        world.set(500, world.bench.servers[0])
        for _ in range(350):
            world.follow(attrs.evolve(RULE, path="/other"))
            await trio.sleep(0.1)
        assert world.ups == [False, True, True]
        assert len(world.asked) == 3 * 4  # at 0, 10, 20 and 30 seconds


async def test_who_was_cut_off_is_back_with_the_next_good_check(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(2) as world:
        world.follow()
        await trio.sleep(1)
        server = world.bench.servers[0]
        world.bench.now = trio.current_time()
        world.bench.fail(server, unreachable=True)
        assert server.ejected_until
        await trio.sleep(9.5)
        assert server.healthy


async def test_who_is_checked_no_more_is_up_and_begins_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(2) as world:
        world.set(500)
        world.follow()
        await trio.sleep(1)
        assert world.ups == [False, False]
        world.follow(None)
        assert world.ups == [True, True]
        await trio.sleep(50)
        assert len(world.asked) == 2
        world.bench.mode(world.bench.servers[0], ServerMode.MAINTENANCE)
        world.follow()
        await trio.sleep(1)
        assert world.ups == [True, False]


async def test_only_so_many_go_on_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with checking(CHECKS_AT_ONCE * 3) as world:
        world.follow()
        await trio.sleep(1)
        assert world.most_at_once == CHECKS_AT_ONCE
        assert len(world.asked) == CHECKS_AT_ONCE * 3
