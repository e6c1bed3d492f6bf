"""The metrics of a proxy: names, meaning, and where each is read. A table.

Nothing is counted here: what the traffic adds up is read when Prometheus asks. Names
follow its conventions (base units, `_total` for counters). `docs/metrics.md` is made of
this table, and a test holds them together.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate

import attrs

from canary_trio.access_log import AccessLog
from canary_trio.config import WHOLE
from canary_trio.runtime import ServerState
from canary_trio.tally import BOUNDS_S, CLASSES
from canary_trio.view import View


class Kind(enum.Enum):
    """What a number does."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen
class Buckets:
    """A histogram: its cumulated counts by upper ends, and the sum of what was seen."""

    ends: tuple[str, ...]
    counts: tuple[int, ...]
    total: float


Row = tuple[Sequence[str], float | Buckets]
"""The values of the labels, and the number."""

Rows = Iterator[Row]


@attrs.frozen
class Family:
    """One metric.

    Attributes:
        name: in full.
        text: what it says; its unit is in the name.
        labels: their names.
        read: gives its rows, at a time of the lane's clock.
    """

    kind: Kind
    name: str
    text: str
    labels: tuple[str, ...]
    read: Callable[[View, float], Rows] = attrs.field(repr=False)


_ENDS = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")


# === traffic ===


def _requests(view: View, _: float) -> Rows:
    for way, counts in view.runtime.observer.tally.ways.items():
        for code, count in zip(CLASSES, counts, strict=True):
            if count:
                yield (way.arm, way.chosen, way.reason, way.rule, code), count


def _seconds(view: View, _: float) -> Rows:
    for name, arm in view.runtime.observer.tally.arms.items():
        if name:  # else it was no arm that answered
            counts = tuple(accumulate(arm.counts))
            yield (name,), Buckets(_ENDS, counts, arm.sum_s)


def _failures(view: View, _: float) -> Rows:
    yield from view.runtime.observer.tally.failures.items()


def _retries(view: View, _: float) -> Rows:
    for name, arm in view.runtime.observer.tally.arms.items():
        if name:
            yield (name,), arm.retries


# === the split ===


def _asked(view: View, _: float) -> Rows:
    if view.runtime.live is not None:
        for arm, share in view.runtime.live.marks.split.shares.items():
            yield (arm,), share / WHOLE


def _decided(view: View, _: float) -> Rows:
    if view.runtime.live is not None:
        split = view.runtime.live.marks.split
        for arm in {**split.shares, **split.counts}:
            yield (arm,), split.counts.get(arm, 0)


def _observed(view: View, _: float) -> Rows:
    if view.runtime.live is not None:
        split = view.runtime.live.marks.split
        for arm in {**split.shares, **split.counts}:
            share = split.observed(arm)
            yield (arm,), math.nan if share is None else share


def _p_value(view: View, _: float) -> Rows:
    if view.runtime.live is not None:
        p = view.runtime.live.marks.split.p_value()
        yield (), math.nan if p is None else p


# === servers ===


def _servers(view: View) -> Iterator[tuple[tuple[str, str], ServerState]]:
    live = view.runtime.live
    for name, arm in live.arms.items() if live is not None else ():
        for state in arm.servers:
            yield (name, state.server.url), state


def _each(read: Callable[[ServerState], float]) -> Callable[[View, float], Rows]:
    def rows(view: View, _: float) -> Rows:
        for labels, state in _servers(view):
            yield labels, read(state)

    return rows


# === the process and its configuration ===


def _connections(view: View, _: float) -> Rows:
    if view.server is not None:
        yield (), view.server.connections


def _of_log(read: Callable[[AccessLog], float]) -> Callable[[View, float], Rows]:
    def rows(view: View, _: float) -> Rows:
        log = view.runtime.observer.log
        if log is not None:
            yield (), read(log)

    return rows


def _revisions(view: View, _: float) -> Rows:
    status = view.control.status
    yield ("running",), view.control.running
    yield ("attempted",), status.attempted
    yield ("failed",), status.failed.revision if status.failed is not None else 0


def _contact_age(view: View, now: float) -> Rows:
    last_s = view.control.status.contact.last_s
    yield (), math.inf if last_s is None else now - last_s


def _info(view: View, _: float) -> Rows:
    yield (view.service, view.proxy_id, version("canary-trio")), 1


