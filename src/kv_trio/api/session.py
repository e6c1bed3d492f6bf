"""`/v1/session`: Consul's endpoint for the sessions that locks are bound to."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from functools import partial

from http_trio import Exchange, Response
from kv_trio.api.bodies import RequestBodies
from kv_trio.api.writing.writes import Writes
from kv_trio.consul.encode import (
    JSON,
    bad_query,
    dump_json,
    index_headers,
    json_response,
    method_not_allowed,
)
from kv_trio.consul.listing import LargeListing, check_count
from kv_trio.consul.parameters import (
    check_session_id,
    parse_index,
    parse_wait_s,
)
from kv_trio.consul.session import describe_session, parse_session
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import EVERYTHING, Acl
from kv_trio.state.entry import Outcome, Session
from kv_trio.state.operations import CreateSession, DestroySession
from kv_trio.state.store import Store
from kv_trio.watch.blocking_queries import BlockingQueries, must_wait

_SHOWN = 256  # small responses to the same questions that are kept
_SIZE = 400  # bytes of a session's JSON, about
_BODY_LIMIT = 16 * 1024  # bytes of the JSON that describes a session
_VERBS = {
    "create": "OPTIONS,PUT,POST",
    "destroy": "OPTIONS,PUT,POST",
    "renew": "OPTIONS,PUT,POST",
    "info": "OPTIONS,GET",
    "list": "OPTIONS,GET",
    "node": "OPTIONS,GET",
}


class SessionEndpoint:
    """Answers the requests to `/v1/session`."""

    def __init__(
        self,
        store: Store,
        writes: Writes,
        blocking_queries: BlockingQueries,
        bodies: RequestBodies,
        *,
        limits: StoreLimits,
        node: str,
    ) -> None:
        self._store = store
        self._writes = writes
        self._blocking_queries = blocking_queries
        self._bodies = bodies
        self._limits = limits
        self._node = node
        self._shown: dict[tuple[str, str, Acl], Response] = {}
        self._shown_at = 0
        self._draw: Callable[[], float] = random.random

    def __repr__(self) -> str:
        return "<SessionEndpoint>"

    def handle(
        self,
        exchange: Exchange,
        rest: bytes,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        """Answer a request: at once, after its write, or when a change ends its wait.

        Raises:
            BadQuery: it makes no sense, or is not allowed.
        """
        verb, _, argument = rest.decode("utf-8", "replace").partition("/")
        if verb != "node":
            argument = argument.lower()  # ids have no case
        methods = _VERBS.get(verb)
        if methods is None:
            raise BadQuery(404, "")
        if exchange.method not in methods.split(","):
            exchange.respond(method_not_allowed(exchange.method, methods))
        elif exchange.method == "OPTIONS":
            exchange.respond(method_not_allowed("OPTIONS", methods))
        elif verb in ("info", "list", "node"):
            if not acl.read and not acl.write:
                raise BadQuery(403, "Permission denied")
            self._show(exchange, verb, argument, parameters, acl)
        else:
            if not acl.write:
                raise BadQuery(403, "Permission denied")
            self._change(exchange, verb, argument, acl)

    def _change(self, exchange: Exchange, verb: str, argument: str, acl: Acl) -> None:
        if verb == "create":
            if self._store.session_count >= self._limits.sessions:
                raise self._no_room()  # before its body is waited for
            create = partial(self._create, acl)
            self._bodies.collect(exchange, acl, _BODY_LIMIT, create, _too_large)
            return
        if not argument:
            raise BadQuery(400, "Missing session")
        check_session_id(argument)
        session = self._store.session(argument)
        if session and not acl.may_use(session, self._store.held_by(argument)):
            raise BadQuery(403, "Permission denied")
        if verb == "renew":
            if not self._writes.renew(argument):
                raise BadQuery(404, f"Session id '{argument}' not found")
            shown = [self._visible(acl, one) for one in self._find("info", argument)]
            body = b"[%b]" % b",".join(self._write(one) for one in shown if one)
            exchange.respond(Response(200, body, JSON))
            return
        destroyed = Response(200, b"true", JSON)
        self._writes.submit(
            exchange, acl, DestroySession(argument), lambda _: destroyed
        )

    def _create(self, acl: Acl, exchange: Exchange, body: bytes) -> None:
        owner = "" if acl is EVERYTHING else acl.name
        id_ = str(uuid.uuid4())
        try:
            session = parse_session(body, id_, node=self._node, owner=owner)
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
            return
        create = CreateSession(session, self._limits.sessions)
        created = json_response({"ID": session.id})

        def render(outcome: Outcome) -> Response:
            return created if outcome.done else bad_query(self._no_room())

        self._writes.submit(exchange, acl, create, render)

    def _no_room(self) -> BadQuery:
        return BadQuery(
            429,
            f"there are {self._store.session_count} sessions, and"
            f" {self._limits.sessions} at most; end some, give them a TTL, or raise the"
            " store's limit: --limit sessions=NUMBER",
        )

    def _show(
        self,
        exchange: Exchange,
        verb: str,
        argument: str,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        if verb == "info":
            if not argument:
                raise BadQuery(400, "Missing session")
            check_session_id(argument)
        elif verb == "node" and not argument:
            raise BadQuery(400, "Missing node name")

        def respond(exchange: Exchange) -> None:
            self._respond(exchange, verb, argument, acl)

        index, wait_s = parse_index(parameters), parse_wait_s(parameters)
        if index and must_wait(self._store, index, self._store.session_index):
            jitter_s = wait_s / 16 * self._draw()
            self._blocking_queries.park_for_sessions(
                exchange, respond, acl, wait_s + jitter_s
            )
        else:
            respond(exchange)

    def _respond(self, exchange: Exchange, verb: str, argument: str, acl: Acl) -> None:
        """Show sessions; those who ask the same at the same index get one response."""
        if self._store.index != self._shown_at:
            self._shown_at = self._store.index
            self._shown.clear()
        response = self._shown.get((verb, argument, acl))
        if response is None:
            try:
                listing = self._list(verb, argument, acl)
            except BadQuery as exc:
                exchange.respond(bad_query(exc))
                return
            if not listing.is_small:
                gather = partial(self._list, verb, argument, acl)
                self._blocking_queries.large.send(exchange, gather)
                return
            body = b"".join(listing.steps(self._limits))
            response = Response(200, body, JSON, listing.headers)
            if len(self._shown) < _SHOWN:
                self._shown[verb, argument, acl] = response
        exchange.respond(response)

    def _list(self, verb: str, argument: str, acl: Acl) -> LargeListing:
        """Give the listing of sessions, of which those that may not be seen are left out.

        Raises:
            BadQuery: there are too many.
        """
        sessions = self._find(verb, argument)
        check_count(len(sessions), self._limits)
        return LargeListing(
            sessions,
            self._write,
            lambda _: _SIZE,
            index_headers(max(1, self._store.session_index)),
            keep=partial(self._visible, acl),
        )

    def _visible(self, acl: Acl, session: Session) -> Session | None:
        held = self._store.held_by(session.id)
        return session if acl.may_see(session, held) else None

    def _write(self, session: Session) -> bytes:
        return dump_json(describe_session(session, node=self._node))

    def _find(self, verb: str, argument: str) -> list[Session]:
        sessions = self._store.sessions
        if verb == "info":
            return [sessions[argument]] if argument in sessions else []
        if verb == "node" and argument != self._node:
            return []
        return list(sessions.values())  # sorted by id


def _too_large(exchange: Exchange, size: int) -> None:
    text = f"a session of {size} bytes, expected {_BODY_LIMIT} at most"
    exchange.respond(Response(413, text.encode()))
