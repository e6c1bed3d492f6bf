"""The pages of the API that read, and those that tell what something would come to."""

from __future__ import annotations

import json
from typing import Any

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from canary_trio.admin.asking.explaining import explain_request, explained_lines
from canary_trio.admin.asking.rehearsal import ADMIN_S, ask_fleet, short_lines
from canary_trio.config.document import parse
from canary_trio.console.api.answers import STORE_S, JsonAnswer, NotThere
from canary_trio.console.api.bodies import BadBody, read_table
from canary_trio.console.api.proposals import read_proposal
from canary_trio.console.live.desk import Desk
from canary_trio.console.views.preview import preview, shown_difference
from canary_trio.console.views.service import safe_json, shown_change
from canary_trio.control.changes.difference import differences
from canary_trio.control.changes.documents import (
    check_document,
    read_history,
    read_revision,
)
from canary_trio.control.changes.history import ChangeLog
from canary_trio.control.sources.source import DocumentSource, SourceCannot
from canary_trio.control.store_keys import check_service
from canary_trio.errors import InvalidConfig, NoDocument, Problem, printable
from canary_trio.routing.edge.names import is_gateway
from canary_trio.routing.request.request_spec import read_description

MOST_REVISIONS = 1000
"""Revisions that are listed at a time at most."""

Table = dict[str, Any]


class Reading:
    """The pages."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __repr__(self) -> str:
        return f"<Reading of {self._desk}>"

    @property
    def _store(self) -> DocumentSource:
        return self._desk.sources.store

    async def services(self, _: Request) -> Response:
        """List the services."""
        async with self._desk.look_at_all() as found:
            if not found.views:
                raise trio.TooSlowError
            return JsonAnswer(found.view())

    async def view(self, request: Request) -> Response:
        """Show a service whole."""
        service = service_of(request)
        async with self._desk.look(service) as found:
            if found.is_absent:
                raise NotThere(f"there is nothing of {service}")
            if not found.is_known and not found.heard.statuses:
                raise NotThereYet(found.store.contact.error)
            if not found.views:
                raise NotThereYet
            return JsonAnswer(found.view())

    async def history(self, request: Request) -> Response:
        """List revisions."""
        service = service_of(request)
        limit = _query_number(request, "limit", 1, MOST_REVISIONS, 50)
        found = await self._history(service)
        if not found.changes:
            raise NoDocument(service)
        changes = [shown_change(one) for one in found.changes]
        return JsonAnswer(
            {
                "service": service,
                "present": found.present,
                "changes": changes[:limit],
                "more": len(changes) > limit,
            }
        )

    async def revision(self, request: Request) -> Response:
        """Show a document as it was."""
        service, revision = service_of(request), _revision_in_path(request)
        with trio.fail_after(STORE_S):
            text = await read_revision(self._store, service, revision)
        change = (await self._history(service)).find(revision)
        return JsonAnswer(
            {
                "service": service,
                "revision": revision,
                "document": safe_json(_parsed(text)),
                "text": text.decode("utf-8", "replace"),
                "change": None if change is None else shown_change(change),
            }
        )

    async def diff(self, request: Request) -> Response:
        """Tell what is different between two revisions."""
        service = service_of(request)
        one = _query_number(request, "from", 0, 2**63 - 1)
        other = _query_number(request, "to", 0, 2**63 - 1)
        with trio.fail_after(STORE_S):
            before = await self._document(service, one)
            after = await self._document(service, other)
        listed = [shown_difference(found) for found in differences(before, after)]
        return JsonAnswer(
            {"service": service, "from": one, "to": other, "differences": listed}
        )

    async def preview(self, request: Request) -> Response:
        """Tell what a proposal comes to."""
        service = service_of(request)
        proposal = read_proposal(await read_table(request))
        with trio.fail_after(STORE_S):
            made = await proposal.make(self._store, service)
        return JsonAnswer(preview(service, made))

    async def explain(self, request: Request) -> Response:
        """Tell what would become of a request."""
        service, table = service_of(request), await read_table(request)
        asked, document = table.table("request"), table.table("document")
        if asked is None and not table.has("request"):
            table.fault("request", "nothing", "a request, such as an empty object")
        table.done()
        spec = read_description(json.dumps(asked).encode())
        spec.head()
        text = None
        if document is not None:
            check_document(service, document)
            text = json.dumps(document).encode()
        with trio.fail_after(STORE_S):
            routed, found = await explain_request(self._store, service, spec, text)
        words = [printable(one) for one in explained_lines(routed, found)]
        return JsonAnswer(_explanation(routed, found) | {"words": words})

    async def rehearse(self, request: Request) -> Response:
        """Tell what a proposal would do to the requests that were noted."""
        service = service_of(request)
        proposal = read_proposal(await read_table(request))
        if is_gateway(service):
            raise SourceCannot(
                f"{service} is a gateway, whose routes are not rehearsed; name one of its"
                " services"
            )
        with trio.fail_after(STORE_S):
            made = await proposal.make(self._store, service)
        if made.problems:
            raise InvalidConfig(made.problems)
        text = json.dumps(made.document).encode()
        with trio.fail_after(STORE_S + ADMIN_S):
            found = await ask_fleet(
                self._store, service, text, self._desk.sources.credentials
            )
        return JsonAnswer({**found.shown(), "words": list(short_lines(found))})

    async def _history(self, service: str) -> ChangeLog:
        if self._store.read_only:
            raise SourceCannot(
                f"{self._store.url} keeps no history: {self._store.read_only}"
            )
        with trio.fail_after(STORE_S):
            return await read_history(self._store, service)

    async def _document(self, service: str, revision: int) -> Table:
        if not revision:
            return {}
        return parse(await read_revision(self._store, service, revision))


class NotThereYet(trio.TooSlowError):
    """Nothing was heard of a service yet, for the reason that it gives."""


def service_of(request: Request) -> str:
    """Give the service that a path names.

    Raises:
        BadName: it is none.
    """
    return check_service(request.path_params["service"])


def _explanation(routed: Table, found: Any) -> Table:
    if found is None:
        shown: Table = {
            "revision": 0,
            "arm": None,
            "reason": "",
            "rule": None,
            "bucket": None,
            "certain": True,
            "shares": None,
            "new_user": False,
            "servers": [],
            "server": None,
            "fallback": None,
            "refused": None,
            "rate_limits": [],
            "auth": [],
        }
    else:
        shown = attrs.asdict(found)
    return {**shown, "route": routed or None}


def _parsed(text: bytes) -> Table | None:
    try:
        return parse(text)
    except InvalidConfig:
        return None


def _query_number(
    request: Request, name: str, low: int, high: int, default: int | None = None
) -> int:
    given = request.query_params.getlist(name)
    if not given and default is not None:
        return default
    text = given[0] if len(given) == 1 else ""
    if text.isascii() and text.isdecimal() and len(text) < 20:
        number = int(text)
        if low <= number <= high:
            return number
    found = " and ".join(given)[:40] or "nothing"
    raise BadBody([Problem(f"?{name}", found, f"one number from {low} to {high}")])


def _revision_in_path(request: Request) -> int:
    text = request.path_params["revision"]
    if text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    raise NotThere(f"there is no revision {text[:40]!r}")
