"""Where each metric is read: functions of a view and the time that give its rows. Pure.

The rule that they obey: they only look; each is linear in the rows that it gives. One
file, since it is read beside one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate

import attrs

from canary_health import process_log
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.config.model import WHOLE
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.changing.trial import SIDES, Trial
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.counters import BOUNDS_S, CLASSES, ArmCounters
from canary_trio.upstream.arm import ArmState
from canary_trio.upstream.server import ServerState
from http_trio import TrafficCounts

# fmt: off
COARSE = frozenset((
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
    "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
))
# fmt: on
"""The ends of histograms where there are many arms: each is one more number of each arm."""


@attrs.frozen
class Buckets:
    """A histogram: its cumulated counts by upper ends, and the sum of what was seen."""

    ends: tuple[str, ...]
    counts: tuple[int, ...]
    total: float

    def coarse(self) -> Buckets:
        """Give the same with the ends of `COARSE` only."""
        some = [at for at, end in enumerate(self.ends) if end in COARSE]
        ends = tuple(self.ends[at] for at in some)
        return Buckets(ends, tuple(self.counts[at] for at in some), self.total)


Row = tuple[Sequence[str], float | Buckets]
"""The values of the labels, and the number."""

Rows = Iterator[Row]
Read = Callable[[ProxyView, float], Rows]
"""Gives the rows of a metric, at a time of trio's clock."""

_ENDS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")

# === traffic ===


def requests(view: ProxyView, _: float) -> Rows:
    """Give the requests that are over, by route and class of status."""
    for route, counts in view.runtime.observer.counters.routes.items():
        for code, count in zip(CLASSES, counts, strict=True):
            if count:
                yield (route.arm, route.chosen, route.reason, route.rule, code), count


def seconds(view: ProxyView, _: float) -> Rows:
    """Give the histogram of each arm's latency."""
    for name, arm in view.runtime.observer.counters.arms.items():
        if name:  # else no arm had the request
            yield (name,), _buckets(arm)


def failures(view: ProxyView, _: float) -> Rows:
    """Give the tries without a response, by arm and condition."""
    yield from view.runtime.observer.counters.failures.items()


def refusals(view: ProxyView, _: float) -> Rows:
    """Give the requests that might not pass, by why."""
    for kind, count in view.runtime.observer.counters.refusals.items():
        yield (kind,), count


def limited(view: ProxyView, _: float) -> Rows:
    """Give the requests that came to limits of the rate, by limit and outcome."""
    for name, counts in view.runtime.observer.counters.limits.items():
        yield (name, "passed"), counts.passed
        yield (name, "refused"), counts.refused
        yield (name, "dry_run"), counts.dry_run


def forgotten(view: ProxyView, _: float) -> Rows:
    """Give the clients that such limits have forgotten, in this process."""
    if not view.is_part and view.runtime.cells is not None:  # parts have the same
        yield (), view.runtime.cells.forgotten


def checked(view: ProxyView, _: float) -> Rows:
    """Give the requests that had to show who asks, by the check and its outcome."""
    for check, counts in view.runtime.observer.counters.checks.items():
        for outcome, count in counts.outcomes.items():
            yield (check, outcome), count


def questions(view: ProxyView, _: float) -> Rows:
    """Give the questions that this took, by the check."""
    for check, counts in view.runtime.observer.counters.checks.items():
        yield (check,), counts.asked


def retries(view: ProxyView, _: float) -> Rows:
    """Give the further tries, by arm."""
    for name, arm in view.runtime.observer.counters.arms.items():
        if name:
            yield (name,), arm.retries


def tried(view: ProxyView, _: float) -> Rows:
    """Give the requests that are over since a document is tried, by document."""
    trial = None if view.runtime.live is None else view.runtime.live.trial
    if isinstance(trial, Trial):
        both = {SIDES.against: trial.present, SIDES.arm: trial.tried}
        for name, counts in both.items():
            for code, count in zip(CLASSES, counts.statuses, strict=True):
                if count:
                    yield (name, code), count


# === the split ===


def asked(view: ProxyView, _: float) -> Rows:
    """Give the share that each arm was asked to have."""
    if view.runtime.live is not None:
        for arm, share in view.runtime.live.labels.split.shares.items():
            yield (arm,), share / WHOLE


def decided(view: ProxyView, _: float) -> Rows:
    """Give the ratio's decisions, by arm."""
    if view.runtime.live is not None:
        split = view.runtime.live.labels.split
        for arm in {**split.shares, **split.counts}:
            yield (arm,), split.counts.get(arm, 0)


def observed(view: ProxyView, _: float) -> Rows:
    """Give the share that each arm had."""
    if view.runtime.live is not None:
        split = view.runtime.live.labels.split
        for arm in {**split.shares, **split.counts}:
            share = split.observed(arm)
            yield (arm,), math.nan if share is None else share


def p_value(view: ProxyView, _: float) -> Rows:
    """Give the p-value of the split: how likely chance alone strays so far."""
    if view.runtime.live is not None:
        p = view.runtime.live.labels.split.p_value()
        yield (), math.nan if p is None else p


# === arms and servers ===


def arms(read: Callable[[ArmState], float]) -> Read:
    """Give a reader of one number of each arm."""

    def rows(view: ProxyView, _: float) -> Rows:
        for name, state in view.runtime.arms.items():
            yield (name,), read(state)

    return rows


def in_flight(view: ProxyView, _: float) -> Rows:
    """Give the requests in progress, by arm."""
    for name in view.runtime.arms:
        yield (name,), view.runtime.in_flight(name)


