"""Which descriptors are left to others, and who gives way when few are left."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import attrs
import pytest
import trio

from http_trio.limits import Limits
from http_trio.net.descriptors import (
    LOOK_AGAIN_S,
    close_idlest,
    is_next_reserved,
    is_reserved,
)
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import READ
from http_trio.net.process.resources import raise_file_limit


@contextmanager
def soft_limit(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "spare", "first"),
    [
        (1024, 96, 928),
        (1024, 32, 992),
        (288, 96, 192),
        (96, 96, 64),  # a third, as of 288
        (96, 32, 86),
        (48, 8, 47),
        (48, 0, 48),
    ],
)
def test_the_last_descriptors_are_reserved(limit: int, spare: int, first: int) -> None:
    with soft_limit(limit):
        assert not is_reserved(first - 1, spare)
        assert is_reserved(first, spare)


def test_the_next_descriptor_is_looked_at() -> None:
    used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with soft_limit(used + 120), ExitStack() as stack:
        files = [stack.enter_context(open(os.devnull)) for _ in range(5)]  # noqa: PTH123
        fd = files[0].fileno()
        assert not is_next_reserved(fd, 8)
        with contextlib.suppress(OSError):
            while True:
                stack.enter_context(open(os.devnull))  # noqa: PTH123
        assert is_next_reserved(fd, 8)  # there is none at all


@attrs.define(eq=False)
class FakeSocket:
    """A socket of the loop that says since when it is idle."""

    since: float
    loop: EventLoop
    pair: tuple[socket.socket, socket.socket] = attrs.field(factory=socket.socketpair)
    deadline: float = math.inf
    closed: bool = False

    def __attrs_post_init__(self) -> None:
        self.loop.watch(self.pair[0].fileno(), self, READ)

    used: bool = True

    def idle(self) -> tuple[bool, float] | None:
        return None if self.since == math.inf else (self.used, self.since)

    def ready(self, mask: int) -> None: ...

    def expire(self) -> None:
        self.closed = True
        self.abort()

    def abort(self) -> None:
        self.loop.unwatch(self.pair[0].fileno())
        for one in self.pair:
            one.close()


@contextmanager
def a_loop(nursery: trio.Nursery) -> Iterator[EventLoop]:
    loop = EventLoop(Limits(), nursery)
    loop.now = 1000.0
    try:
        yield loop
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("since", "least_s", "closed"),
    [
        ([5.0, 3.0, 4.0], 0.0, [1]),
        ([math.inf, math.inf], 0.0, []),
        ([999.9, 999.8], 0.5, []),
        ([999.9, 999.4], 0.5, [1]),
        ([float(age) for age in range(48)], 0.0, [0, 1, 2]),  # one of sixteen
    ],
    ids=["idlest", "all busy", "too fresh", "one settled", "several"],
)
async def test_the_idlest_are_closed(
    since: list[float], least_s: float, closed: list[int]
) -> None:
    async with trio.open_nursery() as nursery:
        with a_loop(nursery) as loop:
            sockets = [FakeSocket(one, loop) for one in since]
            assert close_idlest(loop, least_s=least_s) == len(closed)
            assert [at for at, one in enumerate(sockets) if one.closed] == closed


@pytest.mark.parametrize(
    ("used", "since", "closed"),
    [
        ([True, False], [1.0, 900.0], [0]),
        ([True, False, False], [1.0, 950.0, 900.0], [2]),
        ([True, False, False], [1.0, 999.9, 999.9], []),  # they have a moment to ask
        ([True, True, False], [999.9, 1.0, 999.9], [1]),
    ],
)
async def test_of_a_crowd_that_never_asked_some_are_closed_and_no_others(
    used: list[bool], since: list[float], closed: list[int]
) -> None:
    async with trio.open_nursery() as nursery:
        with a_loop(nursery) as loop:
            sockets = [
                FakeSocket(at, loop, used=was)
                for at, was in zip(since, used, strict=True)
            ]
            close_idlest(loop, least_s=0.5)
            assert [at for at, one in enumerate(sockets) if one.closed] == closed


async def test_one_whose_request_is_here_already_is_not_closed() -> None:
    async with trio.open_nursery() as nursery:
        with a_loop(nursery) as loop:
            asking = FakeSocket(1.0, loop)
            asking.pair[1].send(b"GET")
            assert close_idlest(loop) == 0
            assert not asking.closed


async def test_only_those_that_are_named_are_closed() -> None:
    async with trio.open_nursery() as nursery:
        with a_loop(nursery) as loop:
            other, mine = FakeSocket(1.0, loop), FakeSocket(2.0, loop)
            assert close_idlest(loop, among={mine}) == 1
            assert (other.closed, mine.closed) == (False, True)


async def test_a_look_in_vain_is_not_repeated_at_once() -> None:
    async with trio.open_nursery() as nursery:
        with a_loop(nursery) as loop:
            one = FakeSocket(math.inf, loop)
            assert close_idlest(loop) == 0
            one.since = 1.0
            assert close_idlest(loop) == 0
            loop.now += LOOK_AGAIN_S
            assert close_idlest(loop) == 1


def test_the_limit_is_raised_and_never_lowered() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with soft_limit(256):
        assert raise_file_limit(300) == 300
        assert raise_file_limit(200) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_what_cannot_be_raised_is_said(caplog: pytest.LogCaptureFixture) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no hard limit here")
    with soft_limit(256):
        assert raise_file_limit(2 * hard + 1) == hard
    assert f"may open {hard} files" in caplog.text
