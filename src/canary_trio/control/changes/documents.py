"""Writing a document, and its history.

Every write is compare-and-set on the revision that was read, so of two writers one
wins and the other is told who that was and what it changed. A document is validated here,
before it is written; and who writes one that is there already writes nothing. One file,
since it is the one door by which documents are written, and what was written is read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import attrs

from canary_trio.config.document import SIZE_LIMIT, build, parse
from canary_trio.config.policies import KeptHistory
from canary_trio.control.changes.archive import RevisionWrite, Unnoted, new_id, own_note
from canary_trio.control.changes.assignments import apply_assignments
from canary_trio.control.changes.difference import Difference, differences, is_same
from canary_trio.control.changes.history import SUMMARY, Change, ChangeLog, Note
from canary_trio.control.changes.reading import read_document
from canary_trio.control.store_keys import (
    changes_prefix,
    check_service,
    config_key,
    past_document_key,
)
from canary_trio.errors import (
    InvalidConfig,
    NoDocument,
    NoRevision,
    Problem,
    WrittenMeanwhile,
)
from canary_trio.routing.edge.names import is_gateway
from kv_trio import Entry, KvError, StoreRefused, TxnOperation

if TYPE_CHECKING:
    from canary_trio.config.model import Config
    from canary_trio.control.sources.source import KeyStore
    from canary_trio.routing.edge.model import GatewayConfig

_log = logging.getLogger(__name__)


def check_document(service: str, document: dict[str, Any]) -> Config | GatewayConfig:
    """Give a parsed document as the value that it is for a service, or for a gateway.

    Raises:
        BadName: there is no such service.
        InvalidConfig: with all of its faults.
    """
    if not is_gateway(check_service(service)):
        return build(document, service=service)
    from canary_trio.routing.edge.table_codec import build_table  # noqa: PLC0415

    return build_table(document)


def document_text(document: dict[str, Any]) -> bytes:
    """Give a document as it is written.

    Raises:
        InvalidConfig: no store would take so much.
    """
    text = (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
    if len(text) > SIZE_LIMIT:
        found = f"{len(text)} bytes, as it is written"
        raise InvalidConfig([Problem("$", found, f"at most {SIZE_LIMIT}")])
    return text


async def write_document(
    client: KeyStore,
    service: str,
    document: dict[str, Any],
    *,
    over: int,
    note: Note | None = None,
    also: Sequence[TxnOperation] = (),
) -> int:
    """Validate and write a document; give its revision.

    If the same is there already nothing is written, and its revision is `over`.

    Args:
        client: of the store.
        service: whose document it is.
        document: parsed JSON.
        over: the revision that it replaces; 0 if there must be none.
        note: who changes it, and why; by default who runs this process, and where.
        also: further operations that take effect together with it, or not at all; not
            run where nothing is written. A change that is to be confirmed ends, unless
            one of them is about it.

    Raises:
        InvalidConfig: with all of its faults; nothing is written.
        WrittenMeanwhile: another writer was first; nothing is written.
        TooLargeTogether: with `also`, and no room for both.
        KvError: the store cannot be written. If the response was lost, it may be.
    """
    bounds = check_document(service, document).history
    entry = (await client.get(config_key(service))).entry
    at = entry.modify_index if entry else 0
    if at != over:
        raise await meanwhile(client, service, over)
    return await _write_over(
        client, service, entry, document, bounds=bounds, note=note, also=also
    )


async def _write_over(
    client: KeyStore,
    service: str,
    entry: Entry | None,
    document: dict[str, Any],
    *,
    bounds: KeptHistory,
    note: Note | None,
    also: Sequence[TxnOperation],
) -> int:
    """Write a document that was checked over what was read; as `write_document`."""
    over = entry.modify_index if entry else 0
    before = _parsed(entry)
    if before is not None and is_same(before, document):
        return over
    text = document_text(document)
    revision = await _write(
        client,
        service,
        text,
        replaced=entry,
        bounds=bounds,
        found=differences({} if before is None else before, document),
        note=note,
        also=also,
    )
    if not revision:
        raise await meanwhile(client, service, over)
    return revision


async def write_first(client: KeyStore, service: str, document: bytes) -> None:
    """Write a document that was checked, if the store has none of the service.

    It is looked for first: who finds one needs no right to write it. Who may write it, and
    nothing beside it, writes it without its history, and says so.

    Raises:
        KvError: the store cannot be read, or not be written.
    """
    if (await client.get(config_key(service))).entry is not None:
        return
    note = Note(own_note().author, "the first document, by --bootstrap")
    bounds = check_document(service, parse(document)).history
    try:
        written = bool(
            await _write(
                client, service, document, replaced=None, bounds=bounds, note=note
            )
        )
    except StoreRefused as exc:
        if exc.status != HTTPStatus.FORBIDDEN:
            raise
        written = (await client.put(config_key(service), document, cas=0)).done
        words = "the first document of %s has no history: %s"
        _log.warning(words, service, exc)
    if written:
        _log.info("wrote the first document of %s", service)


async def revise(
    client: KeyStore,
    service: str,
    changed: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    note: Note | None = None,
    also: Sequence[TxnOperation] = (),
    tries: int = 1,
) -> int:
    """Read, change, validate and write a document; give its new revision.

    Args:
        client: of the store.
        service: whose document it is.
        changed: gives another document in place of the present one, which it leaves alone.
        note: who changes it, and why; by default who runs this process, and where.
        also: as for `write_document`.
        tries: so often it is changed anew, where another writer was first.

    Raises:
        NoDocument, InvalidConfig, WrittenMeanwhile, TooLargeTogether, KvError: as above.
    """
    while True:
        entry = (await client.get(config_key(service))).entry
        if entry is None:
            raise NoDocument(service)
        document, tries = changed(parse(entry.value)), tries - 1
        bounds = check_document(service, document).history
        try:
            return await _write_over(
                client, service, entry, document, bounds=bounds, note=note, also=also
            )
        except WrittenMeanwhile:
            if tries <= 0:
                raise


async def change(
    client: KeyStore, service: str, *assignments: str, note: Note | None = None
) -> int:
    """Change fields of a document; give its new revision.

    Args:
        client: of the store.
        service: whose document it is.
        assignments: such as `"ratio=0.25"`.
        note: who changes it, and why; by default who runs this process, and where.

    Raises:
        BadAssignment: one cannot be read.
        NoDocument, InvalidConfig, WrittenMeanwhile, KvError: as above.
    """
    return await revise(
        client, service, lambda found: apply_assignments(found, assignments), note=note
    )


async def read_history(client: KeyStore, service: str) -> ChangeLog:
    """Give what is known of the revisions of a service's document.

    Raises:
        KvError: the store cannot be read.
    """
    notes = (await client.list(changes_prefix(service))).entries
    entry = (await client.get(config_key(service))).entry  # after all that are noted
    history = ChangeLog.of(entry.modify_index if entry else 0, notes)
    if entry is None or history.changes[0].id:
        return history
    by_hand = await _note_by_hand(client, service, entry, history)
    return attrs.evolve(history, changes=(by_hand, *history.changes[1:]))


async def read_revision(client: KeyStore, service: str, revision: int) -> bytes:
    """Give a document as it was at a revision, or as it is.

    Raises:
        NoRevision: it is not kept.
        KvError: the store cannot be read.
    """
    entry = (await client.get(config_key(service))).entry
    if entry is not None and entry.modify_index == revision:
        return entry.value
    history = await read_history(client, service)
    found = history.find(revision)
    if found is not None and found.id:
        copy = await client.get(past_document_key(service, found.id))
        if copy.entry is not None:
            return copy.entry.value
    raise NoRevision(service, revision, [one.revision for one in history.changes])


async def _write(
    client: KeyStore,
    service: str,
    text: bytes,
    *,
    replaced: Entry | None,
    bounds: KeptHistory,
    found: Sequence[Difference] = (),
    note: Note | None = None,
    also: Sequence[TxnOperation] = (),
) -> int:
    """Write a document over what is there; give its revision, 0 if it is another now."""
    over = replaced.modify_index if replaced else 0
    history = ChangeLog.of(over, (await client.list(changes_prefix(service))).entries)
    now = datetime.now(UTC)
    change = Change.noted(new_id(now), note or own_note(), found, over=over, at=now)
    unnoted = None
    if replaced is not None and not history.changes[0].id:
        noted = await _note_by_hand(client, service, replaced, history)
        unnoted = Unnoted(noted, replaced.value)
    return await RevisionWrite(service, text, change, unnoted, history, bounds).write(
        client, also
    )


async def _note_by_hand(
    client: KeyStore, service: str, entry: Entry, history: ChangeLog
) -> Change:
    """Give what is known of a document that was written past us."""
    change = Change("", entry.modify_index, by_hand=True)
    older = history.before(entry.modify_index)
    if older is None:
        return change
    change = attrs.evolve(change, over=older.revision)
    copy = (await client.get(past_document_key(service, older.id))).entry
    before, after = _parsed(copy), _parsed(entry)
    if before is None or after is None:
        return change
    return change.with_summary(differences(before, after))


async def meanwhile(client: KeyStore, service: str, over: int) -> WrittenMeanwhile:
    """Give the error of who was not first, which says who was and what that changed.

    Args:
        client: of the store.
        service: whose document it is.
        over: the revision that was meant to be replaced.

    Raises:
        KvError: the store cannot be read.
    """
    try:
        history = await read_history(client, service)
    except KvError:  # who may not read it is told as much as is known
        entry = (await client.get(config_key(service))).entry
        return WrittenMeanwhile(service, entry.modify_index if entry else 0)
    winner = history.find(history.present)
    summary: list[str] = []
    try:
        before = parse(await read_revision(client, service, over)) if over else {}
        after = parse((await read_document(client, service))[0])
    except (NoRevision, NoDocument, InvalidConfig):
        summary = list(winner.summary) if winner else []
    else:
        listed = differences(before, after)
        summary = [one.words for one in listed[:SUMMARY]]
        if len(listed) > SUMMARY:
            summary.append(f"and {len(listed) - SUMMARY} more")
    who = winner.who if winner else ""
    return WrittenMeanwhile(service, history.present, who, summary)


def _parsed(entry: Entry | None) -> dict[str, Any] | None:
    """Give what stands in an entry; None where it is no document, or nothing."""
    if entry is None:
        return None
    try:
        return parse(entry.value)
    except InvalidConfig:
        return None
