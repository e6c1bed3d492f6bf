"""Names that are part of the store's keys."""

from __future__ import annotations

import pytest

from canary_trio.control.store_keys import (
    BadName,
    check_name,
    check_service,
    config_key,
    secret_key,
)


@pytest.mark.parametrize("name", ["", "a/b", ".x", "a b", "x" * 64, "a\n"])
def test_a_name_that_cannot_be_part_of_a_key(name: str) -> None:
    with pytest.raises(BadName, match="expected letters"):
        check_name(name)


def test_the_keys_of_a_gateway() -> None:
    assert config_key("@edge") == "canary/@edge/config"
    with pytest.raises(BadName):
        secret_key("@edge")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("@", "expected @ and the name of a gateway, such as @edge"),
        ("@a/b", "expected @ and the name of a gateway, such as @edge"),
        ("@@a", "expected @ and the name of a gateway, such as @edge"),
        ("a@b", "expected @ at its beginning"),
        ("a/b", "expected letters"),
    ],
)
def test_what_is_no_name_of_a_service_is_told_in_words(name: str, told: str) -> None:
    with pytest.raises(BadName, match=told):
        check_service(name)
