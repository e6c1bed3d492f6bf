"""A body that is encoded on its way comes out the same, however it came, and at once."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.http1.body import BodyTranscoder, Truncated
from http_trio.http1.chunked import ChunkedReader, encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.proxy.codings.coders import CODINGS, make_encoder
from http_trio.proxy.codings.encoded_body import DIGESTS, EncodedBody


def decoder(coding: bytes) -> Any:
    if coding == b"gzip":
        return zlib.decompressobj(31)
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name).ZstdDecompressor()
        except ImportError:
            continue
    raise AssertionError("there is one that encodes")


def of_length(pieces: list[bytes]) -> tuple[int, list[bytes]]:
    return sum(map(len, pieces)), pieces


def in_chunks(pieces: list[bytes]) -> tuple[int, list[bytes]]:
    chunks = [encode_chunk(piece) for piece in pieces]
    return CHUNKED, [*chunks, b"0\r\nX-Sum: 1\r\n\r\n"]


def until_close(pieces: list[bytes]) -> tuple[int, list[bytes]]:
    return UNTIL_CLOSE, pieces


Framed = Callable[[list[bytes]], tuple[int, list[bytes]]]


@given(
    st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=8),
    st.sampled_from([of_length, in_chunks, until_close]),
    st.sampled_from(CODINGS),
    st.integers(1, 9),
    st.booleans(),
)
def test_each_piece_comes_out_as_it_came(
    pieces: list[bytes], framed: Framed, coding: bytes, level: int, trailers: bool
) -> None:
    framing, data = framed(pieces)
    body = EncodedBody(framing, CHUNKED, make_encoder(coding, level), trailers=trailers)
    reader, decode = ChunkedReader(1000), decoder(coding)
    so_far, encoded = b"", 0
    assert body.left == 0
    for piece, expected in zip(data, [*pieces, b""], strict=False):
        content = reader.feed(body.feed(piece))
        encoded += len(content)
        so_far += decode.decompress(content) if content else b""
        assert so_far.endswith(expected)  # nothing waits for more
    content = reader.feed(body.end())
    encoded += len(content)
    so_far += decode.decompress(content) if content else b""
    assert so_far == b"".join(pieces)
    assert decode.eof
    assert reader.done
    assert body.done
    assert body.passed == encoded
    kept = framed is in_chunks and trailers
    assert reader.trailers == ([b"X-Sum: 1"] if kept else [])


@pytest.mark.parametrize("name", [*sorted(DIGESTS), b"ETag", b"Repr-Digest"])
def test_no_trailer_says_what_holds_for_other_bytes(name: bytes) -> None:
    line = name + b": x"
    lines = b"X-Sum: 1\r\n%b\r\n" % line
    body = EncodedBody(CHUNKED, CHUNKED, make_encoder(b"gzip", 5), trailers=True)
    plain = BodyTranscoder(CHUNKED, CHUNKED, trailers=True)
    reader = ChunkedReader(1000)
    reader.feed(body.feed(b"0\r\n%b\r\n" % lines))

    assert reader.done
    assert reader.trailers == [b"X-Sum: 1"]
    assert body.passing(lines) == b"X-Sum: 1\r\n"
    assert line in plain.feed(b"0\r\n%b\r\n" % lines)
    assert plain.passing(lines) == lines


@given(
    st.lists(st.binary(max_size=50), max_size=5),
    st.sampled_from(CODINGS),
    st.integers(0, 12),
)
def test_what_follows_is_not_encoded(
    pieces: list[bytes], coding: bytes, size: int
) -> None:
    data = b"".join([*pieces, b"x" * 20])
    body = EncodedBody(size + 1, UNTIL_CLOSE, make_encoder(coding, 5))
    out = body.feed(data)
    assert decoder(coding).decompress(out) == data[: size + 1]
    assert body.rest == data[size + 1 :]
    assert body.end() == b""


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_let_go_holds_no_encoder(coding: bytes) -> None:
    encoder = make_encoder(coding, 5)
    held = weakref.ref(encoder)
    body = EncodedBody(10, CHUNKED, encoder)
    del encoder
    body.feed(b"hello")
    assert held() is not None
    body.let_go()
    assert held() is None


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("framing", [10, CHUNKED])
def test_what_is_cut_does_not_look_whole(framing: int, coding: bytes) -> None:
    body = EncodedBody(framing, CHUNKED, make_encoder(coding, 5))
    reader, decode = ChunkedReader(1000), decoder(coding)
    decode.decompress(reader.feed(body.feed(b"5\r\nhello")))
    with pytest.raises(Truncated):
        body.end()
    assert not reader.done
    assert not decode.eof
    assert not body.done
