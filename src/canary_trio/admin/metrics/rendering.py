"""What a proxy tells Prometheus: the families of `catalog`, rendered in slices.

The library takes about 10 us for a number, so a thousand servers would stop the traffic
for a tenth of a second. The rule that is obeyed here: no more than `SLICE` numbers are
rendered in one step; between two of them the traffic has its turn. So the numbers of
one scrape are not of one instant, which Prometheus does not ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import trio
from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from canary_trio.admin.exposition import exposition
from canary_trio.admin.metrics.catalog import CATALOG
from canary_trio.admin.metrics.family import Family, Kind
from canary_trio.admin.metrics.readers import COARSE, Buckets, Row
from canary_trio.admin.proxy_view import ProxyView

SERVICE = "service"
"""The label that every metric has: the service, or the gateway where it is of the process."""

SLICE = 100
"""Numbers that are rendered in one step: about a millisecond."""


FINE_ARMS = 100
"""With more arms in a process than that, histograms have the ends of `COARSE` only."""


async def render(view: ProxyView) -> bytes:
    """Give the figures of a proxy in Prometheus' text format (version 0.0.4).

    The traffic goes on between slices. Cancelled, it gives nothing.
    """
    parts = []
    for part in rendered(CATALOG, view, trio.current_time()):
        parts.append(part)
        await trio.lowlevel.checkpoint()
    return b"".join(parts)


def rendered(
    families: Iterable[Family], view: ProxyView, now: float
) -> Iterator[bytes]:
    """Give the text in slices."""
    arms = sum(len(one.runtime.arms) for one in view.all)
    for family in families:
        rows = _rows(family, view, now)
        step = SLICE
        if family.kind is Kind.HISTOGRAM:
            rows = map(_coarse, rows) if arms > FINE_ARMS else rows
            step = 1 if arms <= FINE_ARMS else SLICE // len(COARSE)
        first = True
        while chunk := list(islice(rows, step)):
            yield exposition(_metric(family, chunk), headed=first)
            first = False
    yield from (exposition(metric) for metric in _PROCESS.collect())


def _rows(family: Family, view: ProxyView, now: float) -> Iterator[Row]:
    """Give the rows of a family, each with whose it is before its labels."""
    for one in view.all:
        for labels, value in family.read(one, now):
            yield (one.service, *labels), value


def _coarse(row: Row) -> Row:
    labels, buckets = row
    assert isinstance(buckets, Buckets), "as its kind says"
    return labels, buckets.coarse()


_PROCESS = ProcessCollector(registry=None)


def _metric(family: Family, rows: Iterable[Row]) -> Metric:
    name, text = family.name, family.text
    labels = (SERVICE, *family.labels)
    if family.kind is Kind.HISTOGRAM:
        metric = HistogramMetricFamily(name, text, labels=labels)
        for values, buckets in rows:
            assert isinstance(buckets, Buckets), "as its kind says"
            shown = list(zip(buckets.ends, buckets.counts, strict=True))
            metric.add_metric(values, shown, buckets.total)
        return metric
    made = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    plain = made(name, text, labels=labels)
    for values, value in rows:
        assert not isinstance(value, Buckets), "as its kind says"
        plain.add_metric(values, value)
    return plain
