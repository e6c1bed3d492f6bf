"""The key cookie: signed, safe by default, never trusted when it is not ours."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.document import load
from canary_trio.config.model import Sticky
from canary_trio.routing.router import with_cookie_named
from canary_trio.routing.sticky_cookie import (
    KEY_BYTES,
    CookieSigner,
    set_cookie,
)

SECRET = b"s" * 32


def test_a_minted_cookie_is_known_again_and_only_here() -> None:
    sessions = CookieSigner(SECRET, 3)
    key, value = sessions.mint(random.Random(1).randbytes)

    assert sessions.verify(value) == key
    assert CookieSigner(SECRET, 3).verify(value) == key
    assert CookieSigner(SECRET, 4).verify(value) is None
    assert CookieSigner(b"other", 3).verify(value) is None
    for at in range(len(value)):
        forged = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        assert sessions.verify(forged) is None


@given(st.binary(max_size=60))
def test_garbage_is_no_cookie(value: bytes) -> None:
    assert CookieSigner(SECRET, 0).verify(value) is None


def test_each_key_is_drawn_once_however_many_are_drawn_together() -> None:
    drawn = random.Random(5)
    sizes = []

    def draw(size: int) -> bytes:
        sizes.append(size)
        return drawn.randbytes(size)

    sessions = CookieSigner(SECRET, 0)
    keys = {sessions.mint(draw)[0] for _ in range(1000)}

    assert len(keys) == 1000
    assert sum(sizes) >= 1000 * KEY_BYTES


@pytest.mark.parametrize(
    ("sticky", "secure", "cookie"),
    [
        (True, False, b"canary-web=%b; HttpOnly; SameSite=Lax; Path=/"),
        (True, True, b"canary-web=%b; HttpOnly; SameSite=Lax; Path=/; Secure"),
        (
            {"cookie": "c", "max_age": 60, "domain": "a.org", "same_site": "strict"},
            False,
            b"c=%b; HttpOnly; SameSite=Strict; Path=/; Max-Age=60; Domain=a.org",
        ),
        (
            {"same_site": "none"},
            False,
            b"canary-web=%b; HttpOnly; SameSite=None; Path=/; Secure",
        ),
    ],
    ids=str,
)
def test_the_flags_of_a_cookie(sticky: Any, secure: bool, cookie: bytes) -> None:
    document = {
        "arms": {"stable": {"servers": ["http://a"]}},
        "sticky_sessions": sticky,
    }
    config = with_cookie_named(load(json.dumps(document)), "web")
    told = config.sticky_sessions

    assert isinstance(told, Sticky)
    assert set_cookie(told, secure=secure) == cookie
