"""A canary that fails under load is stopped: counted, told, judged, aborted, everywhere."""

from __future__ import annotations

import pytest

from kv_trio.testing import in_memory_store
from tests.canary_trio.support.failing_canary import let_canary_fail


@pytest.mark.parametrize("then", ["abort", "say"])
async def test_a_canary_that_fails_is_aborted_on_all_proxies(then: str) -> None:
    async with in_memory_store() as client:
        await let_canary_fail(client, then)
