"""Where a frame of HTTP/2 ends, so that another may be put in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from http_trio.http2.frames import Http2FrameTracker, goaway

frame = st.builds(
    lambda kind, payload: (
        len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + payload
    ),
    st.integers(0, 9),
    st.binary(max_size=40),
)


def test_before_the_first_frame_nothing_may_be_put_in() -> None:
    assert not Http2FrameTracker().between


@given(st.lists(frame, min_size=1, max_size=5), st.data())
def test_the_places_between_frames_are_known(
    sent: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(sent)
    ends = {len(b"".join(sent[: n + 1])) for n in range(len(sent))}
    frames = Http2FrameTracker()
    at = 0
    while at < len(whole):
        step = data.draw(st.integers(1, len(whole) - at))
        frames.feed(whole[at : at + step])
        at += step
        assert frames.between == (at in ends)


def test_goaway_is_one_frame() -> None:
    assert goaway()[3] == 7
    frames = Http2FrameTracker()
    frames.feed(memoryview(goaway()))
    assert frames.between
