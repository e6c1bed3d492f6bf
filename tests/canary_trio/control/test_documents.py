"""Documents are written over the revision that they were made of."""

from __future__ import annotations

import pytest

from canary_trio import change
from canary_trio.control.documents import write_document
from canary_trio.errors import NoDocument, WrittenMeanwhile
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT


async def test_of_two_writers_the_second_is_told() -> None:
    async with in_memory_store() as client:
        with pytest.raises(NoDocument):
            await change(client, "web", "ratio=0.5")
        first = await write_document(client, "web", DOCUMENT, over=0)
        with pytest.raises(WrittenMeanwhile) as caught:
            await write_document(client, "web", DOCUMENT | {"ratio": 1}, over=0)
        assert caught.value.revision == first
