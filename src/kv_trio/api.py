"""Consul's KV HTTP API over the store: requests to operations, outcomes to answers.

Different from Consul on purpose: `POST` is taken like `PUT`; a wait on an absent key
or prefix ends only when something appears there; an abandoned poll is freed at once;
a chunked body obeys the size limit too; an index that was never given is answered at
once; and an answer to a write carries `X-Consul-Index`, the number of its change.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

from http_trio import Answer, Exchange
from kv_trio.core import (
    Create,
    Delete,
    Destroy,
    Operation,
    Outcome,
    Put,
    Session,
    Store,
)
from kv_trio.errors import BadQuery, StorageError
from kv_trio.query import (
    parse_duration_s,
    parse_index,
    parse_key,
    parse_parameters,
    parse_read,
    parse_unsigned,
    parse_wait_s,
)
from kv_trio.render import JSON, answer_read, dump_json, index_of
from kv_trio.watch import Watchers, must_wait
from kv_trio.writer import Writer

VALUE_LIMIT = 512 * 1024
"""Bytes of a value."""

_SESSION_BODY = 16 * 1024
_METHODS = b"OPTIONS,GET,PUT,POST,DELETE"
_MIN_TTL_S, _MAX_TTL_S = 10.0, 86400.0
_ONE_OF = ("cas", "acquire", "release")
_KV = b"/v1/kv/"


class Api:
    """The handler of a store's server."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        watchers: Watchers,
        *,
        node: str,
        address: str,
    ) -> None:
        self._store = store
        self._writer = writer
        self._watchers = watchers
        self._node = node
        self._address = address
        self._draw: Callable[[], float] = random.random

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request, now or when its time has come."""
        path = exchange.path
        try:
            if path.startswith(_KV):
                self._kv(exchange, parse_key(path[len(_KV) :]))
            elif path.startswith(b"/v1/session/"):
                self._session(exchange, path[len(b"/v1/session/") :])
            elif path == b"/v1/kv":
                location = ((b"Location", b"/v1/kv/"),)
                exchange.respond(Answer(301, content_type=None, headers=location))
            else:
                exchange.respond(self._cluster(path))
        except BadQuery as exc:
            exchange.respond(_bad(exc))

    # === keys ===

    def _kv(self, exchange: Exchange, key: bytes) -> None:
        parameters = parse_parameters(exchange.query)
        match exchange.method:
            case "GET":
                self._read(exchange, key, parameters)
            case "PUT" | "POST":
                self._put(exchange, key, parameters)
            case "DELETE":
                self._delete(exchange, key, parameters)
            case "OPTIONS":
                allow = ((b"Allow", _METHODS),)
                exchange.respond(Answer(200, content_type=None, headers=allow))
            case other:
                text = f"method {other} not allowed".encode()
                exchange.respond(Answer(405, text, headers=((b"Allow", _METHODS),)))

    def _read(self, exchange: Exchange, key: bytes, parameters: dict[str, str]) -> None:
        read = parse_read(key, parameters)
        index, wait_s = parse_index(parameters), parse_wait_s(parameters)
        if index and must_wait(self._store, index, index_of(self._store, read)):
            jitter_s = wait_s / 16 * self._draw()
            self._watchers.park(exchange, read, wait_s + jitter_s)
        else:
            exchange.respond(answer_read(self._store, read))

    def _put(self, exchange: Exchange, key: bytes, parameters: dict[str, str]) -> None:
        if not key:
            raise BadQuery(400, "Missing key name")
        given = [name for name in _ONE_OF if name in parameters]
        if len(given) > 1:
            flags = "&".join(f"{name}={parameters[name]}" for name in given)
            raise BadQuery(400, f"Conflicting flags: {flags}\n")
        flags_value = parse_unsigned(parameters, "flags") or 0
        cas = parse_unsigned(parameters, "cas")

        def write(_: Exchange, value: bytes) -> None:
            put = Put(
                *(key, value, flags_value, cas),
                acquire=parameters.get("acquire"),
                release=parameters.get("release"),
            )
            self._submit(exchange, put)

        exchange.collect(VALUE_LIMIT, write, _too_large)

    def _delete(
        self, exchange: Exchange, key: bytes, parameters: dict[str, str]
    ) -> None:
        recurse = "recurse" in parameters
        cas = parse_unsigned(parameters, "cas")
        if recurse and cas is not None:
            raise BadQuery(400, "Conflicting flags: recurse and cas\n")
        if not key and not recurse:
            raise BadQuery(400, "Missing key name")
        self._submit(exchange, Delete(key, recurse, cas))

    # === sessions ===

    def _session(self, exchange: Exchange, rest: bytes) -> None:
        verb, _, argument = rest.decode("utf-8", "replace").partition("/")
        match (exchange.method, verb):
            case ("PUT", "create"):
                exchange.collect(_SESSION_BODY, self._create_session)
            case ("PUT", "destroy"):
                self._submit(exchange, Destroy(argument))
            case ("PUT", "renew"):
                self._renew_session(exchange, argument)
            case ("GET", "info"):
                exchange.respond(self._sessions([argument]))
            case ("GET", "list" | "node"):
                exchange.respond(self._sessions(list(self._store.sessions)))
            case _:
                exchange.respond(Answer(404, b"404 page not found\n"))

    def _create_session(self, exchange: Exchange, body: bytes) -> None:
        try:
            session = parse_session(body, str(uuid.uuid4()))
        except BadQuery as exc:
            exchange.respond(_bad(exc))
            return

        def done(outcome: Outcome | StorageError) -> None:
            if isinstance(outcome, StorageError):
                exchange.respond(_failed(outcome))
            else:
                exchange.respond(_json({"ID": session.id}))

        self._writer.submit(Create(session), done)

    def _renew_session(self, exchange: Exchange, id_: str) -> None:
        if self._writer.renew(id_):
            exchange.respond(self._sessions([id_]))
        else:
            exchange.respond(Answer(404, f"Session id '{id_}' not found".encode()))

    def _sessions(self, ids: list[str]) -> Answer:
        found = [
            self._store.sessions[id_] for id_ in ids if id_ in self._store.sessions
        ]
        index = b"%d" % max(1, self._store.index)
        headers = ((b"X-Consul-Index", index), (b"X-Consul-Knownleader", b"true"))
        shown = [self._describe_session(session) for session in found]
        return Answer(200, dump_json(shown), JSON, headers)

    def _describe_session(self, session: Session) -> dict[str, Any]:
        return {
            "ID": session.id,
            "Name": session.name,
            "Node": self._node,
            "LockDelay": round(session.lock_delay_s * 1e9),
            "Behavior": "delete" if session.deletes else "release",
            "TTL": session.ttl,
            "NodeChecks": ["serfHealth"],
            "ServiceChecks": None,
            "CreateIndex": session.create_index,
            "ModifyIndex": session.create_index,
        }

    # === the rest ===

    def _submit(self, exchange: Exchange, operation: Operation) -> None:
        def done(outcome: Outcome | StorageError) -> None:
            if isinstance(outcome, StorageError):
                exchange.respond(_failed(outcome))
            elif outcome.refused:
                exchange.respond(Answer(500, outcome.refused.encode()))
            else:
                index = ((b"X-Consul-Index", b"%d" % max(1, outcome.index)),)
                body = b"true" if outcome.done else b"false"
                exchange.respond(Answer(200, body, JSON, index))

        self._writer.submit(operation, done)

    def _cluster(self, path: bytes) -> Answer:
        """What Consul's clients ask of the cluster: it is of one."""
        match path:
            case b"/v1/status/leader":
                return _json(self._address)
            case b"/v1/status/peers":
                return _json([self._address])
            case b"/v1/agent/self":
                return _json(self._self())
            case _:
                return Answer(404, b"404 page not found\n")

    def _self(self) -> dict[str, Any]:
        config = {"Datacenter": "dc1", "NodeName": self._node, "Server": True}
        stats = {"consul": {"leader": "true", "leader_addr": self._address}}
        return {"Config": config, "Stats": stats, "Member": {"Name": self._node}}


