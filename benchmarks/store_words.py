"""How the stores that are compared are spoken to: Consul's API, and etcd's gateway."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import ClassVar, Protocol

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


class Dialect(Protocol):
    """How a store is spoken to."""

    streams: ClassVar[bool]
    """Whether a watch goes on by itself; where not, it is asked for anew."""

    def put(self, key: str, value: bytes) -> bytes:
        """Write a key."""

    def put_all(self, keys: Sequence[str], value: bytes) -> bytes:
        """Write at most 64 keys in one transaction."""

    def get(self, key: str) -> bytes:
        """Read a key."""

    def watch(self, key: str, index: int) -> bytes:
        """Wait for a change of a key after an index."""


class ConsulWords:
    """Consul's API, which is also kv-trio's."""

    streams: ClassVar[bool] = False

    def put(self, key: str, value: bytes) -> bytes:
        return _request("PUT", f"/v1/kv/{key}", value)

    def put_all(self, keys: Sequence[str], value: bytes) -> bytes:
        text = b64encode(value).decode()
        steps = [{"KV": {"Verb": "set", "Key": key, "Value": text}} for key in keys]
        return _request("PUT", "/v1/txn", json.dumps(steps).encode())

    def get(self, key: str) -> bytes:
        return _request("GET", f"/v1/kv/{key}")

    def watch(self, key: str, index: int) -> bytes:
        return _request("GET", f"/v1/kv/{key}?index={index}&wait=600s")


class EtcdWords:
    """The JSON gateway of etcd's v3 API."""

    streams: ClassVar[bool] = True

    def put(self, key: str, value: bytes) -> bytes:
        return _post("/v3/kv/put", {"key": _base64(key), "value": _base64(value)})

    def put_all(self, keys: Sequence[str], value: bytes) -> bytes:
        text = _base64(value)
        puts = [{"requestPut": {"key": _base64(key), "value": text}} for key in keys]
        return _post("/v3/kv/txn", {"success": puts})

    def get(self, key: str) -> bytes:
        return _post("/v3/kv/range", {"key": _base64(key)})

    def watch(self, key: str, index: int) -> bytes:
        del index
        return _post("/v3/watch", {"create_request": {"key": _base64(key)}})


def is_whole(data: bytes) -> bool:
    """Tell whether a response has come up to its end."""
    end = data.find(b"\r\n\r\n")
    length = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
    if length is None:
        return data.endswith(b"\r\n0\r\n\r\n")
    return len(data) >= end + 4 + int(length[1])


def is_event(data: bytes) -> bool:
    """Tell whether a line of etcd's stream has come up to its end."""
    return data.endswith(b"}\n\r\n")


def _request(method: str, target: str, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
    return f"{method} {target} HTTP/1.1\r\nHost: kv\r\n{length}\r\n".encode() + body


def _post(target: str, value: object) -> bytes:
    return _request("POST", target, json.dumps(value).encode())


def _base64(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()
