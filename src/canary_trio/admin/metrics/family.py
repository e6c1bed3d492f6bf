"""What a metric is: its name, kind and labels, its merging rule, and who reads it."""

from __future__ import annotations

import enum
from functools import partial

import attrs

from canary_trio.admin.merge_rules import MergeRule
from canary_trio.admin.metrics.readers import Read


class Kind(enum.Enum):
    """The type of a metric, as Prometheus has it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen
class Family:
    """One metric.

    Attributes:
        rule: what several workers say; counters and histograms are added.
        name: in full.
        text: what it says; its unit is in the name.
        labels: their names.
        read: gives its rows, at a time of the event loop's clock.
    """

    kind: Kind
    rule: MergeRule
    name: str
    text: str
    labels: tuple[str, ...]
    read: Read = attrs.field(repr=False)


counter = partial(Family, Kind.COUNTER, MergeRule.ADDED)
histogram = partial(Family, Kind.HISTOGRAM, MergeRule.ADDED)
gauge = partial(Family, Kind.GAUGE)
