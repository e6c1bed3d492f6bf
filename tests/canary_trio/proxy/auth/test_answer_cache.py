"""The table of answers: bounded, and never wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_trio.proxy.auth.answer_cache import AnswerCache

KEYS = st.integers(0, 9).map(lambda number: b"%d" % number)
STEPS = st.lists(
    st.tuples(KEYS, st.integers(0, 20), st.integers(0, 2000)) | KEYS, max_size=60
)


@given(steps=STEPS, entries=st.integers(1, 5), size=st.integers(0, 5000))
def test_it_has_what_it_was_given_last_or_nothing(
    steps: list[bytes | tuple[bytes, int, int]], entries: int, size: int
) -> None:
    cache = AnswerCache[int](entries, size)
    model: dict[bytes, tuple[int, int]] = {}
    for now, step in enumerate(steps):
        if isinstance(step, bytes):
            found = cache.get(step, now)
            until, value = model.get(step, (0, 0))
            assert found is None or (found == value and now < until)
        else:
            key, time, length = step
            cache.put(key, now, until=now + time, size=length)
            model[key] = now + time, now
        assert len(cache) <= entries
        assert len(cache) * 300 <= size


def test_the_oldest_goes_first() -> None:
    cache = AnswerCache[int](2)
    for number in range(3):
        cache.put(b"%d" % number, number, until=10)

    assert [cache.get(b"%d" % number, 0) for number in range(3)] == [None, 1, 2]


def test_what_is_too_large_is_not_held_and_takes_nothing_away() -> None:
    cache = AnswerCache[int](10, 1000)
    cache.put(b"a", 1, until=10)
    cache.put(b"b", 2, until=10, size=1000)

    assert (cache.get(b"a", 0), cache.get(b"b", 0)) == (1, None)
