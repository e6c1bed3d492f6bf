"""What a kv-trio says of the token that it is shown."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from canary_trio.control.sources.kv import KvSource
from kv_trio import serve
from kv_trio.api.tokens import make_token
from kv_trio.testing import in_memory_store


async def name_of(url: str, token: str | None) -> str:
    async with KvSource(url, token=token) as source:
        return await source.token_name()


async def test_a_token_is_told_its_name(tmp_path: Path, nursery: trio.Nursery) -> None:
    secret, lines = make_token("ann", ["canary/"], [])
    (tmp_path / "tokens").write_text(lines)
    start = partial(serve, ["127.0.0.1:0"], tokens=tmp_path / "tokens")
    server = await nursery.start(start)
    assert await name_of(server.url, secret) == "ann"
    assert await name_of(server.url, None) == ""
    assert await name_of(server.url, "unknown") == ""


async def test_a_store_without_tokens_knows_nobody() -> None:
    async with in_memory_store() as plain:
        assert await name_of(plain.url, "any") == ""
