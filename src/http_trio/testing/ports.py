"""Ports for what tests and benchmarks start.

Between the moment that a port is found free and the one that somebody listens there, the
system may give it to a connection of anybody on the machine. So none is given of those that
the system hands out; and chance, not order, keeps test processes side by side apart.
"""

from __future__ import annotations

import random
import socket
from functools import cache
from pathlib import Path

_FIRST = 10_240
"""The lowest port that is given; below are those of well-known services."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_chance = random.SystemRandom()  # the other one is seeded by tests
_given: set[int] = set()


def free_port() -> int:
    """Give a port that nobody listens on, and that was not given before."""
    while True:
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", _chance.choice(_candidates())))
            except OSError:
                continue  # somebody has it
            port: int = sock.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


@cache
def _candidates() -> range:
    """Give the ports below those of the system; just 0, its choice, where there are none."""
    try:
        end = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        end = 49_152  # RFC 6335, section 6
    return range(_FIRST, end) if end - _FIRST > 1000 else range(1)
