"""What may stand in Host, or in an authority (RFC 9110 section 7.2), pure."""

from __future__ import annotations

import functools
import re

HOST_SIZE = 255 + len(":65535")
"""Bytes of a host name (RFC 1035 section 2.3.4) and its port; beyond them 400."""

_HOST = re.compile(
    rb"""(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[^\]/@?\#\s]+\]
         |[A-Za-z0-9\-._~!$&'()*+,;=%]*)(?::[0-9]{0,5})?\Z""",
    re.VERBOSE,
)


@functools.lru_cache(maxsize=256)
def is_host(value: bytes) -> bool:
    """Tell whether a Host, or an authority, may be one."""
    return len(value) <= HOST_SIZE and _HOST.match(value) is not None
