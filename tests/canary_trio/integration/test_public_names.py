"""What the package hands out is sorted and says what it is."""

from __future__ import annotations

import canary_trio


def test_the_public_names_are_these() -> None:
    assert sorted(canary_trio.__all__) == canary_trio.__all__
    for name in canary_trio.__all__:
        assert getattr(canary_trio, name).__doc__
