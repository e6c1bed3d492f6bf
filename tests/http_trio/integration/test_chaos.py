"""A short form of `make soak`."""

from __future__ import annotations

import pytest

from tests.http_trio.integration.chaos import run


async def test_load_with_faults_is_right_and_leaves_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tally = await run(connections=40, seconds=2, seed=1, wait_s=2)

    assert tally.healthy > 100
    assert tally.others["vanished"]
    assert tally.others["502"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
