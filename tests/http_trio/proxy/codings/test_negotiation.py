"""Which coding is chosen, by RFC 9110 section 12.5.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.proxy.codings.negotiation import choose_coding

BOTH = (b"zstd", b"gzip")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"", None),
        (b"gzip", b"gzip"),
        (b"GZip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=1.0, zstd;q=0.9", b"gzip"),
        (b"gzip ; q=0.5 ,\tzstd; Q=0.5", b"zstd"),
        (b"deflate, br", None),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000", None),
        (b"gzip;q=0.001", b"gzip"),
        (b"*", b"zstd"),
        (b"*;q=0", None),
        (b"*, zstd;q=0", b"gzip"),
        (b"gzip;q=0, *", b"zstd"),
        (b"*;q=0, gzip;q=0.1", b"gzip"),
        (b"identity", None),
        (b"identity;q=0", None),
        (b"identity;q=0, gzip;q=0", None),
        (b"identity;q=0, gzip;q=0.1", b"gzip"),
        (b"identity;q=0.5, gzip;q=0.4", None),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"gzip;q=0.4, identity", None),
        (b"gzip;q=1.001", None),
        (b"gzip;q=2", None),
        (b"gzip;q=.5", None),
        (b"gzip;q=-1", None),
        (b"gzip;q=0.5555", None),
        (b"gzip;q=", None),
        (b"gzip;q=nan", None),
        (b"gzip;level=1", None),
        (b"gz ip", None),
        (b",, gzip ,", b"gzip"),
        (b"gzip;q=0, gzip", b"gzip"),
        (b"\xff, gzip", b"gzip"),
    ],
)
def test_the_client_gets_what_it_likes_best(
    accepted: bytes, chosen: bytes | None
) -> None:
    assert choose_coding(accepted, BOTH) == chosen


@given(st.binary(max_size=40), st.permutations(BOTH))
def test_whatever_is_said_only_what_is_named_is_chosen(
    accepted: bytes, offered: list[bytes]
) -> None:
    chosen = choose_coding(accepted, tuple(offered))
    assert chosen in (None, *offered)
    if chosen is not None:
        assert chosen in accepted.lower() or b"*" in accepted


@pytest.mark.parametrize("offered", [BOTH, BOTH[::-1]])
def test_of_two_that_it_likes_alike_ours_comes_first(
    offered: tuple[bytes, ...],
) -> None:
    assert choose_coding(b"gzip, zstd", offered) == offered[0]
