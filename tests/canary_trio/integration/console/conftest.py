"""A browser for each test, which ends it where a page complained of anything."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser import CHROMIUM, Browser, Pipes, browser_process, browsing
from tests.canary_trio.support.console_stand_in import StandIn, stand_in


@pytest.fixture(scope="session")
def pipes() -> Iterator[Pipes]:
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI has to have a Chromium"
        pytest.skip(
            "there is no Chromium here (apt-get install chromium-headless-shell)"
        )
    with browser_process() as found:
        yield found


@pytest.fixture
async def browser(pipes: Pipes) -> AsyncIterator[Browser]:
    async with browsing(pipes) as found:
        yield found
        complaints = [one for page in found.pages.values() for one in page.complaints]
    assert complaints == [], "a page wrote to its console"


@pytest.fixture
async def proxy() -> AsyncIterator[StandIn]:
    async with stand_in() as found:
        yield found
