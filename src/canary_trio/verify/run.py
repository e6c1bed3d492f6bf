"""A run: a fleet under load, the steps of a plan, and the record of all that was seen.

The rule that it obeys: what was changed of a fleet that is not ours is put back, however the
run ends; of ours nothing is left. One file, since both fleets bear the same.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from canary_trio.config.document import build, parse
from canary_trio.config.model import CANARY, STABLE
from canary_trio.control.changes.documents import (
    read_history,
    read_revision,
    revise,
)
from canary_trio.control.changes.history import Change, Note
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import rollout_in
from canary_trio.control.fleet.applied import read_fleet, wait_applied
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource
from canary_trio.control.store_keys import past_document_key
from canary_trio.errors import NoRevision
from canary_trio.verify.arithmetic import shares_of
from canary_trio.verify.documents import DECISION, Table, put_back
from canary_trio.verify.fleet import SERVICE, ProxyPorts, own_fleet
from canary_trio.verify.observation import ClientKind, Record
from canary_trio.verify.peers import grpc, http1, http2, slow_bodies, websockets
from canary_trio.verify.peers.journal import REQUEST_S, Journal
from canary_trio.verify.peers.prober import Prober
from canary_trio.verify.plan import plan
from canary_trio.verify.processes import NotStarted
from canary_trio.verify.report import RunFacts, VerifyReport
from canary_trio.verify.steps.catalog import DOES
from canary_trio.verify.steps.stage import LIVE_S, Stage
from kv_trio import KvError

Live = Callable[[Journal, ProxyPorts, random.Random], Awaitable[None]]

OWN_LOAD: tuple[tuple[Live, int], ...] = (
    (http1.live_kept, 3),
    (http1.live_new, 1),
    (slow_bodies.live_upload, 2),
    (slow_bodies.live_download, 2),
    (websockets.live_websocket, 3),
    (http2.live_http2, 1),
    (grpc.live_grpc, 1),
)
"""The clients of each proxy, and how many."""

GIVEN_LOAD: tuple[tuple[Live, int], ...] = (
    (http1.live_kept, 4),
    (http1.live_new, 1),
)
"""The same, where servers are somebody's who knows nothing of us."""

GIVEN_KINDS = (ClientKind.KEPT, ClientKind.NEW)

READ_S = 20.0
"""How long the store is asked again for its history, where it does not say it."""

SETTLE_S = 0.5
"""How long the load goes on behind the last step."""


@attrs.frozen(kw_only=True)
class VerifyPlan:
    """What is asked for.

    Attributes:
        seconds: after so long no step begins any more.
        seed: of the plan.
        names: of the steps to choose from.
    """

    seconds: float
    seed: int
    names: Sequence[str]


@attrs.frozen(kw_only=True)
class GivenFleet:
    """A fleet that is not ours.

    Attributes:
        service: whose document is changed.
        proxies: where they are.
        path: that is asked for.
        host: that requests name; empty for the proxy's address.
    """

    service: str
    proxies: tuple[ProxyPorts, ...]
    path: str = "/"
    host: str = ""


Progress = Callable[[Journal], None]


async def verify_own(
    wanted: VerifyPlan,
    *,
    kind: str,
    proxies: int,
    directory: Path,
    progress: Progress,
    program: str = "canary_trio",
) -> VerifyReport:
    """Start a fleet, let it bear all of the plan, and judge it.

    Args:
        wanted: the plan.
        kind: of the store.
        proxies: how many.
        directory: for data and logs.
        progress: is shown how it goes.
        program: as for `own_fleet`.

    Raises:
        NotStarted: it does not come up (in a group).
    """
    record = Record(SERVICE)
    async with (
        own_fleet(directory, kind, proxies, program=program) as fleet,
        open_source(fleet.url) as client,
    ):
        journal = Journal(record)
        async with _loaded(journal, fleet.places, OWN_LOAD, wanted.seed) as prober:
            stage = Stage(SERVICE, client, journal, prober, fleet, proxies)
            await _run_plan(stage, wanted, progress)
    facts = RunFacts(
        seed=wanted.seed,
        store=kind,
        proxies=proxies,
        seconds=journal.now(),
        kinds=tuple(ClientKind),
        names=wanted.names,
    )
    return VerifyReport.of(record, facts)


async def verify_given(
    wanted: VerifyPlan,
    fleet: GivenFleet,
    client: DocumentSource,
    store: str,
    progress: Progress,
) -> VerifyReport:
    """Flip the ratio of a fleet that is there, judge it, and put its document back.

    Args:
        wanted: the plan.
        fleet: where it is.
        client: of its store.
        store: how that is called.
        progress: is shown how it goes.

    Raises:
        NotStarted: its document is not one whose ratio can be flipped, or nobody is live.
        KvError, CanaryError: the store cannot be read, or not be written.
    """
    record = Record(fleet.service, whole=False)
    text, revision = await read_document(client, fleet.service)
    before = parse(text)
    journal = _journal_of(record, fleet, before)
    live = len((await read_fleet(client, fleet.service, revision)).reports)
    if not live:
        raise NotStarted(f"no proxy of {fleet.service} is live")
    try:
        await _say_decisions(client, fleet.service, before, live)
        async with _loaded(journal, fleet.proxies, GIVEN_LOAD, wanted.seed) as prober:
            stage = Stage(fleet.service, client, journal, prober, proxies=live)
            stage.pause_s = wanted.seconds / (kept_revisions(before) / 2)
            await _run_plan(stage, wanted, progress)
    finally:
        with trio.move_on_after(READ_S, shield=True):
            note = Note("canary verify", "as it was before")
            back = partial(put_back, before=before)
            await revise(client, fleet.service, back, note=note, tries=20)
    facts = RunFacts(
        seed=wanted.seed,
        store=store,
        proxies=live,
        seconds=journal.now(),
        kinds=GIVEN_KINDS,
        names=wanted.names,
    )
    return VerifyReport.of(record, facts)


