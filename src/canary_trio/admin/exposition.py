"""Metrics in Prometheus' text exposition format (version 0.0.4). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()

_HEAD_LINES = 2  # of a family: HELP and TYPE


def exposition(metric: Metric, *, headed: bool = True) -> bytes:
    """Give the text of one metric, with the lines that head it or without them."""
    text = generate_latest(cast("CollectorRegistry", _Registry(metric)))
    return text if headed else text.split(b"\n", _HEAD_LINES)[_HEAD_LINES]


class _Registry:
    """A registry with one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
