"""Changes that have to be confirmed: written, confirmed, taken back.

The rule that it obeys: each step is one transaction over both keys, the document and what
waits, so that there is never a document that goes back and nothing that says so, nor the
other way round; and each is compare-and-set, so of a confirmation and the end of its time
one wins, whoever comes late. A document that was written past us ends what waits.

What waits always goes back to the last document that was good: a change that is made while
another one waits takes its place, and goes back to where that one would have.
One file, since each step must leave what all others can go on from.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from canary_trio.config.document import parse
from canary_trio.control.changes.archive import own_note
from canary_trio.control.changes.difference import is_same
from canary_trio.control.changes.documents import check_document, write_document
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.pending import PendingChange, PendingKind
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import with_abort_kept
from canary_trio.control.changes.waiting import Found, read_pending
from canary_trio.control.store_keys import config_key, pending_key
from canary_trio.errors import (
    CannotConfirm,
    InvalidConfig,
    NoDocument,
    NothingPending,
    WrittenMeanwhile,
)
from canary_trio.routing.edge.names import is_gateway
from kv_trio import TxnOperation

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore

_log = logging.getLogger(__name__)

AUTHOR = "canary (unconfirmed)"
"""Whose revision it is that a proxy takes back."""

TRIES = 5
"""So often something is read anew that others change meanwhile."""


async def write_unconfirmed(
    client: KeyStore,
    service: str,
    document: dict[str, Any],
    *,
    over: int,
    within_s: float,
    note: Note | None = None,
    now: Callable[[], float] = time.time,
) -> tuple[int, PendingChange | None]:
    """Write a document that goes back unless it is confirmed; give what waits then.

    Nothing waits where it is the document that it would go back to. Where the same document
    is there already nothing is written, and what waited goes on waiting.

    Args:
        client: of the store.
        service: whose document it is.
        document: parsed JSON.
        over: the revision that it replaces.
        within_s: seconds in which it has to be confirmed.
        note: who changes it, and why; by default who runs this process, and where.
        now: gives the time, in seconds since 1970.

    Raises:
        CannotConfirm: there is nothing that it could go back to, or nobody would do it.
        InvalidConfig, WrittenMeanwhile, TooLargeTogether, KvError: as `write_document`.
    """
    note = note or own_note()
    check_document(service, document)
    for left in reversed(range(TRIES)):
        found = await read_pending(client, service)
        back_to, good = await _good(client, service, found, over)
        _check_stays(client, service, document, parse(back_to))
        if is_same(parse(back_to), document):
            revision = await write_document(
                client, service, document, over=over, note=note
            )
            return revision, None
        at, held = round(now() * 1000), found.change
        change = PendingChange(
            *(back_to, good, note.author, note.message),
            *(at, at + round(within_s * 1000)),
            carried=0 if held is None else held.carried + 1,  # never the same text
        )
        key = pending_key(service)
        wait = TxnOperation("cas", key, change.dump(), index=found.index)
        try:
            revision = await write_document(
                *(client, service, document),
                over=over,
                note=note,
                also=[wait],
            )
        except WrittenMeanwhile as exc:
            if exc.revision != over or not left:
                raise
            continue  # what waited was confirmed at this moment
        if revision == over:
            return revision, found.change
        return revision, attrs.evolve(change, index=revision)
    raise AssertionError("the last try returns or raises")


async def _good(
    client: KeyStore, service: str, found: Found, over: int
) -> tuple[str, int]:
    """Give the document to go back to, and its revision."""
    held = found.change
    if held is not None and not held.is_trial and found.revision == over:
        return held.document, held.revision
    try:
        text, revision = await read_document(client, service)
    except NoDocument:
        raise CannotConfirm(
            f"{service} has no document yet that an unconfirmed one could go back to; write"
            " the first one without --confirm-within"
        ) from None
    if revision != over:
        raise WrittenMeanwhile(service, revision)
    try:
        check_document(service, parse(text))
    except InvalidConfig as exc:
        raise CannotConfirm(
            f"{service}: revision {revision}, which an unconfirmed one would go back to, is"
            f" no valid document: {exc}"
        ) from exc
    return text.decode(), revision


def _check_stays(
    client: KeyStore, service: str, document: dict[str, Any], before: dict[str, Any]
) -> None:
    """Check that the proxies stay at this store, for they are who takes it back."""
    target = str(document.get("config_server") or "").rstrip("/")
    if target and target != client.url and target != _target(before):
        raise CannotConfirm(
            f"{service}: a document that moves the proxies to another store ({target})"
            " cannot be taken back here, since none of them is left; write it without"
            " --confirm-within"
        )


def _target(document: dict[str, Any]) -> str:
    return str(document.get("config_server") or "").rstrip("/")


async def write_trial(
    client: KeyStore,
    service: str,
    document: dict[str, Any],
    proxies: Sequence[str],
    *,
    within_s: float,
    share: int = 0,
    judged: bool = False,
    note: Note | None = None,
    now: Callable[[], float] = time.time,
) -> PendingChange:
    """Let some proxies, or users, try a document while the rest stay at the present one.

    It gives what waits then.

    Args:
        client: of the store.
        service: whose document it is; no gateway, whose table is one for all.
        document: parsed JSON.
        proxies: that try it, by their names; none where a share of the users does.
        share: of the users that try it on every proxy, in ten-thousandths; else 0.
        judged: whether it goes back where it is found worse than the present one.
        within_s: seconds in which it has to be confirmed.
        note: who tries it, and why; by default who runs this process, and where.
        now: gives the time, in seconds since 1970.

    Raises:
        CannotConfirm: it cannot be tried.
        NoDocument: there is none that the rest could stay at.
        InvalidConfig: with all of its faults; nothing is written.
        WrittenMeanwhile: another writer was first; nothing is written.
        KvError: the store cannot be written.
    """
    note = note or own_note()
    check_document(service, document)
    if is_gateway(service):
        raise CannotConfirm(
            f"{service}: the table of a gateway cannot be tried by some of its proxies; try"
            " the document of a service, or use --confirm-within alone"
        )
    found = await read_pending(client, service)
    if found.change is not None and not found.change.is_trial:
        raise CannotConfirm(
            f"{service}: revision {found.change.index} waits to be confirmed; confirm or"
            " revert it before another document is tried"
        )
    text, over = await read_document(client, service)
    _check_stays(client, service, document, parse(text))
    if is_same(parse(text), document):
        raise CannotConfirm(
            f"{service}: that is the document already, as revision {over}"
        )
    at = round(now() * 1000)
    change = PendingChange(
        json.dumps(document, ensure_ascii=False),
        over,
        note.author,
        note.message,
        at,
        at + round(within_s * 1000),
        kind=PendingKind.TRIAL,
        proxies=tuple(proxies),
        share=share,
        judged=judged,
        carried=0 if found.change is None else found.change.carried + 1,
    )
    same = TxnOperation("check-index", config_key(service), index=over)
    key = pending_key(service)
    write = TxnOperation("cas", key, change.dump(), index=found.index)
    written = await client.transact([same, write])
    if not written.done:
        raise WrittenMeanwhile(service, over)
    return attrs.evolve(change, index=written.index)


async def stop_trial(client: KeyStore, service: str, change: PendingChange) -> bool:
    """Let a document be tried no more; False where somebody was first.

    Raises:
        KvError: the store cannot be written.
    """
    return (await client.transact([_drop(service, change.index)])).done


async def confirm(client: KeyStore, service: str) -> PendingChange:
    """Let what waits stay for good; give it. What is tried is written as the document.

    Raises:
        NothingPending: nothing waits.
        InvalidConfig: what was tried is not valid any more.
        KvError: the store cannot be read or written.
    """
    for _ in range(TRIES):
        change = (await read_pending(client, service)).check(service)
        drop = _drop(service, change.index)
        if change.is_trial:
            try:
                await write_document(
                    *(client, service, parse(change.document)),
                    over=change.revision,
                    note=Note(change.author, change.message),
                    also=[drop],
                )
            except WrittenMeanwhile:
                continue
            return change
        same = TxnOperation("check-index", config_key(service), index=change.index)
        if (await client.transact([same, drop])).done:
            return change
    raise NothingPending(
        f"{service}: what waits was changed by others {TRIES} times meanwhile; look at"
        " what is there, and try again"
    )


async def take_back(client: KeyStore, service: str, change: PendingChange) -> None:
    """Go back from a change that nobody confirmed in time; for who drives the service.

    Once it returns the change waits no more, whoever ended it.

    Raises:
        KvError: the store cannot be read or written; try again.
    """
    words = (
        f"revision {change.index} by {change.author} was not confirmed within"
        f" {change.period_s:g} s; this is revision {change.revision} again"
    )
    while True:
        found = await read_pending(client, service)
        if found.index != change.index:
            return
        if found.change is None:
            if await client.delete(pending_key(service), cas=found.index):
                _log.info(
                    "revision %d of %s is no longer waited for: revision %d replaced it",
                    *(change.index, service, found.revision),
                )
            continue
        if change.is_trial:
            if await client.delete(pending_key(service), cas=found.index):
                _log.warning(
                    "%s: revision %d by %s is tried no more: it was not confirmed within"
                    " %g s",
                    *(service, change.index, change.author, change.period_s),
                )
            continue
        try:
            note = Note(AUTHOR, words[:1000], copy_of=change.revision)
            revision = await _go_back(client, service, found.change, note)
        except InvalidConfig as exc:
            _log.error(
                "revision %d of %s stays, though nobody confirmed it: what it would go back"
                " to is not valid any more: %s",
                *(change.index, service, exc),
            )
            await client.delete(pending_key(service), cas=found.index)
            continue
        if revision is not None:
            _log.warning("%s: %s, as revision %d", service, words, revision)
            return


async def _go_back(
    client: KeyStore, service: str, change: PendingChange, note: Note
) -> int | None:
    """Write the former document; None where somebody else was first."""
    drop = _drop(service, change.index)
    try:
        present, _ = await read_document(client, service)
        former = with_abort_kept(parse(present), parse(change.document))
        revision = await write_document(
            *(client, service, former),
            over=change.index,
            note=note,
            also=[drop],
        )
    except (WrittenMeanwhile, NoDocument):
        return None
    if revision == change.index:  # it is there already, so nothing was written
        await client.transact([drop])
    return revision


def _drop(service: str, index: int) -> TxnOperation:
    return TxnOperation("delete-cas", pending_key(service), index=index)
