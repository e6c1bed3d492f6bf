"""What a running proxy says of its traffic: answer field, log, metrics, explain."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.processes import World, connected_to, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def field(head: bytes, name: bytes) -> str:
    lines = [line for line in head.split(b"\r\n") if line.startswith(name + b": ")]
    assert len(lines) == 1, head
    return lines[0].partition(b": ")[2].decode()


async def test_each_answer_says_by_what_it_was_routed(here: World) -> None:
    _, address = await here.start_proxy(ratio=0.25, decision_header="X-Canary")
    said: Counter[tuple[str, bytes]] = Counter()
    async with connected_to(address) as client:
        for _ in range(8):
            head, body = await client.ask()
            said[field(head, b"X-Canary"), body] += 1
        (revision,) = {value.split(",")[0] for value, _ in said}

        assert said == {
            (f'{revision}, arm="stable", reason=ratio', b"v1"): 6,
            (f'{revision}, arm="canary", reason=ratio', b"v2"): 2,
        }

        written = await here.canary("set", "sticky_sessions=true", "--wait", "5")
        head, _ = await client.ask()
        assert field(head, b"X-Canary").startswith(f"revision={written.out.split()[1]}")
        cookie = field(head, b"Set-Cookie").partition(";")[0].encode()
        head, _ = await client.ask(b"/", b"Cookie: " + cookie)
        assert field(head, b"X-Canary").endswith("reason=sticky")
