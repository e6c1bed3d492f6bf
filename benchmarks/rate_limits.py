"""What a limit of the rate of requests costs each request.

    python -m benchmarks.rate_limits

Prints microseconds of CPU time per request, the best of several runs, for a browser's
request of 620 bytes from 100 clients in turn: in one process, and with the lock that
workers need.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.routing import request
from canary_trio.config.parts.rate_limit_codec import RATE_LIMITS
from canary_trio.routing.access.cells import CELLS, Cells
from canary_trio.routing.access.rate_limit import LimitCounts
from canary_trio.routing.access.rate_limiter import RateLimiter
from canary_trio.serving.shared_cells import inherited_cells, shared_memory
from http_trio.http1.request_head import parse_request_head
from http_trio.limits import Limits

CLIENTS = [f"192.0.2.{number}" for number in range(100)]
REQUESTS = 2000
RUNS = 25

WIDE: dict[str, Any] = {"name": "wide", "requests": 1_000_000}
NARROW: dict[str, Any] = {"name": "narrow", "requests": 1, "per": 86400}
SHOWS = request(
    X_Api_Key="0123456789abcdef", Cookie="theme=dark; session=0123456789abcdef"
)

KINDS: dict[str, list[dict[str, Any]]] = {
    "by address": [WIDE],
    "by service": [{**WIDE, "by": "service"}],
    "by header": [{**WIDE, "by": {"header": "X-Api-Key"}}],
    "by cookie": [{**WIDE, "by": {"cookie": "session"}}],
    "by address, with an exempt network": [{**WIDE, "except": ["10.0.0.0/8"]}],
    "three of them by address": [{**WIDE, "name": f"wide{n}"} for n in range(3)],
    "one that refuses, with its response": [NARROW],
}


def cost_us(limits: list[dict[str, Any]], cells: Cells) -> float:
    """Give microseconds that limits cost a request."""
    counts = LimitCounts()
    limiter = RateLimiter("web", RATE_LIMITS.decode(limits), cells, lambda _: counts)
    head = parse_request_head(SHOWS, Limits())
    clients = CLIENTS * (REQUESTS // len(CLIENTS))
    check, now = limiter.check, time.monotonic_ns
    best = float("inf")
    for _ in range(RUNS):
        begun = time.process_time_ns()
        for client in clients:
            found = check(head, client, now())
            if found is not None:
                found.response()
        best = min(best, (time.process_time_ns() - begun) / len(clients))
    return best / 1e3


def main() -> None:
    print(f"us per request (CPU):{'alone':>27}{'workers':>10}")
    with shared_memory(CELLS) as descriptor:
        for name, limits in KINDS.items():
            alone = cost_us(limits, Cells.private(bytes(16)))
            shared = cost_us(limits, inherited_cells(descriptor))
            print(f"  {name:36}{alone:10.2f}{shared:10.2f}")


if __name__ == "__main__":
    main()
