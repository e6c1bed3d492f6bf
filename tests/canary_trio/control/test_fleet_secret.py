"""The fleet's secret: who signs and who verifies, when; what is none, without showing it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.control.fleet_secret import (
    LEAD,
    MOST_SECRETS,
    BadSecret,
    FleetSecret,
    Secret,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
ONE = base64.b64encode(b"1" * 32)
TWO = base64.b64encode(b"2" * 32)

times = st.integers(0, 100 * 365 * 86_400).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)
fleet_secrets = st.lists(
    st.builds(
        Secret,
        st.binary(min_size=16, max_size=64),
        st.none() | times,
        st.none() | times,
    ),
    min_size=1,
    max_size=MOST_SECRETS,
).map(lambda found: FleetSecret((Secret(found[0].value), *found[1:])))


@given(fleet_secrets)
def test_what_is_written_is_read_again(secret: FleetSecret) -> None:
    assert FleetSecret.load(secret.dump()) == secret
    assert FleetSecret.load(secret.dump() + b"\r\n") == secret


@given(fleet_secrets, times)
def test_at_each_time_one_signs_and_it_verifies(
    secret: FleetSecret, now: datetime
) -> None:
    verifying = secret.at(now)
    assert verifying
    change = secret.next_change(now)
    if change is not None:
        assert secret.at(now + (change - now) / 2) == verifying


@given(fleet_secrets, times)
def test_the_text_of_an_object_shows_no_secret(
    secret: FleetSecret, now: datetime
) -> None:
    del now
    assert not any(repr(one.value) in repr(secret) for one in secret.secrets)


def test_one_in_base64_is_all_of_it() -> None:
    assert FleetSecret.load(ONE).at(NOW) == (b"1" * 32,)
    assert FleetSecret.load(ONE + b"\n").dump() == ONE


def test_a_new_one_verifies_at_once_and_signs_when_all_know_it() -> None:
    old = FleetSecret.load(ONE)
    rotated = FleetSecret.load(old.rotated(NOW, 30 * DAY).dump())
    new = rotated.secrets[0].value

    assert rotated.at(NOW) == (b"1" * 32, new)
    assert rotated.next_change(NOW) == NOW + LEAD
    assert rotated.at(NOW + LEAD) == (new, b"1" * 32)
    ends = NOW + LEAD + 30 * DAY
    assert rotated.next_change(NOW + LEAD) == ends
    assert rotated.at(ends - SECOND) == (new, b"1" * 32)
    assert rotated.at(ends) == (new,)
    assert rotated.next_change(ends) is None


@given(st.lists(st.floats(0, 5 * 86_400), max_size=20))
def test_however_often_it_rotates_nobody_is_a_stranger_in_time(
    pauses: list[float],
) -> None:
    """A cookie that was signed at any time verifies for all proxies for ten days."""
    secret, now = FleetSecret.draw(), NOW
    signed: list[tuple[datetime, bytes]] = []
    for pause in pauses:
        now += timedelta(seconds=pause)
        before = secret
        try:
            secret = secret.rotated(now, 10 * DAY)
        except BadSecret as exc:
            assert "until" in str(exc)
        # One proxy may not have heard of it yet.
        signed += [(now, known.at(now)[0]) for known in (before, secret)]
        assert all(
            value in known.at(now)
            for at, value in signed
            if now - at < 10 * DAY
            for known in (before, secret)
        )


def test_at_once_the_old_ones_are_foreign() -> None:
    rotated = FleetSecret.load(ONE).rotated(NOW, timedelta(0))
    assert len(rotated.at(NOW)) == 1
    assert b"1" * 32 not in rotated.at(NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b" \n\r\n", "empty"),
        (base64.b64encode(b"short"), "5 bytes"),
        (b"\xff\x00", "no|not begin with base64"),
        (ONE[:-2] + b"*=", "not begin with base64"),
        (ONE + b" until 2026-05-01T12:00:00Z", "first line ends"),
        (ONE + b"\n" + TWO + b" until", "something else"),
        (ONE + b"\n" + TWO + b" since 2026-05-01T12:00:00Z", "something else"),
        (ONE + b"\n" + TWO + b" until tomorrow", "than a time"),
        (ONE + b"\n" + TWO + b" until 2026-05-01T12:00:00", "than a time"),
        (ONE + b"\n" + TWO + b" until 0001-01-01T00:00:00+14:00", "than a time"),
        (ONE + b"\n" + TWO + b" until " + b"9" * 5000, "than a time"),
        (b"\n".join([ONE] * (MOST_SECRETS + 1)), "9 lines"),
        (b"A" * 20_000, "20000 bytes"),
    ],
)
def test_what_is_no_secret_is_said_and_not_shown(text: bytes, said: str) -> None:
    with pytest.raises(BadSecret, match=said) as caught:
        FleetSecret.load(text)
    assert ONE.decode() not in str(caught.value)
    assert TWO.decode() not in str(caught.value)
