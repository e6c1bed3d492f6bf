"""How the name of a gateway is told from that of a service. Pure."""

from __future__ import annotations

GATEWAY_MARK = "@"
"""What the name of a gateway begins with, and no service's does."""


def is_gateway(name: str) -> bool:
    """Tell whether a name is a gateway's.

    >>> is_gateway("@edge"), is_gateway("web")
    (True, False)
    """
    return name.startswith(GATEWAY_MARK)
