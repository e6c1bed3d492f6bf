"""How long a proxy's certificates last: for its status, its metrics, and its fleet.

A certificate is not read for that: what is known of it was noted when it was taken up.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence

import http_trio
from canary_trio.admin.merge_rules import MergeRule, Shape
from canary_trio.admin.proxy_view import ProxyView
from canary_trio.control.fleet.report import MOST_NOTICES, NOTICE_S, CertificateNotice

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
_NAMES = 5  # of one certificate that the fleet is told


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
        for served in _served(view)
    ]


def expiries(view: ProxyView, _: float) -> Iterator[tuple[Sequence[str], float]]:
    """Give the time until the certificate that each name is shown expires."""
    now = time.time()
    left: dict[str, float] = {}
    for served in _served(view):
        for name in served.names:
            left.setdefault(name, served.x509.not_after - now)
    for name, seconds in left.items():
        yield (name,), seconds


def notices(view: ProxyView) -> tuple[CertificateNotice, ...]:
    """Give what the fleet is told: certificates that expire soon, or are not valid.

    They do not change while the certificates do not, but for one more now and then.
    """
    now = time.time()
    due = [
        one
        for one in _served(view)
        if one.x509.not_after - now < NOTICE_S or one.problem(now)
    ]
    return tuple(
        CertificateNotice(
            file=one.file,
            names=one.held.names[:_NAMES],
            not_before=int(one.x509.not_before),
            not_after=int(one.x509.not_after),
            has_hosts=bool(one.x509.dns or one.x509.addresses),
        )
        for one in sorted(due, key=lambda one: one.x509.not_after)[:MOST_NOTICES]
    )


def _served(view: ProxyView) -> list[http_trio.ServedCertificate]:
    """Give those of the listeners, and of the admin's; one that both have once."""
    own = [] if view.server is None else list(view.server.certificates)
    known = {one.file for one in own}
    return [*own, *(one for one in view.admin_certificates() if one.file not in known)]


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")
