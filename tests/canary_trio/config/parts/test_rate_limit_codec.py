"""Limits of the rate of requests in a document: what is refused, with its path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.canary_trio.support.documents import ARMS, problems

GOOD: dict[str, Any] = {"name": "a", "requests": 10}


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"name": "a b"}, ".name", "a name of letters"),
        ({"name": 'a"'}, ".name", "a name of letters"),
        ({"requests": 0}, ".requests", "a whole number from 1"),
        ({"requests": 1.5}, ".requests", "a whole number from 1"),
        ({"requests": 1_000_001}, ".requests", "at most 1000000 requests a second"),
        ({"per": 0}, ".per", "seconds from 0.01 to 86400"),
        ({"per": "1 s"}, ".per", "seconds from 0.01 to 86400"),
        ({"burst": 0}, ".burst", "a whole number from 1"),
        ({"per": 86400, "burst": 10_000}, ".burst", "at most 31622400 s"),
        ({"by": "cookie"}, ".by", '"address", "service", or a table'),
        ({"by": {}}, ".by", '"address", "service", or a table'),
        ({"by": {"header": "a", "cookie": "b"}}, ".by", "with one of address"),
        ({"by": {"header": "a b"}}, ".by.header", "the name of a header"),
        ({"by": {"address": {"v6": 129}}}, ".by.address.v6", "from 1 to 128"),
        ({"except": ["10.0.0.1/8"]}, ".except[0]", "a network such as"),
        ({"dry_run": 1}, ".dry_run", "true or false"),
        ({"exept": []}, ".exept", "did you mean except?"),
    ],
)
def test_a_bad_limit_is_refused_with_its_path(
    change: dict[str, Any], path: str, words: str
) -> None:
    limits = [GOOD, {**GOOD, "name": "b", **change}]
    found = problems({"arms": ARMS, "access": {"rate_limits": limits}})

    place = f"$.access.rate_limits[1]{path}"
    assert list(found) == [place]
    assert words in found[place][1]


def test_a_name_stands_for_one_limit() -> None:
    found = problems({"arms": ARMS, "access": {"rate_limits": [GOOD, GOOD]}})

    place = "$.access.rate_limits[1].name"
    assert found == {place: ('a second "a"', "each name once")}


def test_there_are_twenty_at_most() -> None:
    limits = [{**GOOD, "name": f"a{number}"} for number in range(21)]
    found = problems({"arms": ARMS, "access": {"rate_limits": limits}})

    expected = ("21 of them", "a list of at most 20 limits")
    assert found == {"$.access.rate_limits": expected}
