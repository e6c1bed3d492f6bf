"""gRPC through the proxy, with `grpcio` at both ends."""

from __future__ import annotations

import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import grpc
import pytest
import trio

from http_trio import (
    Address,
    ForwardedRequest,
    ForwardHooks,
    Http2Upstream,
    Limits,
    Tls,
    client_context,
    forward,
    serve,
)
from http_trio.testing.ports import free_port
from tests.http_trio.support.certificates import Authority
from tests.http_trio.support.grpc_peers import (
    GrpcClient,
    GrpcServer,
    grpc_client,
    grpc_server,
)

_T = TypeVar("_T")
WAIT_S = 20.0


class Noting(ForwardHooks):
    """Hooks that note what each call came to."""

    __slots__ = ("statuses",)

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int | None] = []

    def on_end(self, request: ForwardedRequest, *_: Any) -> None:
        self.statuses.append(request.grpc_status)


@attrs.frozen
class Peers:
    client: GrpcClient
    server: GrpcServer
    upstream: Http2Upstream
    hooks: Noting

    async def ask(self, work: Callable[[GrpcClient], _T]) -> _T:
        """Do it in a thread."""
        with trio.fail_after(WAIT_S):
            return await trio.to_thread.run_sync(partial(work, self.client))


def upstream_at(port: int, tls: Any = None) -> Http2Upstream:
    address: Address = (trio.socket.AF_INET, ("127.0.0.1", port))
    return Http2Upstream("grpc", [address], b"localhost", tls=tls)


@asynccontextmanager
async def calling(
    directory: Path, limits: Limits | None = None, *, secure: bool = False
) -> AsyncIterator[Peers]:
    """Put the proxy, with TLS, between a client and a server."""
    authority = Authority(directory)
    cert, key = authority.issue()
    credentials = tls = None
    if secure:
        pair = key.read_bytes(), cert.read_bytes()
        credentials = grpc.ssl_server_credentials([pair])
        tls = client_context(ca=authority.ca_file, http2=True)
    with grpc_server(credentials=credentials) as server:
        upstream, hooks = upstream_at(server.port, tls), Noting()
        async with trio.open_nursery() as nursery:
            proxy = await nursery.start(
                partial(
                    serve,
                    lambda ex: forward(ex, upstream, hooks),
                    ["127.0.0.1:0"],
                    tls=Tls(cert, key),
                    limits=limits,
                )
            )
            port = int(proxy.addresses[0].rpartition(":")[2])
            with grpc_client(port, authority.ca_file.read_bytes()) as client:
                yield Peers(client, server, upstream, hooks)
            nursery.cancel_scope.cancel()


