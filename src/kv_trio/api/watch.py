"""`POST /v1/watch`: our endpoint for those who follow many keys at once.

The body is a JSON list of keys; `index` and `wait` mean what they mean in a blocking query,
but that the index is one for all of the keys: the response's own `X-Consul-Index`. What
comes is a list of the entries that have changed since, as `/v1/kv` writes them, with
`{"Key", "ModifyIndex", "Deleted": true}` for a key that was deleted. Without an index it
comes at once, with all that is there. Keys that the client may not read are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from http_trio import Exchange, Response
from kv_trio.api.bodies import RequestBodies
from kv_trio.consul.encode import bad_query, method_not_allowed
from kv_trio.consul.json_body import has_more_values, parse_json
from kv_trio.consul.parameters import parse_index, parse_wait_s
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.watch.key_sets import KeySet, KeySets

METHODS = "OPTIONS,POST"
BODY_LIMIT = 1024 * 1024
"""Bytes of the list of keys."""

_KEPT = 8  # lists that come again and again, since those who follow are alike


class WatchEndpoint:
    """Answers the requests to `/v1/watch`."""

    def __init__(
        self, sets: KeySets, bodies: RequestBodies, *, limits: StoreLimits
    ) -> None:
        self._sets = sets
        self._bodies = bodies
        self._most = limits.watched_keys
        self._draw: Callable[[], float] = random.random
        self._parse = lru_cache(_KEPT)(self._parse_anew)

    def __repr__(self) -> str:
        return f"<WatchEndpoint {self._sets!r}>"

    def handle(self, exchange: Exchange, parameters: dict[str, str], acl: Acl) -> None:
        """Answer a request: at once, or when a change ends its wait.

        Raises:
            BadQuery: it makes no sense, or is not allowed.
        """
        if exchange.method != "POST":
            exchange.respond(method_not_allowed(exchange.method, METHODS))
            return
        if not acl.read and not acl.write:
            raise BadQuery(403, "Permission denied")
        index, wait_s = parse_index(parameters), parse_wait_s(parameters)

        def read(exchange: Exchange, body: bytes) -> None:
            try:
                named = self._parse(body)
                self._check(named, acl)
                if self._sets.must_wait(named, index, acl):
                    jitter_s = wait_s / 16 * self._draw()
                    self._sets.park(exchange, named, index, acl, wait_s + jitter_s)
                else:
                    self._sets.respond(exchange, named, index, acl)
            except BadQuery as exc:
                exchange.respond(bad_query(exc))

        self._bodies.collect(exchange, acl, BODY_LIMIT, read, _too_large)

    def _parse_anew(self, body: bytes) -> KeySet:
        too_many = BadQuery(
            413,
            f"more than {self._most} keys; follow fewer, or raise the store's limit:"
            " --limit watched_keys=NUMBER",
        )
        if has_more_values(body, self._most + 1):
            raise too_many
        try:
            keys = parse_json(body)
        except ValueError as exc:
            raise BadQuery(400, f"Failed to parse body: {exc}") from exc
        if not isinstance(keys, list) or not all(
            isinstance(k, str) and k for k in keys
        ):
            raise BadQuery(400, 'expected a list of keys, such as ["a", "b/c"]')
        if len(keys) > self._most:
            raise too_many
        if not keys:
            raise BadQuery(400, "expected one key at least")
        return KeySet(tuple(dict.fromkeys(key.encode() for key in keys)))

    def _check(self, named: KeySet, acl: Acl) -> None:
        if not any(map(acl.may_read, named.keys)):
            raise BadQuery(403, "Permission denied")


def _too_large(exchange: Exchange, size: int) -> None:
    text = f"{size} bytes of keys, expected at most {BODY_LIMIT}"
    exchange.respond(Response(413, text.encode()))