def parse_session(body: bytes, id_: str) -> Session:
    """Read what a session is to be like; the names of its fields have no case.

    Raises:
        BadQuery: with Consul's texts.
    """
    try:
        asked = json.loads(body) if body.strip() else {}
        if not isinstance(asked, dict):
            raise ValueError("expected an object")  # noqa: TRY004  # all faults are one
        fields = {str(name).lower(): value for name, value in asked.items()}
        ttl = str(fields.get("ttl") or "")
        ttl_s = parse_duration_s(ttl) if ttl else 0.0
        lock_delay_s = _lock_delay_s(fields.get("lockdelay", 15))
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if ttl and not _MIN_TTL_S <= ttl_s <= _MAX_TTL_S:
        raise BadQuery(
            500,
            f"Invalid Session TTL '{round(ttl_s * 1e9)}', must be between [10s=24h0m0s]",
        )
    behavior = fields.get("behavior") or "release"
    if behavior not in ("release", "delete"):
        raise BadQuery(500, f"Invalid Behavior setting '{behavior}'")
    return Session(
        id=id_,
        name=str(fields.get("name") or ""),
        ttl_s=ttl_s,
        ttl=ttl,
        lock_delay_s=lock_delay_s,
        deletes=behavior == "delete",
    )


def _lock_delay_s(given: object) -> float:
    """Consul takes a duration, seconds below 1000, or nanoseconds."""
    if isinstance(given, str):
        return parse_duration_s(given)
    if isinstance(given, int | float):
        return float(given) if given < 1000 else given / 1e9
    raise ValueError(f"LockDelay {given!r}")  # all faults are one


def _too_large(exchange: Exchange, size: int) -> None:
    text = (
        f"Request body({size} bytes) too large, max size: {VALUE_LIMIT} bytes. "
        "See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )
    exchange.respond(Answer(413, text.encode()))


def _bad(exc: BadQuery) -> Answer:
    return Answer(exc.status, str(exc).encode())


def _failed(exc: StorageError) -> Answer:
    return Answer(500, str(exc).encode())


def _json(value: object) -> Answer:
    return Answer(200, dump_json(value), JSON)
