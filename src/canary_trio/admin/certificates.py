"""How long a proxy's certificates last: for its status, and for its metrics.

A certificate is not read for that: what is known of it was noted when it was taken up.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence

from canary_trio.admin.merge_rules import MergeRule, Shape
from canary_trio.admin.proxy_view import ProxyView

RULES: Mapping[str, Shape] = {
    "file": MergeRule.SLOWEST,
    "names": MergeRule.UNION,
    "not_before": MergeRule.LOWEST,
    "not_after": MergeRule.LOWEST,
    "days_left": MergeRule.LOWEST,
    "problem": MergeRule.SAID,
}
"""What several workers say of a certificate."""

_DAY_S = 86400.0


def describe_certificates(view: ProxyView) -> list[dict[str, object]]:
    """Give what a status says of the certificates, in their order."""
    now = time.time()
    return [
        {
            "file": served.file,
            "names": list(served.names),
            "not_before": _date(served.x509.not_before),
            "not_after": _date(served.x509.not_after),
            "days_left": round((served.x509.not_after - now) / _DAY_S, 2),
            "problem": served.problem(now),
        }
        for served in (() if view.server is None else view.server.certificates)
    ]


def expiries(view: ProxyView, _: float) -> Iterator[tuple[Sequence[str], float]]:
    """Give the time until the certificate that each name is shown expires."""
    now = time.time()
    left: dict[str, float] = {}
    for served in () if view.server is None else view.server.certificates:
        for name in served.names:
            left.setdefault(name, served.x509.not_after - now)
    for name, seconds in left.items():
        yield (name,), seconds


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")
