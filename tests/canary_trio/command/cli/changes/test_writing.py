"""What a command writes, though another writer is in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio import read_document
from canary_trio.control.changes import drafts
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.rollouts import ARMS


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


@pytest.mark.parametrize(
    ("command", "wins"), [("abort", True), ("pause", True), ("promote", False)]
)
async def test_who_stops_a_rollout_wins_over_its_driver(
    command: str, wins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver writes between the command's read and its write."""
    async with in_memory_store() as client:
        await client.put("canary/web/config", json.dumps({"arms": ARMS}).encode())
        await canary(client, "rollout", "start", "web", "--steps", "1%,50%")
        told_draft, written = drafts.told_draft, 0

        async def overtaken(*args: Any, **more: Any) -> Any:
            nonlocal written
            draft = await told_draft(*args, **more)
            if not written:
                found = await present(client)
                found["rollout"]["state"] |= {"phase": "waiting", "by": "rollout (a)"}
                document = json.dumps(found).encode()
                written = (await client.put("canary/web/config", document)).index
            return draft

        monkeypatch.setattr(drafts, "told_draft", overtaken)
        words = ("rollout", command, "web")
        ran = await canary(client, *words, status=0 if wins else 1)
        assert written
        state = (await present(client))["rollout"]["state"]
        phases = {"abort": "aborted", "pause": "paused", "promote": "waiting"}
        assert state["phase"] == phases[command]
        assert ("another writer was first" in ran.stderr) != wins
