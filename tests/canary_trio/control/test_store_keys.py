"""Names that are part of the store's keys."""

from __future__ import annotations

import pytest

from canary_trio.control.store_keys import BadName, check_name


@pytest.mark.parametrize("name", ["", "a/b", ".x", "a b", "x" * 64, "a\n"])
def test_a_name_that_cannot_be_part_of_a_key(name: str) -> None:
    with pytest.raises(BadName, match="expected letters"):
        check_name(name)
