"""How much of what is ready the event loop serves before trio has its turn."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import trio

from http_trio import Limits
from http_trio.net.event_loop import EventLoop
from http_trio.net.poller import BATCH, READ

_CHAIN = 10


class Watched:
    """A socket that the loop serves."""

    deadline = float("inf")

    def __init__(self, serve: Callable[[], None]) -> None:
        self.serve = serve

    def ready(self, mask: int) -> None:
        del mask
        self.serve()

    def expire(self) -> None:
        raise AssertionError("it has no deadline")

    def idle(self) -> None:
        return None

    def abort(self) -> None:
        raise AssertionError("nothing it does raises")


@pytest.fixture
async def loop() -> AsyncIterator[EventLoop]:
    async with trio.open_nursery() as nursery:
        loop = EventLoop(Limits(), nursery)
        yield loop
        loop.poller.close()


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(_CHAIN)]
        for one in (end for pair in made for end in pair):
            stack.enter_context(one)
        yield made


async def test_what_gets_ready_while_others_are_served_is_served_in_the_same_turn(
    loop: EventLoop, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    served: list[int] = []

    def pass_on(number: int) -> None:
        pairs[number][1].recv(1)
        served.append(number)
        if number + 1 < _CHAIN:
            pairs[number + 1][0].send(b"x")

    for number, (_, end) in enumerate(pairs):
        loop.watch(end.fileno(), Watched(partial(pass_on, number)), READ)
    pairs[0][0].send(b"x")
    assert loop.turn(0) == _CHAIN
    assert served == list(range(_CHAIN))
    assert loop.turn(0) == 0


@pytest.mark.parametrize("ready", [1, 3, _CHAIN])
async def test_a_turn_ends_after_a_batch_however_much_is_ready(
    loop: EventLoop, pairs: list[tuple[socket.socket, socket.socket]], ready: int
) -> None:
    served: list[int] = []
    for number, (begin, end) in enumerate(pairs[:ready]):
        loop.watch(end.fileno(), Watched(partial(served.append, number)), READ)
        begin.send(b"x")  # nobody reads it
    assert loop.turn(0) == BATCH
    assert len(served) == BATCH
    assert set(served) == set(range(ready))
