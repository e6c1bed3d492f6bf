"""Etcds that are not there: what they are asked, and what they send, without a network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import attrs
import httpx
import trio

from kv_trio import EtcdClient
from kv_trio.client.transport import Token, Transport

HEADER = {"cluster_id": "1", "member_id": "2", "revision": "3", "raft_term": "2"}

Reply = tuple[int, bytes] | Iterable[bytes] | Exception
"""A status and a body, the parts of a stream that then is silent, or what is raised."""


class Silent(httpx.AsyncByteStream):
    """Some parts, and then nothing for ever."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        await trio.sleep_forever()


@attrs.define(eq=False)
class FakeMember(httpx.AsyncBaseTransport):
    """A member of an etcd.

    Attributes:
        say: gives the reply to a message that is sent to a path.
        asked: the paths, in order.
    """

    say: Callable[[str, dict[str, Any]], Reply]
    asked: list[str] = attrs.field(factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Reply."""
        await trio.lowlevel.checkpoint()
        path = request.url.path
        self.asked.append(path)
        reply = self.say(path, json.loads(request.content))
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, tuple):
            status, body = reply
            return httpx.Response(status, content=body)
        return httpx.Response(200, stream=Silent(reply))


def client_of(*members: FakeMember, token: Token = None) -> EtcdClient:
    """Give a client of these members."""
    hosts = ",".join(f"m{number}" for number in range(len(members)))
    client = EtcdClient(f"etcd://{hosts}", token=token)
    client._endpoints._members = [
        Transport(f"http://m{number}:2379", None, None, member)
        for number, member in enumerate(members)
    ]
    return client


def well(path: str, message: dict[str, Any]) -> Reply:
    """Reply as an empty etcd does whose watches are silent."""
    if path == "/v3/watch":
        return [line(created=True)]
    return 200, json.dumps({"header": HEADER, **_more(path, message)}).encode()


def line(**more: Any) -> bytes:
    """Give a line of a watch."""
    return json.dumps({"result": {"header": HEADER, **more}}).encode() + b"\n"


def _more(path: str, message: dict[str, Any]) -> dict[str, Any]:
    if path == "/v3/kv/txn":
        return {"succeeded": True, "responses": []}
    if path == "/v3/auth/authenticate":
        return {"token": f"of.{message['name']}"}
    if path.startswith("/v3/lease/"):
        return {"ID": "7", "TTL": "10"}
    return {}
