"""The event loop: one trio task that serves every socket that is ready.

The event loop owns a selector whose own descriptor trio waits on. It takes the ready
sockets in batches and calls each one's plain synchronous state machine. No task
switch, no cancel scope and no thread lies on the way of a request; between batches
it yields to trio. A second task keeps the time: it sweeps for slow and idle peers,
and wakes the parked whose wait is over.

The rule that it obeys: an error in one socket's event ends that socket, never the
loop. Everything that hangs on an event loop is touched from the trio thread only. One
file, since tasks and sockets share one clock.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from http_trio.http1.heads.field_cache import FieldCache
from http_trio.http1.heads.head_cache import HeadCache
from http_trio.http1.request_head import RequestHead, shared_head
from http_trio.http1.response_head import ResponseHead
from http_trio.limits import Limits
from http_trio.net.poller import BATCH, open_poller, wait_ready
from http_trio.net.process.notices import Tell, Trouble, by_logging
from http_trio.net.timer_wheel import TimerWheel
from http_trio.net.traffic_counts import TrafficCounts

_log = logging.getLogger(__name__)

_SWEEP_S = 0.5  # how late an idle or slow peer may be noticed


class Socket(Protocol):
    """What the event loop serves: a listener, a client's connection or an upstream's."""

    deadline: float
    """The time at which `expire` is to be called; inf for never."""

    def ready(self, mask: int) -> None:
        """Handle readiness; mask is as of `poller`, with the system's error bits."""

    def expire(self) -> None:
        """Handle that the deadline has passed."""

    def idle(self) -> tuple[bool, float] | None:
        """Say of one that `expire` may close whether it was of use, and its idle start."""

    def abort(self) -> None:
        """Close at once, releasing whatever hangs on this socket."""


class Sender(Protocol):
    """A socket that has something to send."""

    def flush(self) -> None:
        """Send it, if it is still to be sent."""

    def abort(self) -> None:
        """Close at once, releasing whatever hangs on this socket."""


class Parked(Protocol):
    """A waiter with a time of its own."""

    def due(self) -> None:
        """Handle that its time has come."""