def failing(call: Callable[[], object]) -> tuple[int, str]:
    """Give the code and the words that a call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code().value[0], caught.value.details()


# === the four kinds of calls ===


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
async def test_a_unary_call(tmp_path: Path, secure: bool) -> None:
    def work(client: GrpcClient) -> tuple[bytes, dict[str, Any]]:
        answer, call = client.call("unary").with_call(b"hello", timeout=WAIT_S)
        return answer, dict(call.trailing_metadata())

    async with calling(tmp_path, secure=secure) as peers:
        for _ in range(3):
            answer, trailers = await peers.ask(work)
            assert answer == b"olleh"
            assert trailers["x-end"] == "1"
            assert trailers["x-data-bin"] == b"\0\xff"
        assert peers.hooks.statuses == [0] * 3
        assert peers.upstream.open == 1


async def test_a_stream_of_the_client(tmp_path: Path) -> None:
    def messages() -> Iterator[bytes]:
        for at in range(20):
            yield b"%d," % at
            time.sleep(0.002)

    async with calling(tmp_path) as peers:
        answer = await peers.ask(lambda c: c.call("client_stream")(messages()))
    assert answer == b"".join(b"%d," % at for at in range(20))


async def test_a_stream_of_the_server(tmp_path: Path) -> None:
    async with calling(tmp_path) as peers:
        answers = await peers.ask(lambda c: list(c.call("server_stream")(b"500")))
        assert answers == [b"%d" % at for at in range(500)]
        assert peers.hooks.statuses == [0]


async def test_both_stream_in_turns(tmp_path: Path) -> None:
    """Each message waits for the answer to the one before: nothing may be held back."""

    def work(client: GrpcClient) -> list[bytes]:
        asked: queue.Queue[bytes | None] = queue.Queue()
        answers = client.call("two_way")(iter(asked.get, None), timeout=WAIT_S)
        found = []
        for message in (b"one", b"two", b"three"):
            asked.put(message)
            found.append(next(answers))
        asked.put(None)
        return [*found, *answers]

    async with calling(tmp_path) as peers:
        assert await peers.ask(work) == [b"ONE", b"TWO", b"THREE"]


async def test_a_client_that_thinks_longer_than_a_body_may_take(tmp_path: Path) -> None:
    """A call may rest as a response may; `body_s` is for bodies that are on their way."""

    def work(client: GrpcClient) -> list[bytes]:
        def messages() -> Iterator[bytes]:
            yield b"one"
            time.sleep(0.5)
            yield b"two"

        return list(client.call("two_way")(messages(), timeout=WAIT_S))

    async with calling(tmp_path, Limits(body_s=0.1)) as peers:
        assert await peers.ask(work) == [b"ONE", b"TWO"]


async def test_messages_of_four_mebibytes(tmp_path: Path) -> None:
    message = bytes(range(256)) * (4 * 1024 * 4)

    async with calling(tmp_path) as peers:
        answer = await peers.ask(lambda c: c.call("unary")(message))
        assert answer == message[::-1]
        many = await peers.ask(lambda c: list(c.call("two_way")(iter([message] * 3))))
        assert many == [message.upper()] * 3


async def test_a_hundred_calls_at_once(tmp_path: Path) -> None:
    def work(client: GrpcClient) -> list[bytes]:
        calls = [client.call("unary").future(b"%d" % at) for at in range(100)]
        return [call.result(timeout=WAIT_S) for call in calls]

    async with calling(tmp_path) as peers:
        answers = await peers.ask(work)
        assert answers == [(b"%d" % at)[::-1] for at in range(100)]
        assert peers.upstream.open <= 2


# === how calls end early ===


@pytest.mark.parametrize("code", [3, 5, 14, 16])
async def test_an_error_in_trailers_only(tmp_path: Path, code: int) -> None:
    async with calling(tmp_path) as peers:
        found = await peers.ask(lambda c: failing(lambda: c.call("fail")(b"%d" % code)))
        assert found == (code, "näh: 100%")
        assert peers.hooks.statuses == [code]


async def test_an_error_behind_a_message(tmp_path: Path) -> None:
    async with calling(tmp_path) as peers:
        found = await peers.ask(
            lambda c: failing(lambda: list(c.call("fail_late")(b"")))
        )
        assert found == (13, "late")
        assert peers.hooks.statuses == [13]


async def test_a_method_that_is_not_there(tmp_path: Path) -> None:
    async with calling(tmp_path) as peers:
        code, _ = await peers.ask(lambda c: failing(lambda: c.call("nothing")(b"")))
    assert code == 12


async def test_a_deadline_passes_as_it_is(tmp_path: Path) -> None:
    async with calling(tmp_path) as peers:
        code, _ = await peers.ask(
            lambda c: failing(lambda: c.call("slow")(b"", timeout=0.5))
        )
        assert code == 4
        assert 0 < peers.server.left_s[0] <= 0.5
        assert await trio.to_thread.run_sync(peers.server.cancelled.wait, WAIT_S)


async def test_a_cancelled_call_is_cancelled_at_the_server(tmp_path: Path) -> None:
    def work(client: GrpcClient) -> None:
        def messages() -> Iterator[bytes]:
            yield b"one"
            while not over:
                time.sleep(0.01)

        over: list[bool] = []
        answers = client.call("two_way")(messages(), timeout=WAIT_S)
        assert next(answers) == b"ONE"
        assert not peers.server.cancelled.is_set()
        answers.cancel()
        assert peers.server.cancelled.wait(WAIT_S)
        over.append(True)

    async with calling(tmp_path) as peers:
        await peers.ask(work)
        assert peers.hooks.statuses == [None]


async def test_what_fails_here_is_said_as_grpc_does(tmp_path: Path) -> None:
    async with calling(tmp_path) as peers:
        peers.upstream.move_to(upstream_at(free_port()).addresses)
        code, words = await peers.ask(
            lambda c: failing(lambda: c.call("unary")(b"hello"))
        )
    assert code == 14
    assert "unreachable" in words


async def test_metadata_passes(tmp_path: Path) -> None:
    sent = (("x-user", "me"), ("x-raw-bin", b"\0\1\xff"))
    async with calling(tmp_path) as peers:
        await peers.ask(lambda c: c.call("metadata_of")(b"", metadata=sent))
    assert peers.server.metadata["x-user"] == "me"
    assert peers.server.metadata["x-raw-bin"] == b"\0\1\xff"