_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_SERVER = ("arm", "server")

FAMILIES = (
    Family(
        *(_COUNTER, "canary_requests_total"),
        "Requests that are over, by the arm that served, the arm that was chosen at"
        " first, why it was served so (rule, sticky, ratio, hash, fallback, retry, or"
        " none before the first document), the rule that chose, and the class of the"
        " status (none: the client left first).",
        ("arm", "chosen", "reason", "rule", "code"),
        _requests,
    ),
    Family(
        *(_HISTOGRAM, "canary_request_seconds"),
        "Time from the end of a request's header to the end of its answer, by the arm"
        " that served.",
        ("arm",),
        _seconds,
    ),
    Family(
        *(_COUNTER, "canary_retries_total"),
        "Further tries than the first, by the arm that was chosen at first.",
        ("arm",),
        _retries,
    ),
    Family(
        *(_COUNTER, "canary_failures_total"),
        "Tries that gave no usable answer, by the arm that was tried, and what happened.",
        ("arm", "condition"),
        _failures,
    ),
    Family(
        *(_GAUGE, "canary_split_asked_share"),
        "The share of an arm that the document asks for, from 0 to 1.",
        ("arm",),
        _asked,
    ),
    Family(
        *(_GAUGE, "canary_split_observed_share"),
        "The share that the ratio gave an arm, of its decisions since it was last"
        " changed; NaN before the first.",
        ("arm",),
        _observed,
    ),
    Family(
        *(_GAUGE, "canary_split_decisions"),
        "Decisions of the ratio since it was last changed.",
        ("arm",),
        _decided,
    ),
    Family(
        *(_GAUGE, "canary_split_mismatch_p"),
        "How likely chance alone strays so far from what was asked (Pearson's"
        " chi-square test); below 0.001 the split is broken. NaN for too few decisions.",
        (),
        _p_value,
    ),
    Family(
        *(_GAUGE, "canary_server_in_flight"),
        "Requests in progress at a server.",
        _SERVER,
        _each(lambda state: state.in_flight),
    ),
    Family(
        *(_COUNTER, "canary_server_requests_total"),
        "Requests that a server was given.",
        _SERVER,
        _each(lambda state: state.requests),
    ),
    Family(
        *(_COUNTER, "canary_server_failures_total"),
        "Of these, those without a usable answer.",
        _SERVER,
        _each(lambda state: state.failures),
    ),
    Family(
        *(_GAUGE, "canary_server_weight"),
        "A server's present weight.",
        _SERVER,
        _each(lambda state: state.weight),
    ),
    Family(
        *(_GAUGE, "canary_server_connections"),
        "Open connections to a server, idle ones included.",
        _SERVER,
        _each(lambda state: state.upstream.open),
    ),
    Family(
        *(_GAUGE, "canary_server_idle_connections"),
        "Connections to a server that wait for a request.",
        _SERVER,
        _each(lambda state: len(state.upstream.idle)),
    ),
    Family(
        *(_GAUGE, "canary_connections"),
        "Clients that are connected.",
        (),
        _connections,
    ),
    Family(
        *(_GAUGE, "canary_config_revision"),
        "The revision that runs, the newest that was seen, and the last that was"
        " refused, unless a newer one runs; 0 for none.",
        ("state",),
        _revisions,
    ),
    Family(
        *(_GAUGE, "canary_config_remembered"),
        "1 if what runs came from the disk, since the store has not been reached.",
        (),
        lambda view, _: iter([((), int(view.control.status.remembered))]),
    ),
    Family(
        *(_GAUGE, "canary_store_contact_age_seconds"),
        "Time since the store's last good answer; +Inf before the first. With a quiet"
        " store it grows up to the document's update_rate.",
        (),
        _contact_age,
    ),
    Family(
        *(_COUNTER, "canary_access_log_lines_total"),
        "Lines of the access log that were written.",
        (),
        _of_log(lambda log: log.written),
    ),
    Family(
        *(_COUNTER, "canary_access_log_dropped_lines_total"),
        "Lines of the access log that were lost: the file took no more, or not as fast.",
        (),
        _of_log(lambda log: log.dropped),
    ),
    Family(
        *(_GAUGE, "canary_proxy_info"),
        "Always 1; what this proxy is.",
        ("service", "id", "version"),
        _info,
    ),
)
"""All metrics, in the order in which they are shown."""
