"""Another document as somebody proposes it: whole, by assignments, or an earlier one."""

from __future__ import annotations

import time
from typing import Any

import attrs

from canary_trio.config.document import parse
from canary_trio.console.api.bodies import BadBody, BodyTable
from canary_trio.console.views.preview import Made
from canary_trio.control.changes.assignments import apply_assignments, remove_fields
from canary_trio.control.changes.documents import (
    check_document,
    document_text,
    read_revision,
)
from canary_trio.control.changes.reading import read_document
from canary_trio.control.changes.rollouts import keep_state
from canary_trio.control.sources.source import KeyStore
from canary_trio.errors import BadAssignment, InvalidConfig, NoDocument, Problem
from canary_trio.rollout.moves import Situation

ASSIGNMENTS = 100
"""That one proposal has at most."""


@attrs.frozen
class Proposal:
    """A document as it was proposed; one of these is given.

    Attributes:
        document: whole.
        text: the same, as JSON text.
        assignments, unset: changes of the present one.
        revision: whose content it is.
    """

    document: dict[str, Any] | None = None
    text: str | None = None
    assignments: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    revision: int = 0

    async def make(self, store: KeyStore, service: str, *, by: str = "") -> Made:
        """Make the document of it that would be written, rollout and all.

        Raises:
            NoDocument: there is none that could be changed.
            NoRevision: the revision is not kept.
            KvError: the store cannot be read.
        """
        try:
            text, over = await read_document(store, service)
        except NoDocument:
            if self.assignments or self.unset:
                raise
            text, over = b"{}", 0
        before = _read(text)
        try:
            document = await self._document(store, service, before)
        except BadAssignment as exc:
            return Made(over, before, {}, (Problem("$", str(exc), "a change"),))
        except InvalidConfig as exc:
            return Made(over, before, {}, exc.problems)
        said = ""
        if over and "rollout" in document:
            seen = Situation(round(time.time() * 1000), by=by)
            document, said = keep_state(
                before, document, seen, is_former=bool(self.revision)
            )
        try:
            check_document(service, document)
            document_text(document)
        except InvalidConfig as exc:
            return Made(over, before, document, exc.problems, said)
        return Made(over, before, document, said=said)

    async def _document(
        self, store: KeyStore, service: str, before: dict[str, Any]
    ) -> dict[str, Any]:
        if self.document is not None:
            return self.document
        if self.text is not None:
            return parse(self.text)
        if self.revision:
            return parse(await read_revision(store, service, self.revision))
        return apply_assignments(remove_fields(before, self.unset), self.assignments)


def read_proposal(table: BodyTable) -> Proposal:
    """Read a proposal of a body.

    Raises:
        BadBody: it is none, or more than one.
    """
    document = table.table("document")
    text = table.text("text") if table.has("text") else None
    assignments = table.texts("assignments", most=ASSIGNMENTS)
    unset = table.texts("unset", most=ASSIGNMENTS, longest=4096)
    revision = table.count("revision", 1, 1) if table.has("revision") else 0
    table.done()
    given = [document is not None, text is not None, bool(revision)]
    if sum(given) + bool(assignments or unset) != 1:
        expected = "one of document, text, revision, and assignments with unset"
        found = ", ".join(table.given) or "nothing"
        raise BadBody([Problem("$", found[:100], expected)])
    return Proposal(document, text, tuple(assignments), tuple(unset), revision)


def _read(text: bytes) -> dict[str, Any]:
    """Give the document that is there; what is none is as if nothing was."""
    try:
        return parse(text)
    except InvalidConfig:
        return {}
