"""The metrics of a proxy: names, meaning, and which reading gives each. A table.

Nothing is counted here: what the traffic adds up is read when Prometheus asks. Names
follow its conventions (base units, `_total` for counters). `docs/metrics.md` is made of
this table, and a test holds them together. One file, since it is one table.
"""

from __future__ import annotations

from canary_trio.admin.certificates import expiries
from canary_trio.admin.merge_rules import PROCESS_RULES, MergeRule
from canary_trio.admin.metrics import readers as readings
from canary_trio.admin.metrics.access_families import ACCESS
from canary_trio.admin.metrics.control_families import CONTROL
from canary_trio.admin.metrics.family import counter as _counter
from canary_trio.admin.metrics.family import gauge as _gauge
from canary_trio.admin.metrics.family import histogram as _histogram
from canary_trio.admin.metrics.rollout_families import ROLLOUT

_SERVER = ("arm", "server")

CATALOG = (
    _counter(
        "canary_requests_total",
        "Requests that are over, by the arm that served, the arm that was chosen at"
        " first, why it was served so (rule, sticky, ratio, hash, fallback, retry, or"
        " route where a gateway answers itself, none where no document or no route leads"
        " on, or why it might not pass), the rule that chose or the limit that refused, and"
        " the class of the status (499: the client left first).",
        ("arm", "chosen", "reason", "rule", "code"),
        readings.requests,
    ),
    _histogram(
        "canary_request_seconds",
        "Time from the end of a request's header to the end of its response, by the arm"
        " that served.",
        ("arm",),
        readings.seconds,
    ),
    _counter(
        "canary_retries_total",
        "Further tries than the first, by the arm that was chosen at first.",
        ("arm",),
        readings.retries,
    ),
    _counter(
        "canary_failures_total",
        "Tries that gave no usable response, by the arm that was tried, and what happened.",
        ("arm", "condition"),
        readings.failures,
    ),
    _counter(
        "canary_trial_requests_total",
        "Requests that are over since another document is tried for a share of the users,"
        " by the document (present, or trial), and the class of the status.",
        ("document", "code"),
        readings.tried,
    ),
    *ACCESS,
    _gauge(
        MergeRule.HIGHEST,
        "canary_split_asked_share",
        "The share of an arm that the document asks for, from 0 to 1.",
        ("arm",),
        readings.asked,
    ),
    _gauge(
        MergeRule.SHARE,
        "canary_split_observed_share",
        "The share that the ratio gave an arm, of its decisions since it was last"
        " changed; NaN before the first.",
        ("arm",),
        readings.observed,
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_split_decisions",
        "Decisions of the ratio since it was last changed.",
        ("arm",),
        readings.decided,
    ),
    _gauge(
        MergeRule.LOWEST,
        "canary_split_mismatch_p",
        "How likely chance alone strays so far from what was asked (Pearson's"
        " chi-square test); below 0.001 the split is broken. NaN for too few decisions.",
        (),
        readings.p_value,
    ),
    _counter(
        "canary_arm_requests_total",
        "Requests that belong to an arm.",
        ("arm",),
        readings.arms(lambda state: state.requests),
    ),
    _counter(
        "canary_arm_errors_total",
        "Requests that an arm failed: answered with 5xx or an error of ours, or served by"
        " another arm in the end.",
        ("arm",),
        readings.arms(lambda state: state.errors),
    ),
    _counter(
        "canary_arm_saved_total",
        "Of these, those that were served elsewhere: no client saw the error.",
        ("arm",),
        readings.arms(lambda state: state.saved),
    ),
    _counter(
        "canary_arm_fallbacks_total",
        "Requests of an arm that were given to another one.",
        ("arm",),
        readings.arms(lambda state: state.fallbacks),
    ),
    _counter(
        "canary_arm_taken_over_total",
        "Requests of other arms that an arm was given.",
        ("arm",),
        readings.arms(lambda state: state.taken_over),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_arm_in_flight",
        "Requests in progress at an arm, at servers too that are no more in the"
        " document.",
        ("arm",),
        readings.in_flight,
    ),
    _gauge(
        MergeRule.LOWEST,
        "canary_arm_usable_servers",
        "Servers of an arm that may serve new users now.",
        ("arm",),
        readings.arms(lambda state: len(state.server_set.usable)),
    ),
    _gauge(
        MergeRule.HIGHEST,
        "canary_arm_panic",
        "1 while health is ignored, since fewer servers than the panic threshold are"
        " healthy.",
        ("arm",),
        readings.arms(lambda state: state.server_set.panic),
    ),
    _gauge(
        MergeRule.LOWEST,
        "canary_server_healthy",
        "1 unless active or passive checks have taken a server out.",
        _SERVER,
        readings.each(lambda state: state.healthy),
    ),
    _gauge(
        MergeRule.HIGHEST,
        "canary_server_ejected",
        "1 while passive checks have taken a server out.",
        _SERVER,
        readings.each(lambda state: bool(state.ejected_until)),
    ),
    _counter(
        "canary_server_ejections_total",
        "How often passive checks took a server out.",
        _SERVER,
        readings.each(lambda state: state.record.total),
    ),
    _gauge(
        MergeRule.HIGHEST,
        "canary_server_latency_seconds",
        "The mean time of a server's latest responses; 0 before the first.",
        _SERVER,
        readings.each(lambda state: state.latency_s),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_server_in_flight",
        "Requests in progress at a server.",
        _SERVER,
        readings.each(lambda state: state.in_flight),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_server_pending",
        "Requests that wait for a place at a server.",
        _SERVER,
        readings.each(lambda state: 0 if state.queue is None else len(state.queue)),
    ),
    _counter(
        "canary_server_requests_total",
        "Requests that a server was given.",
        _SERVER,
        readings.each(lambda state: state.requests),
    ),
    _counter(
        "canary_server_failures_total",
        "Of these, those without a response, or with 5xx.",
        _SERVER,
        readings.each(lambda state: state.failures),
    ),
    _gauge(
        MergeRule.HIGHEST,
        "canary_server_weight",
        "A server's present weight.",
        _SERVER,
        readings.each(lambda state: state.weight),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_server_connections",
        "Open connections to a server, idle ones included.",
        _SERVER,
        readings.each(lambda state: state.upstream.open),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_server_idle_connections",
        "Connections to a server that wait for a request.",
        _SERVER,
        readings.each(lambda state: len(state.upstream.idle)),
    ),
    _counter(
        "canary_mirror_copies_total",
        "Copies of requests, by the arm that got them, and how the response compares with"
        " the original's: same (status and size), other_status, other_size, no_response or"
        " late.",
        ("arm", "outcome"),
        readings.copies,
    ),
    _counter(
        "canary_mirror_skipped_total",
        "Copies that were not made though it was their turn: body (too large, or"
        " streamed), busy (concurrency), no_server, or no_original (no response to compare"
        " with).",
        ("arm", "cause"),
        readings.skips,
    ),
    _counter(
        "canary_mirror_size_difference_bytes_total",
        "Bytes by which the responses of the same status differed in size.",
        ("arm",),
        readings.size_differences,
    ),
    _histogram(
        "canary_mirror_seconds",
        "Time that the responses to copies took, connecting included.",
        ("arm",),
        readings.copy_seconds,
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_mirror_in_progress",
        "Copies in progress.",
        (),
        readings.copies_in_progress,
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_connections",
        "Clients that are connected.",
        (),
        readings.connections,
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_open_connections",
        "The same, by what they speak: HTTP/1.1 (1.0 too), HTTP/2, or"
        " none while that is not known yet.",
        ("protocol",),
        readings.open_connections,
    ),
    _counter(
        "canary_client_connections_total",
        "Clients' connections, by what they speak, as it became known.",
        ("protocol",),
        readings.all_connections,
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_open_streams",
        "Requests in progress over connections that carry many at once.",
        ("protocol",),
        readings.of_streams(lambda counts: counts.open_streams),
    ),
    _counter(
        "canary_streams_total",
        "Requests that came over such connections.",
        ("protocol",),
        readings.of_streams(lambda counts: counts.streams),
    ),
    _counter(
        "canary_stream_resets_total",
        "Of these, those that were reset, by who did it or made us do it (client, proxy or"
        " upstream), and the error code (RFC 9113, section 7).",
        ("by", "code"),
        readings.resets,
    ),
    _counter(
        "canary_goaways_total",
        "Connections over HTTP/2 that the proxy ended, by why: draining, idle, full (too"
        " many clients), flood (too much that asks for nothing), or fault (the client broke"
        " the rules); and by the error code.",
        ("reason", "code"),
        readings.goaways,
    ),
    _counter(
        "canary_recalled_total",
        "WebSockets, streams and other requests in progress that were ended, since a"
        " change of the document had removed their arm, server or route.",
        (),
        readings.of_long_connections(lambda long: long.recalled),
    ),
    _gauge(
        MergeRule.ADDED,
        "canary_recalls_pending",
        "Requests in progress that are to be ended for that reason.",
        (),
        readings.of_long_connections(lambda long: long.leaving),
    ),
    _counter(
        "canary_refused_requests_total",
        "Requests that the engine answered itself, by status: no valid HTTP (400, 417, 501,"
        " 505), too slow (408), too long (414, 431), or misdirected (421). One whose body"
        " is at fault was routed by then, and counts there as a client that left.",
        ("code",),
        readings.refused,
    ),
    _gauge(
        MergeRule.LOWEST,
        "canary_tls_certificate_expiry_seconds",
        "Time until the certificate that a name is shown expires; below 0 once it has.",
        ("name",),
        expiries,
    ),
    *CONTROL,
    *ROLLOUT,
    _counter(
        "canary_task_failures_total",
        "Failures of tasks beside the requests that nobody foresaw, by task; each is"
        " begun again, and the log says what it was.",
        ("task",),
        readings.task_failures,
    ),
    _counter(
        "canary_access_log_lines_total",
        "Lines of the access log that were written.",
        (),
        readings.of_log(lambda log: log.written),
    ),
    _counter(
        "canary_access_log_dropped_lines_total",
        "Lines of the access log that were lost: the file took no more, or not as fast.",
        (),
        readings.of_log(lambda log: log.dropped),
    ),
    _counter(
        "canary_log_dropped_lines_total",
        "Lines of the process log that were lost: standard error took no more, or not as"
        " fast.",
        (),
        readings.lost_lines,
    ),
    _gauge(
        MergeRule.HIGHEST,
        "canary_proxy_info",
        "Always 1; what this proxy is.",
        ("id", "version"),
        readings.info,
    ),
)
"""All metrics, in the order in which they are shown."""

RULES = {
    **{family.name.removesuffix("_total"): family.rule for family in CATALOG},
    **PROCESS_RULES,
}
"""What several workers say, by the name that the parser gives to a family."""
