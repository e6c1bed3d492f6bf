"""Who may pass to a service: JSON to an `Access` and back. Pure."""

from __future__ import annotations

from canary_trio.config.access import Access
from canary_trio.config.codec import integer, optional, table
from canary_trio.config.parts.auth_codec import BASIC_AUTH, FORWARD_AUTH
from canary_trio.config.parts.rate_limit_codec import NETWORKS, RATE_LIMITS

ACCESS = table(
    Access,
    allow=NETWORKS,
    deny=NETWORKS,
    body=optional(integer(0, 2**40)),
    rate_limits=RATE_LIMITS,
    basic_auth=optional(BASIC_AUTH),
    forward_auth=optional(FORWARD_AUTH),
)
"""Who may pass."""
