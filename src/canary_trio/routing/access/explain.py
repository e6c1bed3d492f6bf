"""What the gate would say to a described request. Pure."""

from __future__ import annotations

import attrs

from canary_trio.config.model import Config
from canary_trio.routing.access.gate import gate_of
from canary_trio.routing.explain import Explanation
from canary_trio.routing.request_spec import RequestSpec


def with_refusal(found: Explanation, spec: RequestSpec, config: Config) -> Explanation:
    """Add to an explanation why the request would not pass, if so.

    Args:
        found: what would become of it if it passed.
        spec: the request; its client is taken for the one behind all balancers.
        config: of the service.
    """
    gate = gate_of(config.access)
    if gate is None:
        return found
    refused = gate.turn_down(spec.client, spec.head().framing)
    if refused is None:
        return found
    return attrs.evolve(found, refused=refused.kind.value)
