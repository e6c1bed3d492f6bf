"""What a command writes, though another writer is in between."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio import read_document
from canary_trio.command.cli.rollout.telling import TRIES
from canary_trio.control.changes import drafts
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.rollouts import ARMS


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


@pytest.mark.parametrize(
    ("command", "driven", "phase"),
    [
        ("abort", {"phase": "waiting"}, "aborted"),
        ("abort", {"step": 1}, "aborted"),
        ("pause", {"phase": "waiting"}, "paused"),
        ("pause", {"step": 1}, "paused"),
        ("promote", {"phase": "waiting"}, "running"),
        ("promote", {"step": 1}, None),
    ],
)
async def test_who_tells_a_rollout_something_wins_over_its_driver(
    command: str,
    driven: dict[str, Any],
    phase: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver writes between the command's read and its write."""
    async with in_memory_store() as client:
        await client.put("canary/web/config", json.dumps({"arms": ARMS}).encode())
        await canary(client, "rollout", "start", "web", "--steps", "1%,50%,100%")
        told_draft, written = drafts.told_draft, 0

        async def overtaken(*args: Any, **more: Any) -> Any:
            nonlocal written
            draft = await told_draft(*args, **more)
            if not written:
                found = await present(client)
                found["rollout"]["state"] |= {**driven, "by": "rollout (a)"}
                document = json.dumps(found).encode()
                written = (await client.put("canary/web/config", document)).index
            return draft

        monkeypatch.setattr(drafts, "told_draft", overtaken)
        words = ("rollout", command, "web")
        ran = await canary(client, *words, status=0 if phase else 1)
        assert written
        state = (await present(client))["rollout"]["state"]
        if phase is None:
            assert "has gone to step 1 meanwhile; nothing was written" in ran.stderr
            assert state["by"] == "rollout (a)"
        else:
            assert state["phase"] == phase
            assert command != "promote" or state["step"] == 1


async def test_who_is_always_overtaken_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with in_memory_store() as client:
        await client.put("canary/web/config", json.dumps({"arms": ARMS}).encode())
        await canary(client, "rollout", "start", "web", "--steps", "1%,50%")
        told_draft, written = drafts.told_draft, 0

        async def overtaken(*args: Any, **more: Any) -> Any:
            nonlocal written
            draft = await told_draft(*args, **more)
            found = (await client.get("canary/web/config")).entry
            assert found is not None
            await client.put("canary/web/config", found.value + b" ")
            written += 1
            return draft

        monkeypatch.setattr(drafts, "told_draft", overtaken)
        ran = await canary(client, "rollout", "abort", "web", status=1)
        assert "another writer was first" in ran.stderr
        assert written == TRIES
