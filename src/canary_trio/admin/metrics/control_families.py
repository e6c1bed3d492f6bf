"""The metrics of the control plane: which document runs, the store, and what was told."""

from __future__ import annotations

from canary_trio.admin.merge_rules import MergeRule
from canary_trio.admin.metrics import readers as readings
from canary_trio.admin.metrics.family import counter, gauge

CONTROL = (
    gauge(
        MergeRule.LOWEST,
        "canary_config_revision",
        "The revision that runs, the newest that was seen, and the last that was"
        " refused, unless a newer one runs; 0 for none.",
        ("state",),
        readings.revisions,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_config_age_seconds",
        "Time since the revision that runs came live.",
        (),
        readings.config_age,
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_config_remembered",
        "1 if what runs came from the disk, since the store has not been reached.",
        (),
        lambda view, _: iter([((), int(view.control.status.remembered))]),
    ),
    gauge(
        MergeRule.HIGHEST,
        "canary_store_contact_age_seconds",
        "Time since the store's last good response; +Inf before the first. With a quiet"
        " store it grows up to the document's update_rate.",
        (),
        readings.contact_age,
    ),
    counter(
        "canary_store_errors_total",
        "Tries to read the store, or to wait for a change in it, that failed.",
        (),
        readings.store_errors,
    ),
    counter(
        "canary_events_total",
        "What happened to the proxy itself, by kind, as its log has it.",
        ("kind",),
        readings.events,
    ),
)
"""Documents, the store that has them, and events."""
