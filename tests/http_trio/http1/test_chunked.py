"""The chunked coding: what is refused, and that no split into reads matters."""

from __future__ import annotations

import itertools

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.http1.chunked import LAST_CHUNK, BadChunk, ChunkedReader, encode_chunk


def read(data: bytes, cuts: list[int] | None = None) -> tuple[bytes, ChunkedReader]:
    reader = ChunkedReader(line_limit=200)
    content = b""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    for begin, end in itertools.pairwise(edges):
        if reader.done:
            reader.rest += data[begin:end]
        else:
            content += reader.feed(data[begin:end])
    return content, reader


@pytest.mark.parametrize(
    "data",
    [
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"g\r\n",
        b"10000000000000003\r\nabc\r\n",
        b"3\r\nabcX0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3 4\r\nabc\r\n",
        b'3;a="b\\"\r\nabc\r\n',
        b"0\r\nNo colon\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"3;" + b"x" * 300 + b"\r\nabc\r\n",
        b"3;" + b"x" * 300,
        b"0\r\n" + b"A: bbbbbbbbbb\r\n" * 30 + b"\r\n",
    ],
)
def test_broken_framing_is_refused(data: bytes) -> None:
    with pytest.raises(BadChunk):
        read(data)


def test_extensions_are_read_over() -> None:
    content, reader = read(b'3;a=b;c="d"\r\nabc\r\n0;last\r\n\r\n')

    assert (content, reader.done) == (b"abc", True)


def test_trailers_are_given_apart() -> None:
    content, reader = read(b"3\r\nabc\r\n0\r\nA: b\r\nC:d\r\n\r\nnext")

    assert content == b"abc"
    assert reader.trailers == [b"A: b", b"C:d"]
    assert reader.rest == b"next"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.binary(max_size=20),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_any_split_into_reads_gives_the_same(
    pieces: list[bytes], after: bytes, cuts: list[int]
) -> None:
    data = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK + after

    content, reader = read(data, cuts)

    assert content == b"".join(pieces)
    assert reader.done
    assert reader.rest == after


class _Judge:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


_ALPHABET = st.sampled_from([b"0", b"1", b"3", b"a", b";", b"\r\n", b"\n", b" ", b":"])


@given(st.lists(_ALPHABET, max_size=12).map(b"".join))
def test_what_we_accept_llhttp_reads_the_same(data: bytes) -> None:
    data += LAST_CHUNK
    try:
        content, reader = read(data)
    except BadChunk:
        return
    if not reader.done:
        return
    consumed = data[: len(data) - len(reader.rest)]

    judge = _Judge()
    parser = httptools.HttpRequestParser(judge)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(consumed)

    assert judge.body == content
    assert judge.complete == reader.done
