"""Who may pass to a service: frozen values. Pure.

What is a value here is valid: only the codecs in `parts` make them from outside.
"""

from __future__ import annotations

import attrs

from canary_trio.config.policies import described
from canary_trio.config.rules import Network


@attrs.frozen
class Access:
    """Who may pass to a service, and with how much."""

    allow: tuple[Network, ...] = described(
        "Networks of clients that may pass, and nobody else; without any, all may.",
        default=(),
    )
    deny: tuple[Network, ...] = described(
        "Networks of clients that are refused with 403, whatever `allow` says.",
        default=(),
    )
    body: int | None = described(
        "Bytes of a request's body at most; a larger one is refused with 413. null for no"
        " limit.",
        default=None,
    )
