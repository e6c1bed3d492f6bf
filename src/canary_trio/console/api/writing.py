"""The pages of the API that write: each over the very revision that it was made of.

Who was not first is told who was, and what that changed. What is written is noted with the
name of who asks, and goes through the one door by which commands write too, so the same is
checked, and a rollout stands as it does in the store. One file, since each page differs from
the others in what it makes of the document alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from canary_trio.admin.asking.overview import ADMIN_S, check_healthy
from canary_trio.admin.asking.tokens import Caller
from canary_trio.config.document import build, parse
from canary_trio.console.api.answers import STORE_S, JsonAnswer, NotThere
from canary_trio.console.api.bodies import BodyTable, read_table, revision_of
from canary_trio.console.api.callers import Callers
from canary_trio.console.api.proposals import ASSIGNMENTS, Proposal
from canary_trio.console.api.reading import service_of
from canary_trio.console.live.desk import Desk
from canary_trio.console.views.rollout import ACTIONS, COMMANDS
from canary_trio.console.views.service import shown_pending
from canary_trio.control.changes.confirming import (
    confirm,
    stop_trial,
    write_unconfirmed,
)
from canary_trio.control.changes.difference import path_of
from canary_trio.control.changes.documents import meanwhile, write_document
from canary_trio.control.changes.drafts import (
    Draft,
    before_rollout_draft,
    finished_draft,
    reverted_draft,
    told_draft,
)
from canary_trio.control.changes.history import MESSAGE_LENGTH, Note
from canary_trio.control.changes.pending import (
    LEAST_WITHIN_S,
    MOST_WITHIN_S,
    PendingChange,
)
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import FREEZE_WORDS, Freeze
from canary_trio.control.changes.waiting import read_pending
from canary_trio.control.sources.source import DocumentSource, SourceCannot
from canary_trio.control.store_keys import freeze_key
from canary_trio.errors import InvalidConfig, NoDocument
from canary_trio.rollout import commands

LATEST = 253402300799.0
"""When a freeze may end at the latest: with the year 9999."""

Done = tuple[int, str, PendingChange | None]
"""The revision that is there now, what was done in words, and what waits."""


@attrs.frozen
class WriteTurn:
    """One write.

    Attributes:
        store: that is written.
        service: whose document it is.
        over: the revision that it was made of.
        caller: who asks.
        message: why, as they say.
    """

    store: DocumentSource = attrs.field(repr=False)
    service: str
    over: int
    caller: Caller
    message: str

    @property
    def author(self) -> str:
        """Who it is noted to have been."""
        return (self.caller.name or "console")[:128]

    async def write(self, draft: Draft, within_s: float | None = None) -> Done:
        """Write a draft, if it was made of the revision that is meant."""
        if draft.over != self.over:
            raise await meanwhile(self.store, self.service, self.over)
        note = Note(
            self.author,
            self.message or draft.message,
            copy_of=draft.copy_of,
            undoes=draft.undoes,
        )
        if within_s is None:
            revision = await write_document(
                self.store, self.service, draft.document, over=self.over, note=note
            )
            return revision, draft.told, None
        revision, change = await write_unconfirmed(
            self.store,
            self.service,
            draft.document,
            over=self.over,
            within_s=within_s,
            note=note,
        )
        return revision, draft.told, change

    async def check(self) -> None:
        """Look whether the document is at the revision that is meant.

        Raises:
            WrittenMeanwhile: it is at another.
        """
        try:
            present = (await read_document(self.store, self.service))[1]
        except NoDocument:
            present = 0
        if present != self.over:
            raise await meanwhile(self.store, self.service, self.over)


class Writing:
    """The pages."""

    def __init__(self, desk: Desk, callers: Callers) -> None:
        self._desk = desk
        self._callers = callers

    def __repr__(self) -> str:
        return f"<Writing of {self._desk}>"

    async def patch(self, request: Request) -> Response:
        """Change fields of the document."""
        table = await self._read(request)
        assignments = table.texts("assignments", most=ASSIGNMENTS)
        unset = table.texts("unset", most=ASSIGNMENTS, longest=4096)
        if not assignments and not unset:
            table.fault("assignments", "nothing", "at least one, or unset")
        proposal = Proposal(assignments=tuple(assignments), unset=tuple(unset))
        return await self._propose(request, table, proposal)

    async def put(self, request: Request) -> Response:
        """Write a whole document."""
        table = await self._read(request)
        document = table.table("document")
        text = table.text("text") if table.has("text") else None
        if (document is None) == (text is None):
            table.fault("", "both or none", "either document or text")
        return await self._propose(request, table, Proposal(document, text))

    async def roll_back(self, request: Request) -> Response:
        """Write an earlier revision again."""
        table = await self._read(request)
        revision = table.count("revision", 1, None)
        return await self._propose(request, table, Proposal(revision=revision))

    async def set_mode(self, request: Request) -> Response:
        """Set a server's mode."""
        table = await self._read(request)
        arm, url = table.text("arm", None), table.text("server", None)
        mode = table.text("mode", None)
        if mode not in ("ready", "drain", "maintenance"):
            table.fault("mode", mode[:40], "ready, drain or maintenance")

        async def work(turn: WriteTurn) -> Done:
            document = parse((await read_document(turn.store, turn.service))[0])
            changed = _with_mode(document, arm, url, mode, turn.service)
            return await self._write_proposal(turn, Proposal(assignments=changed))

        return await self._do(request, table, work, f"{url} of {arm}: {mode}")

    async def tell_rollout(self, request: Request) -> Response:
        """Tell the rollout something."""
        action = request.path_params["action"]
        if action not in ACTIONS:
            there = ", ".join(ACTIONS)
            raise NotThere(f"there is no action {action[:40]!r}; there are {there}")
        table = await self._read(request)
        step = table.count("step", 0, 0)
        gates = table.texts("gates", most=100)
        unchecked = table.flag("unchecked")

        async def work(turn: WriteTurn) -> Done:
            await turn.check()
            if action == "finish":
                draft, arm = await finished_draft(turn.store, turn.service)
                if not unchecked:
                    shown = self._desk.sources.credentials
                    await check_healthy(turn.store, turn.service, arm, shown)
            elif action == "undo":
                by = turn.author
                draft = await before_rollout_draft(turn.store, turn.service, by=by)
            else:
                told = COMMANDS[action]
                if action == "retry":
                    told = partial(commands.retry, step=step)
                elif action == "skip-gate":
                    told = partial(commands.skip_gates, names=gates)
                store, by = turn.store, turn.author
                draft = await told_draft(store, turn.service, told, by=by, what=action)
            return await turn.write(draft)

        return await self._do(request, table, work)

    async def confirm(self, request: Request) -> Response:
        """Let what waits stay for good."""

        async def work(turn: WriteTurn) -> Done:
            await turn.check()
            change = await confirm(turn.store, turn.service)
            present = (await read_document(turn.store, turn.service))[1]
            return present, f"revision {change.index} stays for good", None

        return await self._do(request, await self._read(request), work)

    async def revert(self, request: Request) -> Response:
        """Go back from what waits."""

        async def work(turn: WriteTurn) -> Done:
            await turn.check()
            found = await read_pending(turn.store, turn.service)
            change = found.check(turn.service)
            if change.is_trial:
                if not await stop_trial(turn.store, turn.service, change):
                    raise await meanwhile(turn.store, turn.service, turn.over)
                return turn.over, f"revision {change.index} is tried no more", None
            return await turn.write(await reverted_draft(turn.store, turn.service))

        return await self._do(request, await self._read(request), work)

    async def freeze(self, request: Request) -> Response:
        """Let no step begin, or let them begin again."""
        table = await self._read(request)
        frozen = table.flag("frozen", default=None)
        until = table.number("until", 0, LATEST)
        if until is not None and until <= time.time():
            table.fault("until", f"{until:g}", "a time to come, in seconds since 1970")

        async def work(turn: WriteTurn) -> Done:
            await turn.check()
            key = freeze_key(turn.service)
            held = (await turn.store.get(key)).entry
            told = "no step begins" if frozen else "steps begin again"
            if frozen:
                value = Freeze(turn.author, turn.message, until).dump()
                await turn.store.put(key, value)
            elif held is not None:
                await turn.store.delete(key)
            return turn.over, told, None

        return await self._do(request, table, work, longest=FREEZE_WORDS)

    # === what all of them have in common ===

    async def _read(self, request: Request) -> BodyTable:
        """Read what is sent, of somebody who may write, to a store that can be written."""
        service_of(request)
        self._callers.writer(request)
        store = self._desk.sources.store
        if store.read_only:
            raise SourceCannot(f"{store.url} takes no document: {store.read_only}")
        return await read_table(request)

    async def _propose(
        self, request: Request, table: BodyTable, proposal: Proposal
    ) -> Response:
        within_s = table.number("confirm_within_s", LEAST_WITHIN_S, MOST_WITHIN_S)

        async def work(turn: WriteTurn) -> Done:
            return await self._write_proposal(turn, proposal, within_s)

        return await self._do(request, table, work)

    async def _write_proposal(
        self, turn: WriteTurn, proposal: Proposal, within_s: float | None = None
    ) -> Done:
        made = await proposal.make(turn.store, turn.service, by=turn.author)
        if made.over != turn.over:
            raise await meanwhile(turn.store, turn.service, turn.over)
        if made.problems:
            raise InvalidConfig(made.problems)
        copy_of = proposal.revision
        draft = Draft(
            made.document,
            made.over,
            copy_of=copy_of,
            message=f"back to revision {copy_of}" if copy_of else "",
            told=made.said,
        )
        return await turn.write(draft, within_s)

    async def _do(
        self,
        request: Request,
        table: BodyTable,
        work: Callable[[WriteTurn], Awaitable[Done]],
        why: str = "",
        *,
        longest: int = MESSAGE_LENGTH,
    ) -> Response:
        message = table.text("message", most=longest)
        table.done()
        turn = WriteTurn(
            self._desk.sources.store,
            service_of(request),
            revision_of(request),
            self._callers.writer(request),
            (message or why)[:longest],
        )
        with trio.fail_after(STORE_S + ADMIN_S):
            revision, told, waits = await work(turn)
        if not told:
            told = f"revision {revision} written"
            if revision == turn.over:
                told = "it is so already, nothing was written"
        shown: dict[str, Any] = {
            "service": turn.service,
            "revision": revision,
            "changed": revision != turn.over,
            "told": told,
            "waits": None if waits is None else shown_pending(waits),
        }
        return JsonAnswer(shown)


def _with_mode(
    document: dict[str, Any], arm: str, url: str, mode: str, service: str
) -> tuple[str, ...]:
    """Give the assignments that set the mode of the servers of an arm with a URL."""
    config = build(document, service=service)
    found = config.arms.get(arm)
    places = [] if found is None else range(len(found.servers))
    paths = [
        path_of(("arms", arm, "servers", place, "mode"))
        for place in places
        if found is not None and found.servers[place].url == url
    ]
    if not paths:
        raise NotThere(f"{service} has no server {url[:200]!r} in an arm {arm[:80]!r}")
    return tuple(f'{path}="{mode}"' for path in paths)