def _servers(view: ProxyView) -> Iterator[tuple[tuple[str, str], ServerState]]:
    live = view.runtime.live
    for name, arm in live.arms.items() if live is not None else ():
        for state in arm.servers:
            yield (name, state.server.url), state


def each(read: Callable[[ServerState], float]) -> Read:
    """Give a reader of one number of each server."""

    def rows(view: ProxyView, _: float) -> Rows:
        for labels, state in _servers(view):
            yield labels, read(state)

    return rows


# === copies of requests ===


def copies(view: ProxyView, _: float) -> Rows:
    """Give how copies compared, by arm and outcome."""
    for name, arm in view.runtime.observer.mirror_counters.arms.items():
        for outcome, count in arm.outcomes.items():
            yield (name, outcome), count


def skips(view: ProxyView, _: float) -> Rows:
    """Give the copies that were not made, by arm and cause."""
    for name, arm in view.runtime.observer.mirror_counters.arms.items():
        for cause, count in arm.skips.items():
            yield (name, cause), count


def size_differences(view: ProxyView, _: float) -> Rows:
    """Give the bytes by which responses differed, by arm."""
    for name, arm in view.runtime.observer.mirror_counters.arms.items():
        yield (name,), arm.size_difference


def copy_seconds(view: ProxyView, _: float) -> Rows:
    """Give the histogram of the copies' time, by arm."""
    for name, arm in view.runtime.observer.mirror_counters.arms.items():
        yield (name,), _buckets(arm.took)


def copies_in_progress(view: ProxyView, _: float) -> Rows:
    """Give how many copies are in progress."""
    yield (), view.runtime.observer.mirror_counters.in_progress


def _buckets(counters: ArmCounters) -> Buckets:
    return Buckets(_ENDS, tuple(accumulate(counters.counts)), counters.sum_s)


# === the process and its configuration ===


def connections(view: ProxyView, _: float) -> Rows:
    """Give the clients that are connected."""
    if view.server is not None:
        yield (), view.server.connections


def open_connections(view: ProxyView, _: float) -> Rows:
    """Give the clients that are connected, by protocol."""
    if view.server is not None:
        for protocol in ("HTTP/1.1", "HTTP/2", ""):
            yield (protocol or "none",), view.server.counts.open[protocol]


def all_connections(view: ProxyView, _: float) -> Rows:
    """Give the clients that have connected, by protocol."""
    if view.server is not None:
        for protocol in ("HTTP/1.1", "HTTP/2"):
            yield (protocol,), view.server.counts.connections[protocol]


def of_streams(read: Callable[[TrafficCounts], float]) -> Read:
    """Give a reader of one number of the streams of HTTP/2."""

    def rows(view: ProxyView, _: float) -> Rows:
        if view.server is not None:
            yield ("HTTP/2",), read(view.server.counts)

    return rows


def resets(view: ProxyView, _: float) -> Rows:
    """Give the streams that were reset, by whom and why."""
    if view.server is not None:
        yield from sorted(view.server.counts.resets.items())


def goaways(view: ProxyView, _: float) -> Rows:
    """Give the connections that we ended, by why and how."""
    if view.server is not None:
        yield from sorted(view.server.counts.goaways.items())


def refused(view: ProxyView, _: float) -> Rows:
    """Give the requests that the engine refused, by status."""
    if view.server is not None:
        for status, count in sorted(view.server.refused.items()):
            yield (str(status),), count


def of_long_connections(read: Callable[[LongConnections], float]) -> Read:
    """Give a reader of one number of the long connections."""

    def rows(view: ProxyView, _: float) -> Rows:
        if view.long_connections is not None:
            yield (), read(view.long_connections)

    return rows


def of_log(read: Callable[[AccessLog], float]) -> Read:
    """Give a reader of one number of the access log."""

    def rows(view: ProxyView, _: float) -> Rows:
        log = None if view.is_part else view.runtime.observer.log
        if log is not None:
            yield (), read(log)

    return rows


def config_age(view: ProxyView, now: float) -> Rows:
    """Give the time since what runs came live."""
    live_at = view.control.status.live_at
    if live_at is not None:
        yield (), now - live_at


def store_errors(view: ProxyView, _: float) -> Rows:
    """Give the tries to read the store that failed."""
    if not view.is_part:  # they have the same watch
        yield (), view.control.status.contact.failures


def events(view: ProxyView, _: float) -> Rows:
    """Give the events, by kind; those of no service are the process'."""
    for (service, kind), count in view.runtime.observer.events.counts.items():
        if service == view.service or not (service or view.is_part):
            yield (kind.value,), count


def lost_lines(view: ProxyView, _: float) -> Rows:
    """Give the lines of the process log that were lost."""
    if not view.is_part:
        yield (), process_log.dropped()


def revisions(view: ProxyView, _: float) -> Rows:
    """Give the revision that runs, the newest one seen, and the last one refused."""
    status = view.control.status
    yield ("running",), view.control.running
    yield ("attempted",), status.attempted
    yield ("failed",), status.failed.revision if status.failed is not None else 0


def task_failures(view: ProxyView, _: float) -> Rows:
    """Give how often tasks beside the requests have failed, by name."""
    if not view.is_part:  # they have the same keeper
        for name, count in view.runtime.observer.tasks.failures.items():
            yield (name,), count


def contact_age(view: ProxyView, now: float) -> Rows:
    """Give the time since the last good response of the store."""
    last_s = view.control.status.contact.last_s
    yield (), math.inf if last_s is None else now - last_s


def info(view: ProxyView, _: float) -> Rows:
    """Give the name of the proxy and its version."""
    yield (view.proxy_id, version("canary-trio")), 1
