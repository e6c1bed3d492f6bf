"""How long a sender is waited for: a token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from http_trio.http1.body_pace import BodyPace
from http_trio.limits import Limits

pieces = st.lists(
    st.tuples(st.integers(0, 10_000), st.floats(0.001, 10)), min_size=1, max_size=50
)


@given(pieces, st.integers(1, 10_000))
def test_who_is_slower_than_the_rate_is_told_within_the_wait(
    sent: list[tuple[int, float]], rate: int
) -> None:
    """Until its time is over, a sender has sent what the rate asks, but for body_s."""
    pace = BodyPace(Limits(body_s=5, body_rate=rate))
    count = waited_s = 0.0
    for size, wait_s in sent:
        if wait_s > pace.left_s:
            break
        pace.took(size, wait_s)
        count += size
        waited_s += wait_s
        assert 0 <= pace.left_s <= 5
        assert waited_s <= 5 + count / rate + 1e-6


@given(pieces)
def test_who_is_as_fast_as_the_rate_is_never_told(
    sent: list[tuple[int, float]],
) -> None:
    pace = BodyPace(Limits(body_s=10, body_rate=100))
    for _, wait_s in sent:
        pace.took(round(wait_s * 100) + 1, wait_s)
        assert pace.left_s >= 10 - 1e-6


def test_without_a_rate_any_byte_earns_all_the_time() -> None:
    pace = BodyPace(Limits(body_s=5, body_rate=0))
    pace.took(1, 4.9)
    assert pace.left_s == 5
    pace.took(0, 4.9)
    assert pace.left_s < 0.2


def test_who_is_found_late_has_no_time_less_than_none() -> None:
    """The process may have had no processor between the byte and the look at the clock."""
    pace = BodyPace(Limits(body_s=5, body_rate=100))
    pace.took(1, waited_s=7)
    assert pace.left_s == 0
