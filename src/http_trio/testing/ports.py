"""Ports for what tests and benchmarks start."""

from __future__ import annotations

import socket

_given: set[int] = set()


def free_port() -> int:
    """Give a port that nobody listens on, and that was not given before."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
