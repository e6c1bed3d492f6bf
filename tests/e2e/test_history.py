"""Who changed a document, on every store: one transaction, read back, and cleared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio import change, read_document, write_document
from canary_trio.control.changes import archive
from canary_trio.control.changes.documents import read_history, read_revision, revise
from canary_trio.control.changes.history import Note
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.store_keys import (
    changes_prefix,
    config_key,
    past_document_key,
    pending_key,
)
from canary_trio.errors import NoRevision, TooLargeTogether, WrittenMeanwhile
from kv_trio import TxnOperation
from tests.canary_trio.support.stored_proxy import DOCUMENT
from tests.e2e import test_sources

running = test_sources.running
source = test_sources.source

ANN = Note("ann", "for the sale")
TABLE = {"routes": [{"host": "a.org", "service": "web"}]}


async def revisions(source: DocumentSource, name: str = "web") -> list[int]:
    return [one.revision for one in (await read_history(source, name)).changes]


@pytest.mark.parametrize(("name", "document"), [("web", DOCUMENT), ("@edge", TABLE)])
async def test_a_change_is_noted_with_the_revision_that_it_made(
    source: DocumentSource, name: str, document: dict[str, Any]
) -> None:
    first = await write_document(source, name, document, over=0, note=ANN)
    other = document | {"ratio": 1} if name == "web" else {"routes": []}
    second = await write_document(source, name, other, over=first)

    found = await read_history(source, name)
    assert [one.revision for one in found.changes] == [second, first]
    newest, oldest = found.changes
    assert (oldest.over, oldest.author, oldest.message) == (0, "ann", "for the sale")
    assert newest.over == first
    assert newest.author == archive.own_note().author
    assert len(newest.summary) == 1
    assert json.loads(await read_revision(source, name, first)) == document
    assert json.loads(await read_revision(source, name, second)) == other
    with pytest.raises(NoRevision, match=f"there are {second}, {first}"):
        await read_revision(source, name, first + second)


async def test_what_is_there_already_is_not_written(source: DocumentSource) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    again = await write_document(source, "web", dict(DOCUMENT), over=first)
    assert again == first
    assert await revisions(source) == [first]


async def test_the_loser_is_told_who_won_and_what_changed(
    source: DocumentSource,
) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    won = await change(source, "web", "ratio=0.25", note=ANN)
    with pytest.raises(WrittenMeanwhile) as caught:
        await write_document(source, "web", DOCUMENT | {"ratio": 1}, over=first)
    assert caught.value.revision == won
    said = str(caught.value)
    assert f"revision {won} by ann at " in said
    assert "(for the sale), which changed ratio: added 0.25; nothing was" in said
    assert await revisions(source) == [won, first]


async def test_the_transaction_itself_loses_too(
    source: DocumentSource,
) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    won: list[int] = []

    class Racing:
        def __getattr__(self, name: str) -> Any:
            return getattr(source, name)

        async def transact(self, operations: Any) -> Any:
            if not won:
                won.append(await change(source, "web", "ratio=0.5"))
            return await source.transact(operations)

    with pytest.raises(WrittenMeanwhile, match="ratio: added 0"):
        await write_document(Racing(), "web", DOCUMENT | {"ratio": 1}, over=first)
    assert await revisions(source) == [*won, first]
    assert (
        await revise(Racing(), "web", lambda d: d | {"ratio": 0.75}, tries=2) > won[0]
    )


async def test_what_was_written_past_us_is_found_and_kept(
    source: DocumentSource,
) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    by_hand = json.dumps(DOCUMENT | {"ratio": 0.5}).encode()
    second = (await source.put(config_key("web"), by_hand)).index
    found = await read_history(source, "web")
    assert [(c.revision, c.by_hand) for c in found.changes] == [
        (second, True),
        (first, False),
    ]
    third = await change(source, "web", "ratio=0.75")
    found = await read_history(source, "web")
    assert [(c.revision, c.by_hand) for c in found.changes] == [
        (third, False),
        (second, True),
        (first, False),
    ]
    assert (found.changes[0].over, found.changes[1].over) == (second, first)
    assert await read_revision(source, "web", second) == by_hand


async def test_what_is_pending_ends_with_any_other_change(
    source: DocumentSource,
) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    pending = pending_key("web")
    put = TxnOperation("set", pending, b"{}")
    second = await write_document(
        source, "web", DOCUMENT | {"ratio": 1}, over=first, also=[put]
    )
    entry = (await source.get(pending)).entry
    assert entry is not None
    assert entry.modify_index == second, "together with the document"
    await change(source, "web", "ratio=0.5")
    assert (await source.get(pending)).entry is None


@pytest.mark.parametrize(
    ("name", "field"), [("web", "ratio"), ("@edge", "update_rate")]
)
async def test_old_revisions_are_cleared_with_their_documents(
    source: DocumentSource, name: str, field: str
) -> None:
    given = DOCUMENT if name == "web" else TABLE
    document = given | {"history": {"revisions": 3}}
    made = [await write_document(source, name, document, over=0)]
    made += [await change(source, name, f"{field}=0.{n}") for n in range(1, 6)]
    assert await revisions(source, name) == made[:-4:-1]
    prefix = past_document_key(name, "")
    assert len((await source.list(prefix)).entries) == 3
    assert json.loads(await read_revision(source, name, made[-3]))[field] == 0.3


@pytest.mark.parametrize("size", [150_000, 250_000, 450_000])
async def test_a_large_document_has_its_history(
    source: DocumentSource, size: int
) -> None:
    """One transaction is too small for it and its copy, or even for it alone."""
    rules = DOCUMENT | {"update_rate": 9, "rules": rules_of(size)}
    first = await write_document(source, "web", rules, over=0, note=ANN)
    by_hand = json.dumps(rules | {"ratio": 0.5}, indent=2).encode()
    second = (await source.put(config_key("web"), by_hand)).index
    third = await change(source, "web", "ratio=0.25")
    assert await revisions(source) == [third, second, first]
    assert json.loads(await read_revision(source, "web", first)) == rules
    assert await read_revision(source, "web", second) == by_hand
    copies = (await source.list(past_document_key("web", ""))).entries
    assert len(copies) == 3
    with pytest.raises(WrittenMeanwhile):
        await write_document(source, "web", rules, over=first)
    put = TxnOperation("set", pending_key("web"), b"{}")
    if size > 400_000:
        with pytest.raises(TooLargeTogether):
            await write_document(source, "web", rules, over=third, also=[put])
    else:
        await write_document(source, "web", rules, over=third, also=[put])


def rules_of(size: int) -> list[dict[str, Any]]:
    return [
        {"header": f"x-{number}", "equals": "v" * 900, "arm": "canary"}
        for number in range(size // 1000)
    ]


async def test_what_others_keep_there_is_left_alone(source: DocumentSource) -> None:
    await source.put(changes_prefix("web") + "of-others", b"?")
    await change_twice(source)
    assert len(await revisions(source)) == 2


async def change_twice(source: DocumentSource) -> None:
    await write_document(source, "web", DOCUMENT, over=0)
    await change(source, "web", "ratio=0.5")
    text, _ = await read_document(source, "web")
    assert json.loads(text)["ratio"] == 0.5
