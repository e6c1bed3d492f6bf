"""What follows a failed try, and how long it waits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.policies import Retries
from canary_trio.proxy.retry import SERVERS_TRIED, Step, next_step, pause_s


@pytest.mark.parametrize(
    ("sent", "tries_left", "tried", "other", "fallback", "step"),
    [
        (False, 0, 1, True, True, Step.OTHER),
        (False, 0, SERVERS_TRIED, True, True, Step.FALLBACK),
        (False, 0, 1, False, True, Step.FALLBACK),
        (False, 1, 1, False, False, Step.SAME),
        (False, 0, 1, False, False, Step.GIVE_UP),
        (False, 1, SERVERS_TRIED, True, False, Step.GIVE_UP),
        (True, 0, 1, True, True, Step.GIVE_UP),
        (True, 1, 1, True, True, Step.FALLBACK),
        (True, 2, 1, True, True, Step.OTHER),
        (True, 2, 1, False, True, Step.FALLBACK),
        (True, 1, 1, True, False, Step.OTHER),
        (True, 1, 1, False, False, Step.SAME),
    ],
)
def test_what_follows_a_failed_try(
    sent: bool, tries_left: int, tried: int, other: bool, fallback: bool, step: Step
) -> None:
    assert step is next_step(
        sent=sent, tries_left=tries_left, tried=tried, other=other, fallback=fallback
    )


def test_nothing_sent_is_ever_repeated_beyond_its_tries() -> None:
    for sent, tried, other, fallback in itertools.product(
        (True,), range(1, 4), (True, False), (True, False)
    ):
        assert (
            next_step(
                sent=sent, tries_left=0, tried=tried, other=other, fallback=fallback
            )
            is Step.GIVE_UP
        )


@given(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 10),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_pause_is_within_its_bounds(
    draw: float, repeats: int, backoff: float, longest: float
) -> None:
    rule = Retries(backoff=backoff, longest_backoff=longest)

    pause = pause_s(rule, repeats, lambda: draw)

    assert 0 <= pause <= min(longest, backoff * 2**repeats)
    assert pause == pause_s(rule, repeats, lambda: draw)
