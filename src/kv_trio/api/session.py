"""`/v1/session`: what locks are bound to."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

from http_trio import Answer, Exchange
from kv_trio.api.writes import submit
from kv_trio.consul.durations import parse_duration_s
from kv_trio.consul.encode import (
    JSON,
    bad_query,
    dump_json,
    index_headers,
    json_answer,
    method_not_allowed,
)
from kv_trio.consul.parameters import (
    check_session_id,
    parse_index,
    parse_wait_s,
)
from kv_trio.errors import BadQuery
from kv_trio.state.acl import Access
from kv_trio.state.entry import Session
from kv_trio.state.operations import Create, Destroy
from kv_trio.state.store import Store
from kv_trio.storage.writer import Writer
from kv_trio.watch.blocking_queries import Watchers, must_wait

_BODY = 16 * 1024  # bytes of what a session is to be like
_MIN_TTL_S, _MAX_TTL_S = 10.0, 86400.0
_VERBS = {
    "create": "OPTIONS,PUT,POST",
    "destroy": "OPTIONS,PUT,POST",
    "renew": "OPTIONS,PUT,POST",
    "info": "OPTIONS,GET",
    "list": "OPTIONS,GET",
    "node": "OPTIONS,GET",
}
_CHECK = "serfHealth"  # of the node; in a cluster of one it always passes


class SessionsApi:
    """The endpoint's handler."""

    def __init__(
        self, store: Store, writer: Writer, watchers: Watchers, *, node: str
    ) -> None:
        self._store = store
        self._writer = writer
        self._watchers = watchers
        self._node = node
        self._draw: Callable[[], float] = random.random

    def __repr__(self) -> str:
        return "<SessionsApi>"

    def handle(
        self,
        exchange: Exchange,
        rest: bytes,
        parameters: dict[str, str],
        access: Access,
    ) -> None:
        """Answer a request, now or when its time has come.

        Raises:
            BadQuery: it makes no sense, or is not allowed.
        """
        verb, _, argument = rest.decode("utf-8", "replace").partition("/")
        methods = _VERBS.get(verb)
        if methods is None:
            raise BadQuery(404, "")
        if exchange.method not in methods.split(","):
            exchange.respond(method_not_allowed(exchange.method, methods))
        elif exchange.method == "OPTIONS":
            exchange.respond(method_not_allowed("OPTIONS", methods))
        elif verb in ("info", "list", "node"):
            if not access.read and not access.write:
                raise BadQuery(403, "Permission denied")
            self._show(exchange, verb, argument, parameters)
        else:
            if not access.write:
                raise BadQuery(403, "Permission denied")
            self._change(exchange, verb, argument)

    def _change(self, exchange: Exchange, verb: str, argument: str) -> None:
        if verb == "create":
            exchange.collect(_BODY, self._create)
            return
        if not argument:
            raise BadQuery(400, "Missing session")
        check_session_id(argument)
        if verb == "renew":
            if not self._writer.renew(argument):
                raise BadQuery(404, f"Session id '{argument}' not found")
            shown = [self._describe(one) for one in self._found("info", argument)]
            exchange.respond(json_answer(shown))
            return
        destroyed = Answer(200, b"true", JSON)
        submit(self._writer, exchange, Destroy(argument), lambda _: destroyed)

    def _create(self, exchange: Exchange, body: bytes) -> None:
        try:
            session = parse_session(body, str(uuid.uuid4()), node=self._node)
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        else:
            made = json_answer({"ID": session.id})
            submit(self._writer, exchange, Create(session), lambda _: made)

    def _show(
        self, exchange: Exchange, verb: str, argument: str, parameters: dict[str, str]
    ) -> None:
        if verb == "info":
            if not argument:
                raise BadQuery(400, "Missing session")
            check_session_id(argument)
        elif verb == "node" and not argument:
            raise BadQuery(400, "Missing node name")

        def answer(exchange: Exchange) -> None:
            exchange.respond(self._answer(self._found(verb, argument)))

        index, wait_s = parse_index(parameters), parse_wait_s(parameters)
        if index and must_wait(self._store, index, self._store.session_index):
            jitter_s = wait_s / 16 * self._draw()
            self._watchers.park_for_sessions(exchange, answer, wait_s + jitter_s)
        else:
            answer(exchange)

    def _found(self, verb: str, argument: str) -> list[Session]:
        sessions = self._store.sessions
        if verb == "info":
            return [sessions[argument]] if argument in sessions else []
        if verb == "node" and argument != self._node:
            return []
        return sorted(sessions.values(), key=lambda session: session.id)

    def _answer(self, sessions: list[Session]) -> Answer:
        shown = [self._describe(session) for session in sessions]
        headers = index_headers(max(1, self._store.session_index))
        return Answer(200, dump_json(shown), JSON, headers)

    def _describe(self, session: Session) -> dict[str, Any]:
        return {
            "ID": session.id,
            "Name": session.name,
            "Node": self._node,
            "LockDelay": round(session.lock_delay_s * 1e9),
            "Behavior": "delete" if session.deletes else "release",
            "TTL": session.ttl,
            "NodeChecks": [_CHECK],
            "ServiceChecks": None,
            "CreateIndex": session.create_index,
            "ModifyIndex": session.create_index,
        }


