"""A short form of `soak.py`, which `make soak` runs for a minute."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.soak import soak


async def test_all_protocols_with_faults_are_right_and_leave_nothing(
    tmp_path: Path,
) -> None:
    found = await soak(tmp_path, clients=10, seconds=1, seed=1, rounds=1)

    for what in (
        "GET",
        "WebSocket,",
        "unary calls",
        "two-way calls",
        "long WebSocket, HTTP/1.1",
        "long WebSocket, HTTP/2",
        "kept HTTP/1.1",
        "documents",
    ):
        assert found.tally.right[what], what
    assert {"Http2Stream", "Exchange"} <= found.seen
