"""A client of the store on one bare connection, in the words of the model."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import trio

from http_trio.testing import peers
from kv_trio.consul.txn_operation import dump_operation
from tests.kv_trio.support.store_model import (
    Delete,
    Get,
    ListAll,
    Put,
    Ran,
    Request,
    Response,
    Seen,
    Transact,
    Wrote,
)


@attrs.define(eq=False)
class Raw:
    """A client on a socket of its own, in the words of the model."""

    address: str
    _connection: peers.RawClient | None = None

    async def do(self, request: Request, *, index: int = 0, wait: str = "") -> Response:
        """Ask; a read with an index waits."""
        match request:
            case Get(key):
                timeouts = f"?index={index}&wait={wait}" if index else ""
                return _seen(*await self._ask("GET", f"/v1/kv/{key}{timeouts}"))
            case ListAll():
                return _seen(*await self._ask("GET", "/v1/kv/?recurse"))
            case Put(key, value, cas):
                head, body = await self._ask("PUT", _path(key, cas), value)
                return Wrote(body == b"true", _index(head))
            case Delete(key, cas):
                head, body = await self._ask("DELETE", _path(key, cas))
                return Wrote(body == b"true", _index(head))
            case Transact(operations):
                sent = json.dumps(
                    [dump_operation(operation) for operation in operations]
                ).encode()
                _, body = await self._ask("PUT", "/v1/txn", sent)
                return _ran(json.loads(body))

    async def close(self) -> None:
        if self._connection is not None:
            await trio.aclose_forcefully(self._connection.stream)
            self._connection = None

    async def _ask(
        self, method: str, path: str, body: bytes = b""
    ) -> tuple[bytes, bytes]:
        if self._connection is None:
            host, _, port = self.address.rpartition(":")
            stream = await trio.open_tcp_stream(host, int(port))
            self._connection = peers.RawClient(stream)
        head, response = await self._connection.ask(
            path.encode(), method=method.encode(), body=body
        )
        assert head.split(b" ")[1] in (b"200", b"404", b"409"), (head, response)
        return head, response


def _path(key: str, cas: int | None) -> str:
    return f"/v1/kv/{key}" + ("" if cas is None else f"?cas={cas}")


def _index(head: bytes) -> int:
    rows = head.lower().split(b"\r\n")
    (found,) = (row for row in rows if row.startswith(b"x-consul-index:"))
    return int(found.split(b":")[1])


def _seen(head: bytes, body: bytes) -> Seen:
    return Seen(tuple(map(_key, json.loads(body) if body else [])), _index(head))


def _key(shown: dict[str, Any]) -> tuple[str, bytes, int]:
    value = base64.b64decode(shown["Value"] or "")
    return shown["Key"], value, shown["ModifyIndex"]


def _ran(shown: dict[str, Any]) -> Ran:
    failed = tuple(error["OpIndex"] for error in shown["Errors"] or ())
    return Ran(tuple(_key(one["KV"]) for one in shown["Results"] or ()), failed)
