"""The router: the path of a request decides which endpoint answers it.

The API is Consul's, and a few endpoints of our own. What differs from Consul on purpose
stands in docs/store.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from http_trio import Exchange, Response
from kv_trio.api.cluster import respond_cluster
from kv_trio.api.kv import KvEndpoint
from kv_trio.api.metrics import CONTENT_TYPE, Metrics
from kv_trio.api.session import SessionEndpoint
from kv_trio.api.snapshot import SnapshotEndpoint
from kv_trio.api.tokens import Tokens
from kv_trio.api.txn import TxnEndpoint
from kv_trio.consul.encode import (
    bad_query,
    failed,
    json_response,
    moved,
)
from kv_trio.consul.parameters import KV, RequestTarget, parse_target, parse_unsigned
from kv_trio.errors import BadQuery, Moved, StorageError
from kv_trio.state.acl import Acl

_SESSION = b"/v1/session/"


class ApiRouter:
    """The handler of a store's server."""

    def __init__(
        self,
        keys: KvEndpoint,
        sessions: SessionEndpoint,
        transactions: TxnEndpoint,
        snapshots: SnapshotEndpoint,
        tokens: Tokens,
        metrics: Metrics,
        *,
        compact: Callable[[int | None], Awaitable[int]],
        node: str,
        address: str,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._transactions = transactions
        self._snapshots = snapshots
        self._tokens = tokens
        self._metrics = metrics
        self._compact = compact
        self._node = node
        self._address = address

    def __repr__(self) -> str:
        return f"<Api {self._address}>"

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request: at once, or when its endpoint can."""
        try:
            self._route(exchange, parse_target(exchange.head.target))
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        except Moved as exc:
            exchange.respond(moved(exc, exchange.query, exchange.method))

    def _route(self, exchange: Exchange, target: RequestTarget) -> None:
        path, parameters = target.path, target.parameters
        if path.startswith(KV):
            access = self._tokens.access_of(exchange, parameters)
            self._metrics.requests["kv"] += 1
            self._keys.handle(exchange, target, access)
            return
        if path in (b"/v1/status/leader", b"/"):
            self._answer_anybody(exchange, path)
            return
        access = self._tokens.access_of(exchange, parameters)
        if path.startswith(_SESSION):
            self._metrics.requests["session"] += 1
            rest = path[len(_SESSION) :]
            self._sessions.handle(exchange, rest, parameters, access)
        elif path == b"/v1/txn":
            self._metrics.requests["txn"] += 1
            self._transactions.handle(exchange, access)
        else:
            self._metrics.requests["other"] += 1
            self._respond_others(exchange, path, parameters, access)

    def _answer_anybody(self, exchange: Exchange, path: bytes) -> None:
        """Answer a request that needs no token."""
        if path == b"/":
            exchange.respond(Response(200, b"kv-trio\n"))
        else:
            exchange.respond(
                respond_cluster(path, node=self._node, address=self._address)
            )

    def _respond_others(
        self,
        exchange: Exchange,
        path: bytes,
        parameters: dict[str, str],
        access: Acl,
    ) -> None:
        if not access.read and not access.write:
            raise BadQuery(403, "Permission denied")
        match exchange.method, path:
            case "GET", b"/metrics":
                exchange.respond(Response(200, self._metrics.render(), CONTENT_TYPE))
            case "GET", b"/v1/snapshot":
                if not access.may_read_under(b""):
                    raise BadQuery(403, "Permission denied")
                exchange.spawn(self._snapshots.handle)
            case "PUT" | "POST", b"/v1/compact":
                if not access.may_write_under(b""):
                    raise BadQuery(403, "Permission denied")
                index = parse_unsigned(parameters, "index", status=400)
                exchange.spawn(partial(self._respond_compact, index))
            case "GET", _:
                exchange.respond(
                    respond_cluster(path, node=self._node, address=self._address)
                )
            case _:
                raise BadQuery(404, "")

    async def _respond_compact(self, index: int | None, exchange: Exchange) -> None:
        try:
            forgotten = await self._compact(index)
        except StorageError as exc:
            exchange.respond(failed(exc))
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        else:
            exchange.respond(json_response({"Forgotten": forgotten}))