class Timer:
    """A call at a later time, unless it is cancelled."""

    __slots__ = ("_call", "_loop", "_tick")

    def __init__(
        self, loop: EventLoop, after_s: float, call: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._call = call
        self._tick = loop.park(self, after_s)

    def due(self) -> None:
        """Make the call."""
        self._tick = -1
        self._call()

    def cancel(self) -> None:
        """Make no call any more; nothing happens if it was made."""
        if self._tick >= 0:
            self._loop.unpark(self, self._tick)
            self._tick = -1


class EventLoop:
    """The sockets of one `serve`, and the tasks beside them."""

    def __init__(
        self,
        limits: Limits,
        nursery: trio.Nursery,
        *,
        half_close: bool = False,
        tell: Tell | None = None,
    ) -> None:
        self.limits = limits
        self.tell = tell or by_logging(_log)
        """Takes what an operator is to know."""
        self.half_close = half_close
        """Whether a client that ends its half may still wait for its response."""
        self.now = time.monotonic()
        self.leaving = False
        """Whether clients are told to come back elsewhere (`lame duck`)."""
        self.draining = False
        """Whether it ends: what waits is responded to, and nothing waits any more."""
        self.in_batch = False
        self.unsent: list[Sender] = []
        self.request_heads = HeadCache[RequestHead]()
        self.request_fields = FieldCache(limits, shared_head)
        self.response_heads = HeadCache[ResponseHead]()
        self.poller = open_poller()
        self.sockets: dict[int, Socket] = {}
        self.away: set[Socket] = set()
        """Clients' connections that tasks have."""
        self.refused: Counter[int] = Counter()
        """By status, the responses that no handler gave: see `Server.refused`."""
        self.counts = TrafficCounts()
        self.look_again_at = 0.0  # see `descriptors`
        self.shortage = Trouble()
        """Of connections or descriptors: see `descriptors`."""
        self._after_batch: list[Callable[[], None]] = []
        self._nursery = nursery
        self._parked: TimerWheel[Parked] = TimerWheel()
        self._sleeps_until = math.inf
        self._sooner = trio.Event()

    def __repr__(self) -> str:
        return f"<EventLoop sockets={len(self.sockets)} draining={self.draining}>"

    def drain(self) -> None:
        """Note that it ends."""
        self.leaving = self.draining = True

    def watch(self, fd: int, socket: Socket, mask: int) -> None:
        """Serve a socket from now on."""
        self.poller.register(fd, mask)
        self.sockets[fd] = socket

    def unwatch(self, fd: int) -> None:
        """Serve a socket no longer; it stays open."""
        if self.sockets.pop(fd, None) is not None:
            self.poller.unregister(fd)

    def park(self, waiter: Parked, timeout_s: float) -> int:
        """Call `waiter.due` in timeout_s seconds; give the tick for `unpark`."""
        at = time.monotonic() + timeout_s
        if at < self._sleeps_until:
            self._sooner.set()
        return self._parked.add(waiter, at)

    def unpark(self, waiter: Parked, tick: int) -> None:
        """Forget a waiter."""
        self._parked.discard(waiter, tick)

    def call_later(self, after_s: float, call: Callable[[], None]) -> Timer:
        """Call in after_s seconds."""
        return Timer(self, after_s, call)

    def after_batch(self, call: Callable[[], None]) -> bool:
        """Call when all that is ready now has been served, and the responses are out.

        So work for many requests that came at once is done once. Gives False, and
        does not call, where nothing is being served.
        """
        if self.in_batch:
            self._after_batch.append(call)
        return self.in_batch

    def spawn(self, run: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task in the event loop's nursery; an error in it ends only itself."""
        self._nursery.start_soon(_guard, run, args)

    async def run(self) -> None:
        """Serve until cancelled, then close every socket that is left."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self.poller.fileno())
                self._serve_ready()
        finally:
            self.close()

    def turn(self, within_s: float) -> int:
        """Serve a batch, once there is one or the time is over; give how many were ready.

        In place of `run`, for who keeps a pace: it wakes within some ten microseconds,
        where trio waits whole milliseconds. Tasks have to wait meanwhile.
        """
        if within_s > 0:
            wait_ready(self.poller.fileno(), within_s)
        return self._serve_ready()

    async def wait_turn(self, within_s: float) -> None:
        """Wait until something is ready or the time is over, while tasks go on."""
        with trio.move_on_after(within_s):
            await trio.lowlevel.wait_readable(self.poller.fileno())

    async def keep_time(self) -> None:
        """Sweep and wake until cancelled."""
        next_sweep = time.monotonic() + _SWEEP_S
        while True:
            self._sleeps_until = min(next_sweep, self._parked.next_at())
            self._sooner = trio.Event()
            with trio.move_on_after(max(0.0, self._sleeps_until - time.monotonic())):
                await self._sooner.wait()
            self.now = time.monotonic()
            if self.now - self._sleeps_until > _SWEEP_S:
                self.catch_up()
            self._wake_due()
            if self.now >= next_sweep:
                next_sweep = self.now + _SWEEP_S
                self.sweep()

    def sweep(self) -> None:
        """Tell those that are late, once what they sent in time is taken."""
        if self._late():
            self.catch_up()
        for socket in self._late():
            self._guarded(socket.expire)

    def catch_up(self) -> None:
        """Serve all that is ready, before anyone is called late, or let go as idle.

        Where the process had no processor for a while, what peers sent in time waits in the
        kernel. It was not they who were late, and closing then loses a request.
        """
        for _ in range(len(self.sockets) // BATCH + 1):
            if self._serve_ready() < BATCH:
                return

    def close(self) -> None:
        """Close every socket and the selector."""
        for socket in list(self.sockets.values()):
            self._guarded(socket.abort)
        self.poller.close()

    def _wake_due(self) -> None:
        """Wake whose time has come. A local of `keep_time` would hold the last of them."""
        for waiter in self._parked.due(self.now):
            self._guarded(waiter.due)

    def _serve_ready(self) -> int:
        """Serve what is ready, a batch of it at most, and give how much that was.

        More in a row would starve the tasks beside the event loop. Measured: with eight
        batches, a change took 40 ms under load until it was live, since the watch is an
        ordinary task and needs several turns; with one, 5 ms. But a turn of trio's costs as
        much as a small request, so one that has room left asks again: what came meanwhile
        is mostly the responses to what it has just sent.
        """
        left = BATCH
        while left > 0:
            count = self._serve_polled(left)
            left -= count
            if not count:
                break
        return BATCH - left

    def _serve_polled(self, most: int) -> int:
        """Serve what one poll finds, and give how much that was.

        What it has to send goes out at its end. A send wakes a peer that sleeps, and
        after a row of them most peers are awake already; that, and staying in the same
        code, is worth a tenth of the processor time and more of the throughput.
        """
        sockets = self.sockets
        events = self.poller.poll(most)
        self.now = time.monotonic()
        self.in_batch = True
        for fd, mask in events:
            socket = sockets.get(fd)
            if socket is None:
                continue  # closed by an earlier event of this batch
            try:
                socket.ready(mask)
            except Exception:
                _log.exception("an exchange failed")
                self._guarded(socket.abort)
        self._send_unsent()
        self.in_batch = False
        if self._after_batch:
            calls, self._after_batch = self._after_batch, []
            for call in calls:
                call()  # an error in it is nobody's but the program's
        return len(events)

    def _send_unsent(self) -> None:
        for sender in self.unsent:  # a response that is out may make way for the next
            try:
                sender.flush()
            except Exception:
                _log.exception("an exchange failed")
                self._guarded(sender.abort)
        self.unsent.clear()

    def _late(self) -> list[Socket]:
        now = self.now
        return [socket for socket in self.sockets.values() if socket.deadline <= now]

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            _log.exception("an exchange failed")


async def _guard(run: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
    try:
        await run(*args)
    except Exception:
        _log.exception("an exchange failed")
