"""Listings in pieces: the same JSON as at once, in short steps, or refused before the first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.consul import listing as module
from kv_trio.consul.encode import index_headers, render_entries
from kv_trio.consul.listing import PIECE, STEP, LargeListing, list_entries, list_keys
from kv_trio.consul.parameters import Read
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.entry import Entry

KEYS = st.lists(
    st.text("ab/<é", max_size=5).map(lambda text: b"p" + text.encode()),
    min_size=1,
    max_size=30,
    unique=True,
)
READS = st.builds(
    Read,
    st.sampled_from([b"", b"p", b"p/"]),
    recurse=st.just(True),  # a strategy
    pretty=st.booleans(),
)
KEY_READS = st.builds(
    Read,
    st.sampled_from([b"", b"p", b"p/"]),
    keys=st.just(True),  # a strategy
    separator=st.sampled_from([b"", b"/", b"a", b"//", b"/a/", b"\xff", b"x" * 5000]),
    pretty=st.booleans(),
)


def entries_of(keys: list[bytes]) -> list[Entry]:
    return [Entry(key, b"v" * n, n, 1, 2 + n) for n, key in enumerate(sorted(keys))]


@given(KEYS, READS, st.sampled_from([1, 3, STEP]), st.sampled_from([1, 50, PIECE]))
def test_the_pieces_are_the_whole(
    keys: list[bytes], read: Read, step: int, piece: int
) -> None:
    entries = entries_of(keys)
    listing = list_entries(entries, read, index_headers(7))
    assert joined(listing, step, piece) == render_entries(entries, read, 7).body


@given(KEYS, KEY_READS, st.sampled_from([1, 3, STEP]), st.sampled_from([1, 50, PIECE]))
def test_the_pieces_of_keys_are_the_whole(
    keys: list[bytes], read: Read, step: int, piece: int
) -> None:
    entries = entries_of(keys)
    listing = list_keys([entry.key for entry in entries], read, ())
    assert joined(listing, step, piece) == render_entries(entries, read, 7).body


def joined(listing: LargeListing, step: int, piece: int) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP", step)
        patch.setattr(module, "PIECE", piece)
        return b"".join(listing.steps(StoreLimits()))


def test_nothing_to_list_is_an_empty_array() -> None:
    assert (
        b"".join(list_keys([], Read(b"", keys=True), ()).steps(StoreLimits())) == b"[]"
    )


@pytest.mark.parametrize("value", [0, 100, 500_000])
@pytest.mark.parametrize("pretty", [False, True])
def test_a_step_is_short_however_long_the_listing(value: int, *, pretty: bool) -> None:
    count = 40_000 if value < 500_000 else 40
    entry = Entry(b"k", b"v" * value, 0, 1, 2)
    written = 0

    def count_one(written_entry: Entry) -> int:
        nonlocal written
        written += 1
        return module.size_of(written_entry)

    listing = list_entries([entry] * count, Read(b"", recurse=True, pretty=pretty), ())
    write = listing.write
    most = 0

    def write_one(item: Entry) -> bytes:
        count_one(item)
        return write(item)

    counted = LargeListing(listing.items, write_one, count_one)
    one = len(write(entry))
    for piece in counted.steps(StoreLimits()):
        most, written = max(most, written), 0
        assert len(piece) <= PIECE + one + 3 * STEP
    assert most <= STEP


@pytest.mark.parametrize("separator", [b"", b"/"])
def test_keys_that_fold_to_one_are_not_looked_at_in_one_step(separator: bytes) -> None:
    keys = [b"a/%06d" % n for n in range(20_000)]
    listing = list_keys(keys, Read(b"", keys=True, separator=separator), ())
    steps = list(listing.steps(StoreLimits()))
    assert len(steps) > len(keys) / STEP
    if separator:
        assert b"".join(steps) == b'["a/"]'


def test_what_is_too_large_is_refused_before_its_first_byte() -> None:
    entries = [Entry(b"k", b"v" * 1000, 0, 1, 2)] * 10_000
    steps = list_entries(entries, Read(b"", recurse=True), ()).steps(
        StoreLimits(listing_bytes=5_000_000)
    )
    seen: list[bytes] = []
    with pytest.raises(BadQuery, match="narrow the prefix, or raise") as caught:
        seen += steps
    assert not any(seen)
    assert caught.value.status == 413
    assert "5000000" in str(caught.value)
