"""The budget of what asks for nothing: paid at once, given back to who asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from http_trio.http2.overhead import BURST, RATE, WASTED, HalfSent, Overhead

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAMES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("received"), st.integers(1, 65_536)),
        st.tuples(st.just("asked"), st.integers(1, 32_768)),
        st.tuples(st.just("brought"), st.integers(0, 16_384)),
        st.tuples(st.just("wasted"), st.just(0)),
    ),
    max_size=60,
)


def test_what_asks_for_nothing_is_spent_and_comes_back() -> None:
    budget = Overhead(now=0.0)
    budget.received(BURST + 1, now=0.0)
    assert budget.left < 0
    budget.received(1, now=1.0)
    assert budget.left == RATE - 2
    budget.received(1, now=1000.0)
    assert budget.left == BURST - 1


def test_a_body_costs_nothing() -> None:
    budget = Overhead(now=0.0)
    for _ in range(1000):
        budget.received(16_393, now=0.0)
        budget.brought(16_384)
    assert budget.left == BURST


def test_a_head_from_the_table_pays_for_no_flood() -> None:
    budget = Overhead(now=0.0)
    for _ in range(BURST // WASTED + 1):
        budget.received(40, now=0.0)
        budget.asked(32_000)
        budget.wasted()
    assert budget.left < 0


@given(STEPS)
def test_nobody_gets_back_more_than_was_paid(steps: list[tuple[str, int]]) -> None:
    budget = Overhead(now=0.0)
    for what, size in steps:
        if what == "received":
            budget.received(size, 0.0)
        elif what == "wasted":
            budget.wasted()
        else:
            getattr(budget, what)(size)
        assert budget.left <= BURST


# === what is half-sent ===


@given(FRAMES, st.lists(st.integers(0, 500), max_size=12), st.booleans())
def test_what_is_half_sent_is_told_wherever_it_is_cut(
    frames: list[tuple[int, int]],
    cuts: list[int],
    between: bool,  # hypothesis gives it
) -> None:
    """Each piece comes a second later; a head may be in several frames.

    With `between` it is cut between frames too, as it comes mostly.
    """
    wire, whole_at, begins = bytearray(PREFACE), [0, len(PREFACE)], True
    for drawn, length in frames:
        kind = drawn if begins else 9
        flags = 0 if kind in {1, 9} and length % 2 else 4
        begins = kind not in {1, 9} or flags == 4
        cuts += [len(wire)] if between else []
        wire += bytes([0, 0, length, kind, flags, 0, 0, 0, 1]) + bytes(length)
        if begins:
            whole_at.append(len(wire))
    half, at = HalfSent(now=0.0), 0
    came = [0]  # when each piece ended
    edges = sorted({min(cut, len(wire)) for cut in cuts} | {len(wire)})
    for now, edge in enumerate(edges, 1):
        half.received(bytes(wire[at:edge]), float(now))
        came.append(edge)
        at = edge
        begun = max(one for one in whole_at if one <= edge)
        if begun == edge and edge:
            assert half.since is None
        else:  # since the piece that brought its first byte, or the connection's start
            first = next(n for n, end in enumerate(came) if end > begun) if edge else 0
            assert half.since == (first if begun else 0)


def test_a_frame_takes_its_time_from_its_first_byte() -> None:
    half = HalfSent(now=0.0)
    half.received(PREFACE, 1.0)
    for now in (2.0, 3.0, 4.0):
        half.received(b"\0", now)
        assert half.since == 2.0