def parse_session(body: bytes, id_: str, *, node: str) -> Session:
    """Read what a session is to be like; the names of its fields have no case.

    Raises:
        BadQuery: with Consul's texts.
    """
    fields = _fields(body)
    ttl = _text(fields, "TTL")
    behavior = _text(fields, "Behavior") or "release"
    try:
        lock_delay_s = _lock_delay_s(fields.get("lockdelay"))
    except ValueError as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if _text(fields, "Node") not in ("", node):
        raise BadQuery(500, "Missing node registration")
    for check in [*(fields.get("checks") or []), *(fields.get("nodechecks") or [])]:
        if check != _CHECK:
            raise BadQuery(500, f"Missing check '{check}' registration")
    if behavior not in ("release", "delete"):
        raise BadQuery(500, f"Invalid Behavior setting '{behavior}'")
    return Session(
        id=id_,
        name=_text(fields, "Name"),
        ttl_s=_ttl_s(ttl),
        ttl=ttl,
        lock_delay_s=lock_delay_s,
        deletes=behavior == "delete",
    )


def _fields(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        asked = json.loads(body)
    except json.JSONDecodeError as exc:
        text = "unexpected EOF" if exc.pos >= len(exc.doc.rstrip()) else exc.msg
        raise BadQuery(400, f"Request decode failed: {text}") from exc
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if not isinstance(asked, dict):
        raise BadQuery(400, "Request decode failed: expected an object")
    return {str(name).lower(): value for name, value in asked.items()}


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = "bool" if isinstance(value, bool) else "number"
        raise BadQuery(
            400,
            f"Request decode failed: json: cannot unmarshal {kind} into Go struct"
            f" field .{name} of type string",
        )
    return value


def _ttl_s(ttl: str) -> float:
    if not ttl:
        return 0.0
    try:
        ttl_s = parse_duration_s(ttl)
    except ValueError as exc:
        text = f"Session TTL '{ttl}' invalid: time: invalid duration \"{ttl}\""
        raise BadQuery(500, text) from exc
    if not _MIN_TTL_S <= ttl_s <= _MAX_TTL_S:
        nanoseconds = round(ttl_s * 1e9)
        raise BadQuery(
            500,
            f"Invalid Session TTL '{nanoseconds}', must be between [10s=24h0m0s]",
        )
    return ttl_s


def _lock_delay_s(given: object) -> float:
    """Consul takes a duration, seconds below 1000, or nanoseconds."""
    if given is None:
        return 15.0
    if isinstance(given, str):
        return parse_duration_s(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given) if given < 1000 else given / 1e9
    raise ValueError(f"LockDelay {given!r}")  # all faults are one
