"""The metrics of who may pass: rows of the catalog, which say why a request did not."""

from __future__ import annotations

from canary_trio.admin.metrics import readers as readings
from canary_trio.admin.metrics.family import counter

ACCESS = (
    counter(
        "canary_refusals_total",
        "Requests that might not pass, by why: denied (403), too_large (413),"
        " rate_limited (429), unauthenticated (401), auth_denied (as the server that was"
        " asked says), auth_failed (503: nobody could say).",
        ("kind",),
        readings.refusals,
    ),
    counter(
        "canary_rate_limit_requests_total",
        "Requests that were counted against a limit, by the limit and by whether they"
        " passed it, were refused, or would have been but for dry_run.",
        ("limit", "outcome"),
        readings.limited,
    ),
    counter(
        "canary_rate_limit_forgotten_total",
        "Clients that were forgotten too early, since there were more than"
        " --rate-limit-clients.",
        (),
        readings.forgotten,
    ),
    counter(
        "canary_auth_requests_total",
        "Requests that had to show who asks, by the check (basic_auth, forward_auth), and"
        " what it came to: granted, denied, failed (nobody could say), let_by (nobody could"
        " say, and it passed).",
        ("check", "outcome"),
        readings.checked,
    ),
    counter(
        "canary_auth_questions_total",
        "Questions to the server of forward_auth, and looks at passwords of basic_auth; other"
        " requests were decided by what was known.",
        ("check",),
        readings.questions,
    ),
)
"""Refusals, limits of the rate, and checks of who asks."""
