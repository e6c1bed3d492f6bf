"""The metrics of a proxy: names, meaning, and which reading gives each. A table.

Nothing is counted here: what the traffic adds up is read when Prometheus asks. Names
follow its conventions (base units, `_total` for counters). `docs/metrics.md` is made of
this table, and a test holds them together. One file, since it is one table.
"""

from __future__ import annotations

import enum

import attrs

from canary_trio.admin import metric_readers as readings
from canary_trio.admin.merge_rules import Rule


class Kind(enum.Enum):
    """What a number does."""

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
    rule: Rule
    name: str
    text: str
    labels: tuple[str, ...]
    read: readings.Read = attrs.field(repr=False)


_COUNTER = (Kind.COUNTER, Rule.ADDED)
_HISTOGRAM = (Kind.HISTOGRAM, Rule.ADDED)
_SERVER = ("arm", "server")

CATALOG = (
    Family(
        *(*_COUNTER, "canary_requests_total"),
        "Requests that are over, by the arm that served, the arm that was chosen at"
        " first, why it was served so (rule, sticky, ratio, hash, fallback, retry, or"
        " none before the first document), the rule that chose, and the class of the"
        " status (none: the client left first).",
        ("arm", "chosen", "reason", "rule", "code"),
        readings.requests,
    ),
    Family(
        *(*_HISTOGRAM, "canary_request_seconds"),
        "Time from the end of a request's header to the end of its response, by the arm"
        " that served.",
        ("arm",),
        readings.seconds,
    ),
    Family(
        *(*_COUNTER, "canary_retries_total"),
        "Further tries than the first, by the arm that was chosen at first.",
        ("arm",),
        readings.retries,
    ),
    Family(
        *(*_COUNTER, "canary_failures_total"),
        "Tries that gave no usable response, by the arm that was tried, and what happened.",
        ("arm", "condition"),
        readings.failures,
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_split_asked_share"),
        "The share of an arm that the document asks for, from 0 to 1.",
        ("arm",),
        readings.asked,
    ),
    Family(
        *(Kind.GAUGE, Rule.SHARE, "canary_split_observed_share"),
        "The share that the ratio gave an arm, of its decisions since it was last"
        " changed; NaN before the first.",
        ("arm",),
        readings.observed,
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_split_decisions"),
        "Decisions of the ratio since it was last changed.",
        ("arm",),
        readings.decided,
    ),
    Family(
        *(Kind.GAUGE, Rule.LOWEST, "canary_split_mismatch_p"),
        "How likely chance alone strays so far from what was asked (Pearson's"
        " chi-square test); below 0.001 the split is broken. NaN for too few decisions.",
        (),
        readings.p_value,
    ),
    Family(
        *(*_COUNTER, "canary_arm_requests_total"),
        "Requests that belong to an arm.",
        ("arm",),
        readings.arms(lambda state: state.requests),
    ),
    Family(
        *(*_COUNTER, "canary_arm_errors_total"),
        "Requests that an arm failed: answered with 5xx or an error of ours, or served by"
        " another arm in the end.",
        ("arm",),
        readings.arms(lambda state: state.errors),
    ),
    Family(
        *(*_COUNTER, "canary_arm_saved_total"),
        "Of these, those that were served elsewhere: no client saw the error.",
        ("arm",),
        readings.arms(lambda state: state.saved),
    ),
    Family(
        *(*_COUNTER, "canary_arm_fallbacks_total"),
        "Requests of an arm that were given to another one.",
        ("arm",),
        readings.arms(lambda state: state.fallbacks),
    ),
    Family(
        *(*_COUNTER, "canary_arm_taken_over_total"),
        "Requests of other arms that an arm was given.",
        ("arm",),
        readings.arms(lambda state: state.taken_over),
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_arm_in_flight"),
        "Requests in progress at an arm, at servers too that are no more in the"
        " document.",
        ("arm",),
        readings.in_flight,
    ),
    Family(
        *(Kind.GAUGE, Rule.LOWEST, "canary_arm_usable_servers"),
        "Servers of an arm that may serve new users now.",
        ("arm",),
        readings.arms(lambda state: len(state.server_set.usable)),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_arm_panic"),
        "1 while health is ignored, since fewer servers than the panic threshold are"
        " healthy.",
        ("arm",),
        readings.arms(lambda state: state.server_set.panic),
    ),
    Family(
        *(Kind.GAUGE, Rule.LOWEST, "canary_server_healthy"),
        "1 unless active or passive checks have taken a server out.",
        _SERVER,
        readings.each(lambda state: state.healthy),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_server_ejected"),
        "1 while passive checks have taken a server out.",
        _SERVER,
        readings.each(lambda state: bool(state.ejected_until)),
    ),
    Family(
        *(*_COUNTER, "canary_server_ejections_total"),
        "How often passive checks took a server out.",
        _SERVER,
        readings.each(lambda state: state.record.total),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_server_latency_seconds"),
        "The mean time of a server's latest responses; 0 before the first.",
        _SERVER,
        readings.each(lambda state: state.latency_s),
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_server_in_flight"),
        "Requests in progress at a server.",
        _SERVER,
        readings.each(lambda state: state.in_flight),
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_server_pending"),
        "Requests that wait for a place at a server.",
        _SERVER,
        readings.each(lambda state: 0 if state.queue is None else len(state.queue)),
    ),
    Family(
        *(*_COUNTER, "canary_server_requests_total"),
        "Requests that a server was given.",
        _SERVER,
        readings.each(lambda state: state.requests),
    ),
    Family(
        *(*_COUNTER, "canary_server_failures_total"),
        "Of these, those without a response, or with 5xx.",
        _SERVER,
        readings.each(lambda state: state.failures),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_server_weight"),
        "A server's present weight.",
        _SERVER,
        readings.each(lambda state: state.weight),
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_server_connections"),
        "Open connections to a server, idle ones included.",
        _SERVER,
        readings.each(lambda state: state.upstream.open),
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_server_idle_connections"),
        "Connections to a server that wait for a request.",
        _SERVER,
        readings.each(lambda state: len(state.upstream.idle)),
    ),
    Family(
        *(*_COUNTER, "canary_mirror_copies_total"),
        "Copies of requests, by the arm that got them, and how the response compares with"
        " the original's: same (status and size), other_status, other_size, no_response or"
        " late.",
        ("arm", "outcome"),
        readings.copies,
    ),
    Family(
        *(*_COUNTER, "canary_mirror_skipped_total"),
        "Copies that were not made though it was their turn: body (too large, or"
        " streamed), busy (concurrency), no_server, or no_original (no response to compare"
        " with).",
        ("arm", "cause"),
        readings.skips,
    ),
    Family(
        *(*_COUNTER, "canary_mirror_size_difference_bytes_total"),
        "Bytes by which the responses of the same status differed in size.",
        ("arm",),
        readings.size_differences,
    ),
    Family(
        *(*_HISTOGRAM, "canary_mirror_seconds"),
        "Time that the responses to copies took, connecting included.",
        ("arm",),
        readings.copy_seconds,
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_mirror_in_progress"),
        "Copies in progress.",
        (),
        readings.copies_in_progress,
    ),
    Family(
        *(Kind.GAUGE, Rule.ADDED, "canary_connections"),
        "Clients that are connected.",
        (),
        readings.connections,
    ),
    Family(
        *(*_COUNTER, "canary_refused_requests_total"),
        "Requests over HTTP/1.1 that the engine answered itself, by status: no valid HTTP"
        " (400, 417, 501, 505), too slow (408), or too long (414, 431). One whose body is"
        " at fault was routed by then, and counts there as a client that left.",
        ("code",),
        readings.refused,
    ),
    Family(
        *(Kind.GAUGE, Rule.LOWEST, "canary_config_revision"),
        "The revision that runs, the newest that was seen, and the last that was"
        " refused, unless a newer one runs; 0 for none.",
        ("state",),
        readings.revisions,
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_config_remembered"),
        "1 if what runs came from the disk, since the store has not been reached.",
        (),
        lambda view, _: iter([((), int(view.control.status.remembered))]),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_store_contact_age_seconds"),
        "Time since the store's last good response; +Inf before the first. With a quiet"
        " store it grows up to the document's update_rate.",
        (),
        readings.contact_age,
    ),
    Family(
        *(*_COUNTER, "canary_access_log_lines_total"),
        "Lines of the access log that were written.",
        (),
        readings.of_log(lambda log: log.written),
    ),
    Family(
        *(*_COUNTER, "canary_access_log_dropped_lines_total"),
        "Lines of the access log that were lost: the file took no more, or not as fast.",
        (),
        readings.of_log(lambda log: log.dropped),
    ),
    Family(
        *(Kind.GAUGE, Rule.HIGHEST, "canary_proxy_info"),
        "Always 1; what this proxy is.",
        ("service", "id", "version"),
        readings.info,
    ),
)
"""All metrics, in the order in which they are shown."""

PROCESS_RULES = {
    "process_cpu_seconds": Rule.ADDED,
    "process_max_fds": Rule.HIGHEST,
    "process_open_fds": Rule.ADDED,
    "process_resident_memory_bytes": Rule.ADDED,
    "process_start_time_seconds": Rule.LOWEST,
    "process_virtual_memory_bytes": Rule.ADDED,
}
"""What several workers say of the metrics that prometheus_client has of a process."""

RULES = {
    **{family.name.removesuffix("_total"): family.rule for family in CATALOG},
    **PROCESS_RULES,
}
"""What several workers say, by the name that the parser gives to a family."""
