"""Shares as people write them."""

from __future__ import annotations

import pytest

from canary_trio.command.cli.rollout.words import read_share, read_steps


@pytest.mark.parametrize("text", ["", "%", "101%", "-1%", "2", "nan", "inf", "half"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a share such as"):
        read_share(text)


def test_the_last_step_holds_nothing() -> None:
    assert read_steps("1%, 5%,1", 600.0, 5000) == [
        {"ratio": 0.01, "hold": 600.0, "requests": 5000},
        {"ratio": 0.05, "hold": 600.0, "requests": 5000},
        1.0,
    ]
