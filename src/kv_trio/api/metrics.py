"""`/metrics`: the figures of a store, for Prometheus."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sized

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from kv_trio.api.bodies import RequestBodies
from kv_trio.api.writing.audit_log import AuditLog
from kv_trio.state.store import Store
from kv_trio.storage.group_commit import Writer
from kv_trio.watch.key_sets import KeySets
from kv_trio.watch.large_responses import LargeResponses

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
_COMMIT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The figures of one store, in a registry of its own.

    Attributes:
        requests: how many there were, by endpoint.
    """

    def __init__(self, store: Store, blocking_queries: Sized, streams: Sized) -> None:
        self.registry = CollectorRegistry()
        self.requests: collections.Counter[str] = collections.Counter()
        self.registry.register(_Requests(self.requests))
        self._writes = Counter(
            "kv_trio_writes",
            "Operations that are on disk.",
            registry=self.registry,
        )
        self._commit_s = Histogram(
            "kv_trio_commit_seconds",
            "How long the disk took for a batch.",
            buckets=_COMMIT_S,
            registry=self.registry,
        )
        self._batch = Histogram(
            "kv_trio_commit_operations",
            "Operations in a batch.",
            buckets=_BATCH,
            registry=self.registry,
        )
        self._woken = Counter(
            "kv_trio_watchers_woken",
            "Blocking queries that a change answered.",
            registry=self.registry,
        )
        self._gauge("kv_trio_watchers", "Blocking queries that wait.", blocking_queries)
        self._gauge("kv_trio_streams", "Open event streams.", streams)
        self._gauge("kv_trio_keys", "Keys in the store.", store)
        self._gauge("kv_trio_sessions", "Sessions that hold.", store.sessions)
        self.follow(
            "kv_trio_index", "The number of the last change.", lambda: store.index
        )
        ProcessCollector(registry=self.registry)

    def __repr__(self) -> str:
        return "<Metrics>"

    def committed(self, operations: int, seconds: float, woken: int) -> None:
        """Count a batch that is on disk."""
        self._commit_s.observe(seconds)
        self._batch.observe(operations)
        self._woken.inc(woken)
        self._writes.inc(operations)

    def render(self) -> bytes:
        """Give the figures in Prometheus' text format."""
        return generate_latest(self.registry)

    def follow(self, name: str, help_: str, value: Callable[[], float]) -> None:
        """Show a figure that a function gives whenever it is read."""
        Gauge(name, help_, registry=self.registry).set_function(value)

    def follow_parts(
        self,
        large: LargeResponses,
        key_sets: KeySets,
        writer: Writer,
        bodies: RequestBodies,
        audit: AuditLog | None,
    ) -> None:
        """Show the figures of the parts of a server."""
        self.follow(
            "kv_trio_large_responses",
            "Large responses that are being sent.",
            lambda: large.places.taken,
        )
        self.follow(
            "kv_trio_key_sets",
            "Requests that wait for a change of any of many keys.",
            lambda: key_sets.waiting,
        )
        self.follow(
            "kv_trio_writes_refused",
            "Operations that the disk refused.",
            lambda: writer.refused,
        )
        self.follow(
            "kv_trio_bodies_bytes",
            "Bytes that request bodies on their way may come to.",
            lambda: bodies.taken,
        )
        if audit is not None:
            self.registry.register(_AuditLines(audit))

    def _gauge(self, name: str, help_: str, things: Sized) -> None:
        self.follow(name, help_, lambda: len(things))


class _Requests(Collector):
    """Counts that are kept as plain numbers, since every request has one."""

    def __init__(self, requests: Mapping[str, int]) -> None:
        self._requests = requests

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the counts as Prometheus wants them."""
        family = CounterMetricFamily(
            "kv_trio_requests", "Requests by endpoint.", labels=["endpoint"]
        )
        for endpoint, count in self._requests.items():
            family.add_metric([endpoint], count)
        yield family


class _AuditLines(Collector):
    """The lines of the audit log, by what became of them."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the counts as Prometheus wants them."""
        family = CounterMetricFamily(
            "kv_trio_audit_lines", "Lines of the audit log.", labels=["outcome"]
        )
        family.add_metric(["written"], self._audit.written)
        family.add_metric(["lost"], self._audit.lost)
        yield family
