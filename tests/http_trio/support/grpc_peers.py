"""Both ends of gRPC, by `grpcio`: messages are bytes, so that nothing is generated."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import attrs
import grpc

_METHODS = {
    "unary": (False, False),
    "client_stream": (True, False),
    "server_stream": (False, True),
    "two_way": (True, True),
    "fail": (False, False),
    "fail_late": (False, True),
    "slow": (False, False),
    "metadata_of": (False, False),
}


@attrs.define(eq=False)
class GrpcServer:
    """A server with a method of each kind, in threads."""

    port: int = 0
    calls: list[str] = attrs.field(factory=list)
    cancelled: threading.Event = attrs.field(factory=threading.Event)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    left_s: list[float] = attrs.field(factory=list)

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if name not in _METHODS:
            return None
        takes_many, gives_many = _METHODS[name]
        made = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[takes_many, gives_many]
        return made(getattr(self, name))

    def unary(self, message: bytes, context: Any) -> bytes:
        self.calls.append("unary")
        context.set_trailing_metadata((("x-end", "1"), ("x-data-bin", b"\0\xff")))
        return message[::-1]

    def client_stream(self, messages: Iterator[bytes], context: Any) -> bytes:
        return b"".join(messages)

    def server_stream(self, message: bytes, context: Any) -> Iterator[bytes]:
        for at in range(int(message)):
            yield b"%d" % at

    def two_way(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.add_callback(self.cancelled.set)
        for message in messages:
            yield message.upper()

    def fail(self, message: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode(_code(int(message))), "näh: 100%")
        raise AssertionError

    def fail_late(self, message: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        context.abort(grpc.StatusCode.INTERNAL, "late")

    def slow(self, message: bytes, context: Any) -> bytes:
        self.left_s.append(context.time_remaining())
        context.add_callback(self.cancelled.set)
        while context.is_active():
            time.sleep(0.01)
        return b""

    def metadata_of(self, message: bytes, context: Any) -> bytes:
        self.metadata = dict(context.invocation_metadata())
        return b""


def _code(number: int) -> Any:
    return next(one.value for one in grpc.StatusCode if one.value[0] == number)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, server: GrpcServer) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        return self._server.service(details)


_LARGE = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
]


@contextmanager
def grpc_server(
    *handlers: Any, credentials: Any = None, options: Any = ()
) -> Iterator[GrpcServer]:
    """Run a server on a free port; without credentials it speaks without TLS."""
    made = GrpcServer()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16), options=[*_LARGE, *options]
    )
    server.add_generic_rpc_handlers((_Handler(made), *handlers))
    if credentials is None:
        made.port = server.add_insecure_port("127.0.0.1:0")
    else:
        made.port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield made
    finally:
        server.stop(0).wait()


class GrpcClient:
    """A client of such a server; its calls block, so they are made in a thread."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def call(self, name: str) -> Any:
        takes_many, gives_many = _METHODS.get(name, (False, False))
        made = {
            (False, False): self.channel.unary_unary,
            (True, False): self.channel.stream_unary,
            (False, True): self.channel.unary_stream,
            (True, True): self.channel.stream_stream,
        }[takes_many, gives_many]
        return made(f"/test.Service/{name}")


@contextmanager
def grpc_client(port: int, ca: bytes | None = None) -> Iterator[GrpcClient]:
    """Connect to a port, over TLS where an authority is given."""
    target = f"localhost:{port}" if ca else f"127.0.0.1:{port}"
    if ca:
        credentials = grpc.ssl_channel_credentials(ca)
        channel = grpc.secure_channel(target, credentials, options=_LARGE)
    else:
        channel = grpc.insecure_channel(target, options=_LARGE)
    with channel:
        yield GrpcClient(channel)