def _journal_of(record: Record, fleet: GivenFleet, document: Table) -> Journal:
    """Make a journal that suits a document; refuse one whose ratio is not to be flipped."""
    rollout, _ = rollout_in(document)
    if rollout is not None and not rollout.is_over:
        raise NotStarted(f"rollout {rollout.id} of {fleet.service} is in progress")
    if set(shares_of(document)) - {CANARY, STABLE}:
        raise NotStarted("its ratio has other arms than canary, and is left alone")
    if CANARY not in document.get("arms", {}):
        raise NotStarted("its document has no arm canary")
    sticky = document.get("sticky_sessions")
    table = sticky if isinstance(sticky, dict) else {}
    header = document.get("decision_header") or DECISION
    journal = Journal(record, any_answer=True)
    journal.path, journal.host = fleet.path.encode(), fleet.host.encode()
    journal.decision = str(header).lower().encode()
    journal.cookie = str(table.get("cookie", f"canary-{fleet.service}")).encode()
    if "header" in table:
        journal.key = str(table["header"]).encode()
    return journal


def kept_revisions(document: Table) -> int:
    """Give how many revisions a document's history has; half of them are left to others."""
    return build(document).history.revisions


async def _say_decisions(
    client: DocumentSource, service: str, before: Table, proxies: int
) -> None:
    """Let responses say how they were routed, if they do not."""
    if before.get("decision_header"):
        return
    revision = await revise(
        client,
        service,
        lambda found: {**found, "decision_header": DECISION},
        note=Note("canary verify", "responses say how they were routed"),
        tries=20,
    )
    with trio.move_on_after(LIVE_S):
        await wait_applied(client, service, revision, expect=proxies)
        return
    raise NotStarted(f"revision {revision} not live within {LIVE_S:g} s")


# === load and steps ===


@asynccontextmanager
async def _loaded(
    journal: Journal,
    places: Sequence[ProxyPorts],
    load: Sequence[tuple[Live, int]],
    seed: int,
) -> AsyncIterator[Prober]:
    """Let clients ask until the block ends, and then end what they began."""
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as clients:
            for number, place in enumerate(places):
                for live, count in load:
                    for one in range(count):
                        drawn = f"{seed}/{number}/{live.__name__}/{one}"
                        clients.start_soon(live, journal, place, random.Random(drawn))
            yield Prober(journal, places, nursery)
            journal.over.set()
            clients.cancel_scope.deadline = trio.current_time() + REQUEST_S + 2
        nursery.cancel_scope.cancel()


async def _run_plan(stage: Stage, wanted: VerifyPlan, progress: Progress) -> None:
    """Do the steps, show how it goes, and read what the store kept of it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_show, stage.journal, progress))
        for step in plan(wanted.seed, wanted.names):
            if stage.journal.now() >= wanted.seconds:
                break
            await stage.run(step, DOES[step.name])
            await collect(stage)
            left = wanted.seconds - stage.journal.now()
            await trio.sleep(max(0.0, min(stage.pause_s, left)))
        await trio.sleep(SETTLE_S)
        nursery.cancel_scope.cancel()
    stage.journal.over.set()
    await collect(stage)


async def _show(journal: Journal, progress: Progress) -> None:
    while True:
        progress(journal)
        await trio.sleep(0.25)


async def collect(stage: Stage) -> None:
    """Read the documents that the store keeps, and which revisions it knows."""
    stage.journal.record.unread = True
    with trio.move_on_after(READ_S):
        while stage.journal.record.unread:
            try:
                await _collect(stage)
            except KvError:
                await trio.sleep(0.1)
            else:
                stage.journal.record.unread = False


async def _collect(stage: Stage) -> None:
    record = stage.journal.record
    history = await read_history(stage.client, stage.service)
    record.history = {change.revision for change in history.changes}
    for change in history.changes:
        if change.revision in record.documents or change.revision in record.missing:
            continue
        text = await _text_of(stage, change)
        if text is None:
            record.missing.add(change.revision)
        else:
            record.documents[change.revision] = parse(text)


async def _text_of(stage: Stage, change: Change) -> bytes | None:
    """Give a document as it was; None if it is not kept."""
    if change.id:
        key = past_document_key(stage.service, change.id)
        copy = (await stage.client.get(key)).entry
        if copy is not None:
            return copy.value
    try:
        return await read_revision(stage.client, stage.service, change.revision)
    except NoRevision:
        return None
