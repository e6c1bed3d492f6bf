"""A short form of `make crash`, which kills the store a hundred times."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.crash import crash


async def test_what_is_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    assert "none of them broken" in await crash(tmp_path, rounds=3, seed=1)
