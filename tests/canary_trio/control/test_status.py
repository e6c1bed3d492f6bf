"""An outage of the store is told when it begins, now and again, and when it is over."""

from __future__ import annotations

import pytest
import trio

from canary_trio.control.status import TELL_S, StoreContact


async def test_an_outage_has_a_rate(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    contact = StoreContact()
    for turn in range(96):
        contact.error = f"error {turn}"  # another each time
        await trio.sleep(1)
    contact.error = ""
    contact.error = ""
    contact.error = "a wait that broke"
    contact.error = ""
    contact.error = "a wait that broke"
    contact.error = "anew"

    assert [one.message for one in caplog.records] == [
        *(f"nothing from the store: error {1 + n * TELL_S:g}" for n in range(4)),
        "the store is heard again",
        "nothing from the store: anew",
    ]
