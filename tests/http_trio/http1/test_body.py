"""A body from one framing into another: nothing lost, and a cut is seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_trio.http1.body import BodyTranscoder, Truncated
from http_trio.http1.chunked import LAST_CHUNK, ChunkedReader, encode_chunk
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE


def framed(content: bytes, framing: int) -> bytes:
    if framing != CHUNKED:
        return content
    return (encode_chunk(content) if content else b"") + LAST_CHUNK


def unframed(data: bytes, framing: int) -> bytes:
    if framing != CHUNKED:
        return data
    reader = ChunkedReader(line_limit=1000)
    content = reader.feed(data)
    assert reader.done
    assert not reader.rest
    return content


@given(
    st.binary(max_size=60),
    st.sampled_from(["length", "chunked", "close"]),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=80, max_size=80),
)
def test_content_survives_any_change_of_framing(
    content: bytes, kind: str, to_chunks: bool, steps: list[int]
) -> None:
    incoming = {"length": len(content), "chunked": CHUNKED, "close": UNTIL_CLOSE}[kind]
    outgoing = CHUNKED if to_chunks else max(incoming, UNTIL_CLOSE)
    transcoder = BodyTranscoder(incoming, outgoing)
    data = framed(content, incoming)
    out = b""
    for step in steps:
        if data and not transcoder.done:
            out += transcoder.feed(data[:step])
            data = data[step:]
    if incoming == UNTIL_CLOSE:
        out += transcoder.end()
    if content or incoming != 0:
        assert unframed(out, outgoing) == content
    assert transcoder.done


@pytest.mark.parametrize("incoming", [10, CHUNKED])
def test_an_early_end_is_no_end(incoming: int) -> None:
    transcoder = BodyTranscoder(incoming, CHUNKED)
    out = transcoder.feed(b"3\r\nabc" if incoming == CHUNKED else b"abc")

    with pytest.raises(Truncated):
        transcoder.end()
    assert LAST_CHUNK not in out


def test_what_follows_the_body_is_kept_apart() -> None:
    transcoder = BodyTranscoder(3, 3)

    assert transcoder.feed(b"abcGET /") == b"abc"
    assert transcoder.rest == b"GET /"


def test_trailers_go_on_only_to_who_takes_them() -> None:
    body = b"1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n"

    assert BodyTranscoder(CHUNKED, CHUNKED).feed(body) == b"1\r\na\r\n0\r\n\r\n"
    passed = BodyTranscoder(CHUNKED, CHUNKED, trailers=True).feed(body)
    assert passed == b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
