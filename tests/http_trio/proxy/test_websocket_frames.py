"""Where a frame of a WebSocket ends, and which one closes it."""

from __future__ import annotations

import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from http_trio.proxy.websocket_frames import WebSocketFrameTracker, close_frame


def frame(opcode: int, payload: bytes, mask: bytes | None) -> bytes:
    size = len(payload)
    flag = 0x80 if mask is not None else 0
    if size < 126:
        head = bytes([0x80 | opcode, flag | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, flag | 126]) + struct.pack("!H", size)
    else:
        head = bytes([0x80 | opcode, flag | 127]) + struct.pack("!Q", size)
    return head + (mask or b"") + payload


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([0, 1, 2, 9, 10]),
        st.sampled_from([0, 1, 125, 126, 127, 300, 65535, 65536, 70000]).map(bytes),
        st.none() | st.just(b"mask"),
    ),
    max_size=6,
)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


@given(FRAMES, st.lists(st.integers(0, 10**6), max_size=12))
def test_frames_end_where_they_end_however_they_come(
    sent: list[bytes], cuts: list[int]
) -> None:
    ends = {0}
    for one in sent:
        ends.add(max(ends) + len(one))
    frames, at = WebSocketFrameTracker(), 0
    for piece in split(b"".join(sent), cuts):
        frames.pass_over(piece)
        at += len(piece)
        assert frames.between is (at in ends)
    assert not frames.closed


@given(FRAMES, st.lists(st.integers(0, 10**6), max_size=12), st.integers(0, 10**6))
def test_the_next_boundary_is_the_first_end_from_there(
    sent: list[bytes], cuts: list[int], begin: int
) -> None:
    ends = [0]
    for one in sent:
        ends.append(ends[-1] + len(one))
    data = b"".join(sent)
    begin %= len(data) + 1
    frames = WebSocketFrameTracker()
    frames.pass_over(data[:begin])
    at = begin
    for piece in split(data[begin:], cuts):
        took = frames.to_boundary(piece)
        at += took
        if frames.between:
            break
        assert took == len(piece)

    assert at == min(end for end in ends if end >= begin)


@given(FRAMES, st.binary(max_size=20))
def test_a_close_is_seen(sent: list[bytes], payload: bytes) -> None:
    frames = WebSocketFrameTracker()
    frames.pass_over(b"".join(sent))
    assert not frames.closed
    frames.pass_over(frame(8, payload, None))
    assert frames.closed


def test_a_close_frame_is_one() -> None:
    frames = WebSocketFrameTracker()
    frames.pass_over(close_frame(1012))
    assert frames.closed
    assert frames.between
    masked = close_frame(1001, mask=b"abcd")
    frames = WebSocketFrameTracker()
    frames.pass_over(masked)
    assert frames.closed
    assert frames.between
    code = bytes(byte ^ b"abcd"[at % 4] for at, byte in enumerate(masked[6:]))
    assert code == struct.pack("!H", 1001)
