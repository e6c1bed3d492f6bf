"""Who may pass to a service: JSON to an `Access` and back. Pure."""

from __future__ import annotations

from canary_trio.config.access import Access
from canary_trio.config.codec import integer, list_of, optional, table
from canary_trio.config.scalars import NETWORK

NETWORKS = list_of(NETWORK, most=10_000, of="networks")
"""Networks of clients."""

ACCESS = table(Access, allow=NETWORKS, deny=NETWORKS, body=optional(integer(0, 2**40)))
"""Who may pass."""
