"""`promote --full` and `undo` at once (R18), on whatever store."""

from __future__ import annotations

import json
from typing import Any

import trio

from canary_trio.config.document import build
from canary_trio.control.changes.documents import write_document
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import with_move
from canary_trio.control.sources.source import KeyStore
from canary_trio.errors import WrittenMeanwhile
from canary_trio.rollout import commands
from canary_trio.rollout.moves import Situation
from tests.canary_trio.support.rollouts import ARMS

KEY = "canary/web/config"


async def promote_and_undo(client: KeyStore, times: int) -> list[str]:
    """Let both be written over one revision, again and again; give what losers were told.

    Exactly one of the two wins each time, and what is there is what that one wrote.
    """
    told = []
    for _ in range(times):
        document = {"arms": ARMS, "rollout": {"id": "v1", "steps": [0.1, 1]}}
        await client.put(KEY, json.dumps(document).encode())
        text, revision = await read_document(client, "web")
        config = build(json.loads(text))
        assert config.rollout is not None
        begun = commands.start(config.rollout, config.ratio, Situation(1, by="ann"))
        table = with_move(json.loads(text), begun)
        revision = await write_document(client, "web", table, over=revision)
        rollout = build(table).rollout
        assert rollout is not None
        move = commands.promote_full(rollout, begun.ratio, Situation(2, by="bob"))
        drafts = {"bob": with_move(table, move), "eve": {"arms": ARMS}}
        won: list[str] = []

        async def attempt(author: str, draft: Any, over: int, won: list[str]) -> None:
            try:
                note = Note(author)
                await write_document(client, "web", draft, over=over, note=note)
                won.append(author)
            except WrittenMeanwhile as exc:
                told.append(str(exc))

        async with trio.open_nursery() as nursery:
            for author, draft in drafts.items():
                nursery.start_soon(attempt, author, draft, revision, won)
        assert len(won) == 1
        assert json.loads((await read_document(client, "web"))[0]) == drafts[won[0]]
    assert all("bob" in words or "eve" in words for words in told)
    return told
