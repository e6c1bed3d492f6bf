"""The router: the path of a request decides which endpoint answers it.

The API is Consul's, and a few endpoints of our own. What differs from Consul on purpose
stands in docs/store.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus

from http_trio import Exchange, Response
from kv_trio.api.cluster import render_cluster
from kv_trio.api.hosts import HostCheck
from kv_trio.api.kv import KvEndpoint
from kv_trio.api.metrics import CONTENT_TYPE, Metrics
from kv_trio.api.session import SessionEndpoint
from kv_trio.api.snapshot import SnapshotEndpoint
from kv_trio.api.tokens import Tokens
from kv_trio.api.txn import TxnEndpoint
from kv_trio.api.watch import WatchEndpoint
from kv_trio.api.writing.writes import Writes
from kv_trio.consul.encode import (
    bad_query,
    failed,
    json_response,
    moved,
)
from kv_trio.consul.parameters import KV, RequestTarget, parse_target, parse_unsigned
from kv_trio.errors import BadQuery, Moved, StorageError
from kv_trio.state.acl import EVERYTHING, Acl

_SESSION = b"/v1/session/"
_SELF = b"/v1/acl/token/self"
_WRITING = frozenset({"PUT", "POST", "DELETE"})
_FOR_ALL = frozenset({b"/", b"/live", b"/ready", b"/v1/status/leader"})  # no token

_NO_SNAPSHOT = (
    "a kv-trio has no snapshots of a Consul: `kv-trio backup FILE` copies it, and"
    " `consul kv export` and `import` move keys"
)


class ApiRouter:
    """The handler of a store's server."""

    def __init__(
        self,
        kv: KvEndpoint,
        session: SessionEndpoint,
        txn: TxnEndpoint,
        snapshot: SnapshotEndpoint,
        watch: WatchEndpoint,
        *,
        writes: Writes,
        tokens: Tokens,
        metrics: Metrics,
        hosts: HostCheck,
        compact: Callable[[int | None], Awaitable[int]],
        is_leaving: Callable[[], bool],
        node: str,
        address: str,
    ) -> None:
        self._kv = kv
        self._session = session
        self._txn = txn
        self._snapshot = snapshot
        self._watch = watch
        self._writes = writes
        self._tokens = tokens
        self._metrics = metrics
        self._hosts = hosts
        self._compact = compact
        self._is_leaving = is_leaving
        self._node = node
        self._address = address

    def __repr__(self) -> str:
        return f"<ApiRouter {self._address}>"

    def __call__(self, exchange: Exchange) -> None:
        """Answer a request: at once, or when its endpoint can."""
        try:
            self._hosts.check(exchange)
            self._route(exchange, parse_target(exchange.head.target))
        except BadQuery as exc:
            if exc.status == HTTPStatus.FORBIDDEN and exchange.method in _WRITING:
                self._tell_refused(exchange, str(exc))
            exchange.respond(bad_query(exc))
        except Moved as exc:
            exchange.respond(moved(exc, exchange.query, exchange.method))

    def _route(self, exchange: Exchange, target: RequestTarget) -> None:
        path, parameters = target.path, target.parameters
        if path.startswith(KV):
            acl = self._tokens.acl_of(exchange, parameters)
            self._metrics.requests["kv"] += 1
            self._kv.handle(exchange, target, acl)
            return
        if path in _FOR_ALL:
            self._respond_without_token(exchange, path)
            return
        acl = self._tokens.acl_of(exchange, parameters)
        if path.startswith(_SESSION):
            self._metrics.requests["session"] += 1
            rest = path[len(_SESSION) :]
            self._session.handle(exchange, rest, parameters, acl)
        elif path == b"/v1/txn":
            self._metrics.requests["txn"] += 1
            self._txn.handle(exchange, acl)
        elif path == b"/v1/watch":
            self._metrics.requests["watch"] += 1
            self._watch.handle(exchange, parameters, acl)
        elif path == _SELF and exchange.method == "GET":
            self._metrics.requests["other"] += 1
            exchange.respond(_render_self(acl))
        else:
            self._metrics.requests["other"] += 1
            self._respond_other(exchange, path, parameters, acl)

    def _tell_refused(self, exchange: Exchange, why: str) -> None:
        acl = None
        with suppress(BadQuery, Moved):
            target = parse_target(exchange.head.target)
            acl = self._tokens.acl_of(exchange, target.parameters)
        self._writes.tell(exchange, acl, why)

    def _respond_without_token(self, exchange: Exchange, path: bytes) -> None:
        """Respond to a request that needs no token."""
        match path:
            case b"/":
                response = Response(200, b"kv-trio\n")
            case b"/live":
                response = Response(200, b"live\n")
            case b"/ready" if self._is_leaving():
                response = Response(503, b"draining\n")
            case b"/ready":  # it listens only when its data is loaded
                response = Response(200, b"ready\n")
            case _:
                response = render_cluster(path, node=self._node, address=self._address)
        exchange.respond(response)

    def _respond_other(
        self,
        exchange: Exchange,
        path: bytes,
        parameters: dict[str, str],
        acl: Acl,
    ) -> None:
        if not acl.read and not acl.write:
            raise BadQuery(403, "Permission denied")
        match exchange.method, path:
            case "GET", b"/metrics":
                exchange.respond(Response(200, self._metrics.render(), CONTENT_TYPE))
            case "GET", b"/v1/snapshot":
                if not acl.may_read_under(b""):
                    raise BadQuery(403, "Permission denied")
                if _wants_consuls(exchange):
                    raise BadQuery(501, _NO_SNAPSHOT)
                exchange.spawn(self._snapshot.handle)
            case "PUT" | "POST", b"/v1/snapshot":
                raise BadQuery(501, _NO_SNAPSHOT)
            case "PUT" | "POST", b"/v1/compact":
                if not acl.may_write_under(b""):
                    raise BadQuery(403, "Permission denied")
                index = parse_unsigned(parameters, "index", status=400)
                exchange.spawn(partial(self._respond_compact, acl, index))
            case "GET", _:
                exchange.respond(
                    render_cluster(path, node=self._node, address=self._address)
                )
            case _:
                raise BadQuery(404, "")

    async def _respond_compact(
        self, acl: Acl, index: int | None, exchange: Exchange
    ) -> None:
        try:
            forgotten = await self._compact(index)
        except StorageError as exc:
            exchange.respond(failed(exc))
        except BadQuery as exc:
            exchange.respond(bad_query(exc))
        else:
            self._writes.tell(exchange, acl)
            exchange.respond(json_response({"Forgotten": forgotten}))


def _render_self(acl: Acl) -> Response:
    """Say whose rights a request has, as a Consul says it of a token."""
    if acl is EVERYTHING:
        raise BadQuery(401, "ACL support disabled")
    shown = {"AccessorID": acl.name, "Description": acl.name, "Policies": None}
    return json_response(shown)


def _wants_consuls(exchange: Exchange) -> bool:
    """Tell whether a snapshot in Consul's format is meant.

    Consul's command says no more than that it is written in Go; it would find out only
    when it has all of the copy, and then says that gzip is broken.
    """
    agent = exchange.header(b"user-agent") or b""
    if not agent.startswith(b"Go-http-client/"):
        return False
    return b"sqlite" not in (exchange.header(b"accept") or b"")
