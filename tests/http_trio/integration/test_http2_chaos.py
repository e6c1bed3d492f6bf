"""A short form of `http2_chaos.py`, which `make soak` runs for a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http_trio.integration.http2_chaos import run


async def test_both_protocols_with_faults_are_right_and_leave_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    tally = await run(clients=6, seconds=2, seed=1, directory=tmp_path)

    assert tally.right.total() > 10  # what they get done depends on the machine
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
