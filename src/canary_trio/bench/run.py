"""A measurement, from URLs to a comparison: names resolved, one request first, then the load.

The rule that it obeys: what cannot be measured is said before anything is, by one request to
each URL; and from then on whatever happens is a figure, an interruption too.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from canary_trio.bench.comparison import Measurement, compare
from canary_trio.bench.conditions import Condition
from canary_trio.bench.load import LOOK_S, Generator
from canary_trio.bench.plan import (
    CONNECTIONS,
    TIMEOUT_S,
    BenchRequest,
    BenchTarget,
    GeneratorCost,
    LoadPlan,
)
from canary_trio.bench.sender import ArmSender, SenderSettings
from canary_trio.bench.tally import LoadResult, LoadTally
from canary_trio.errors import CanaryError
from canary_trio.upstream.dns import RESOLVE_S, resolve_by_system
from canary_trio.upstream.endpoint import host_field, known_addresses
from http_trio import (
    Address,
    EventLoop,
    Http2Upstream,
    Limits,
    Upstream,
    client_context,
    raise_file_limit,
)

ALPHA = 0.01
"""How likely each of the bounds may be wrong, if nothing else is said."""

_FILES = 64  # beside connections
_FOREVER_S = 1e9  # the waits of the engine: the generator has its own


class NotMeasured(CanaryError):
    """A URL gives no response at all, so there is nothing to measure. Its message says why."""


@attrs.frozen(kw_only=True)
class BenchOptions:
    """How requests are sent.

    Attributes:
        http2: whether in HTTP/2: over TLS by agreement, else by prior knowledge.
        connections: requests under way at each URL, at most.
        timeout_s: how long one may take, from when it was due.
        verify: whether certificates are verified.
        ca_file: the authorities that they are verified by; None for the system's.
        alpha: how likely each of the bounds may be wrong.
    """

    http2: bool = False
    connections: int = CONNECTIONS
    timeout_s: float = TIMEOUT_S
    verify: bool = True
    ca_file: str | None = None
    alpha: float = ALPHA


async def measure(
    targets: Sequence[BenchTarget],
    request: BenchRequest,
    plan: LoadPlan,
    options: BenchOptions | None = None,
    *,
    conditions: Sequence[Condition] = (),
) -> Measurement:
    """Measure one URL, or two beside each other, and compare them; as `gather`."""
    options = options or BenchOptions()
    results, cost, resent = await gather(targets, request, plan, options)
    return compare(
        [target.url for target in targets],
        results,
        plan,
        cost,
        conditions=conditions,
        alpha=options.alpha,
        http2=options.http2,
        resent=resent,
    )


async def gather(
    targets: Sequence[BenchTarget],
    request: BenchRequest,
    plan: LoadPlan,
    options: BenchOptions,
) -> tuple[list[LoadResult], GeneratorCost, int]:
    """Ask URLs, any number of them, in turns. SIGINT and SIGTERM end it sooner.

    Gives the results, what the generator did itself, and how many requests went out twice.

    Raises:
        NotMeasured: a URL gives no response.
        http_trio.BadCertificate: the authorities cannot be read.
        ValueError: the request cannot be sent.
        KeyboardInterrupt: it was ended before anything was measured.
    """
    settings = [_settings(target, request, plan, options) for target in targets]
    upstreams = [await _upstream(target, options) for target in targets]
    raise_file_limit(_FILES + sum(one.connections for one in settings))
    pairs = list(zip(upstreams, settings, strict=True))
    async with _engine(options.connections) as loop, trio.open_nursery() as nursery:
        stop = _Stop()
        nursery.start_soon(stop.listen)
        refusal = await _ask_first(loop, pairs, stop)
        senders: list[ArmSender] = []
        cost = None
        if not refusal and not stop.is_asked:
            begun = time.monotonic() + plan.warm_up_s
            end = begun + plan.seconds
            senders = [ArmSender(loop, *pair, LoadTally(begun, end)) for pair in pairs]
            stop.generator = Generator(plan, senders, begun)
            cost = await stop.generator.run()
        nursery.cancel_scope.cancel()
    if refusal:  # told here: a nursery would make a group of it
        raise NotMeasured(refusal)
    if cost is None:
        raise KeyboardInterrupt
    results = [sender.tally.result() for sender in senders]
    return results, cost, sum(sender.resent for sender in senders)


@asynccontextmanager
async def _engine(connections: int) -> AsyncIterator[EventLoop]:
    limits = Limits(
        upstream_connections=connections,
        upstream_idle=connections,
        connect_s=_FOREVER_S,
        response_s=_FOREVER_S,
        stream_idle_s=_FOREVER_S,
    )
    async with trio.open_nursery() as nursery:
        loop = EventLoop(limits, nursery)
        nursery.start_soon(loop.keep_time)
        try:
            yield loop
        finally:
            nursery.cancel_scope.cancel()
            loop.close()


def _settings(
    target: BenchTarget, request: BenchRequest, plan: LoadPlan, options: BenchOptions
) -> SenderSettings:
    most = options.connections if plan.rate is not None else plan.concurrency
    return SenderSettings(
        request.render(target), request.method.encode(), most, options.timeout_s
    )


async def _upstream(target: BenchTarget, options: BenchOptions) -> Upstream:
    context = None
    if target.secure:
        context = client_context(
            verify=options.verify, ca=options.ca_file, http2=options.http2
        )
    kind = Http2Upstream if options.http2 else Upstream
    return kind(
        target.url,
        known_addresses(target.host) or await _resolve(target),
        host_field(target.host, secure=target.secure),
        tls=context,
        server_name=target.host.host.strip("[]"),
    )


async def _resolve(target: BenchTarget) -> Sequence[Address]:
    host = target.host.host
    try:
        with trio.fail_after(RESOLVE_S):
            return await resolve_by_system(host, target.host.port)
    except (OSError, UnicodeError) as exc:
        raise NotMeasured(f"{target.url}: its name does not resolve: {exc}") from exc
    except trio.TooSlowError as exc:
        raise NotMeasured(
            f"{target.url}: its name does not resolve within {RESOLVE_S:g} s"
        ) from exc


async def _ask_first(
    loop: EventLoop, pairs: Sequence[tuple[Upstream, SenderSettings]], stop: _Stop
) -> str:
    """Send one request to each; say why one has no response, "" if all have."""
    for upstream, settings in pairs:
        now = time.monotonic()
        sender = ArmSender(loop, upstream, settings, LoadTally(now))
        sender.ask(now)
        while sender.open and not stop.is_asked:
            await loop.wait_turn(LOOK_S)
            loop.turn(0)
            sender.end_late(time.monotonic())
        sender.close()
        found = sender.tally.result()
        if not found.statuses and not stop.is_asked:
            why = next(iter(found.failures), "no response")
            detail = f": {sender.detail}" if sender.detail else ""
            return f"{upstream.name}: {why}{detail}{_hint(why, sender.detail)}"
    return ""


def _hint(why: str, detail: str) -> str:
    if "ALPN" in detail or "application protocol" in detail:
        return "; it is measured without --http2"
    hints = {
        "refused": "; is it running there?",
        "untrusted": "; --ca-file FILE names its authority, --insecure trusts anybody",
        "timeout": "; --timeout TIME waits longer",
    }
    return hints.get(why, "")


class _Stop:
    """What Ctrl-C does: the measurement ends, and tells what it has."""

    def __init__(self) -> None:
        self.is_asked = False
        self.generator: Generator | None = None

    async def listen(self) -> None:
        """Wait for signals."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.is_asked = True
                if self.generator is not None:
                    self.generator.stopped = True
