"""What would be said to a described request before it is routed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from canary_trio.config.access import RateLimit
from canary_trio.config.auth import AuthRules
from canary_trio.config.model import Config
from canary_trio.routing.access.cells import SECRET, WAYS, Cells
from canary_trio.routing.access.gate import RefusalKind, gate_of
from canary_trio.routing.access.rate_limit import LimitCounts
from canary_trio.routing.access.rate_limiter import RateLimiter, Standing
from canary_trio.routing.explain import Explanation
from canary_trio.routing.request.request_spec import RequestSpec


def with_refusal(
    found: Explanation,
    spec: RequestSpec,
    config: Config,
    standings: Iterable[Standing] | None = None,
) -> Explanation:
    """Add to an explanation what the request counts against, and why it would not pass.

    And what it must show beside that, which cannot be told before.

    Args:
        found: what would become of it if it passed.
        spec: the request; its client is taken for the one behind all balancers.
        config: of the service.
        standings: how it stands with the limits of a proxy that runs; None where none is
            asked.
    """
    gate = gate_of(config.access)
    if gate is not None:
        refused = gate.turn_down(spec.client, spec.head().framing)
        if refused is not None:
            return attrs.evolve(found, refused=refused.kind.value)
    if standings is None:
        standings = limits_of(spec, config.access.rate_limits)
    told = tuple(standings)
    over = any(one.wait_s and not one.dry_run for one in told)
    return attrs.evolve(
        found,
        rate_limits=tuple(attrs.asdict(one) for one in told),
        refused=RefusalKind.RATE_LIMITED.value if over else None,
        auth=checks_of(config.access),
    )


def limits_of(spec: RequestSpec, limits: Iterable[RateLimit]) -> list[Standing]:
    """Give the limits that a request counts against, without what was counted."""
    cells = Cells.private(bytes(SECRET), WAYS)
    limiter = RateLimiter("", limits, cells, lambda _: LimitCounts())
    return list(limiter.standings(spec.head(), spec.client, None))


def checks_of(rules: AuthRules) -> tuple[Mapping[str, str], ...]:
    """Give what a request must pass that is not known from the request alone."""
    basic, forward = rules.basic_auth, rules.forward_auth
    checks = []
    if basic is not None:
        checks.append({"check": "basic_auth", "by": f"the file {basic.file}"})
    if forward is not None:
        checks.append({"check": "forward_auth", "by": f"{forward.url}{forward.path}"})
    return tuple(checks)
