"""A short form of `soak.py`, which `make soak` runs for a minute."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.soak import soak


async def test_all_protocols_with_faults_are_right_and_leave_nothing(
    tmp_path: Path,
) -> None:
    found = await soak(tmp_path, clients=8, seconds=0.6, seed=1, rounds=1)

    assert found.tally.right["documents"]
    assert found.tally.right.total() > 10  # what they get done depends on the machine
    assert found.seen
