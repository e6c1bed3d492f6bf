"""A port that is given to a test is nobody else's by chance."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from http_trio.testing import ports
from http_trio.testing.ports import free_port

SYSTEM = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not SYSTEM.exists(), reason="the system does not say what it gives")
def test_none_is_given_that_the_system_gives_to_connections() -> None:
    first, last = map(int, SYSTEM.read_text().split())
    found = {free_port() for _ in range(200)}

    assert len(found) == 200
    assert not [port for port in found if first <= port <= last]


@pytest.mark.parametrize("said", ["1024 65535", "nonsense", ""])
def test_there_is_one_whatever_the_system_says(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "range"
    file.write_text(said)
    monkeypatch.setattr(ports, "_RANGE", file)
    ports._candidates.cache_clear()
    try:
        port = free_port()
    finally:
        ports._candidates.cache_clear()

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


def test_one_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
        other.close()
        choices = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(ports._chance, "choice", lambda _: next(choices))

        assert free_port() == free
