"""Whatever raises while a response is handled, the client is told, and nothing is left."""

from __future__ import annotations

import logging
from typing import ClassVar

import pytest
import trio

from http_trio import (
    Failure,
    ForwardedRequest,
    ForwardHooks,
    Response,
    Retry,
    Upstream,
)
from http_trio.http1.response_head import ResponseHead
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream, proxying

UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
paths = pytest.mark.parametrize("fields", [(), UPGRADE], ids=["fast", "slow"])


class Raising(ForwardHooks):
    """Hooks of which one raises."""

    __slots__ = ("at", "ends")

    reads_responses: ClassVar[bool] = True

    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at
        self.ends = 0

    def on_failure(self, request: ForwardedRequest, failure: Failure) -> None:
        self._reach("on_failure")

    def on_response(
        self, request: ForwardedRequest, head: ResponseHead
    ) -> Upstream | Retry | None:
        self._reach("on_response")
        return Retry(request, 0.001) if self.at == "a bad retry" else None  # type: ignore[arg-type]

    def error_response(self, request: ForwardedRequest, failure: Failure) -> Response:
        self._reach("error_response")
        return super().error_response(request, failure)

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        self.ends += 1
        self._reach("on_end")

    def _reach(self, point: str) -> None:
        if point == self.at:
            raise RuntimeError("a bug")


async def ok(asked: ReceivedRequest) -> None:
    await asked.response(b"ok")


async def closing(asked: ReceivedRequest) -> None:
    await asked.stream.aclose()


class Answering:
    """An upstream whose response has this status line."""

    def __init__(self, status: bytes) -> None:
        self.status = status

    async def __call__(self, asked: ReceivedRequest) -> None:
        await asked.stream.send_all(
            b"HTTP/1.1 %b Odd\r\nContent-Length: 2\r\n\r\nok" % self.status
        )


@paths
@pytest.mark.parametrize(
    ("at", "is_ok", "status"),
    [
        ("on_response", True, b"502"),
        ("a bad retry", True, b"502"),
        ("on_end", True, b"200"),
        ("on_end", False, b"502"),
        ("on_failure", False, b"502"),
        ("error_response", False, b"502"),
    ],
)
async def test_hooks_that_raise_leave_no_client_waiting(
    at: str,
    is_ok: bool,
    status: bytes,
    fields: tuple[bytes, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks = Raising(at)
    async with fake_upstream(ok if is_ok else closing) as fake:
        async with proxying(fake.upstream, hooks) as proxy, connected(proxy) as client:
            with trio.fail_after(30):
                start, _ = await client.ask(b"/", *fields)
            assert start.split()[1] == status
            with trio.fail_after(30):
                while fake.upstream.open != len(fake.upstream.idle):
                    await trio.sleep(0.005)
    assert hooks.ends == 1
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1


@paths
@pytest.mark.parametrize(
    "status", [b"000", b"099", b"600", b"601", b"700", b"999", b"1000", b"20", b"-20"]
)
async def test_a_status_that_is_none_is_a_bad_response(
    status: bytes, fields: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_upstream(Answering(status)) as fake:
        async with proxying(fake.upstream) as proxy, connected(proxy) as client:
            with trio.fail_after(30):
                start, _ = await client.ask(b"/", *fields)
            assert start.split()[1] == b"502"
            assert not fake.upstream.open
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@paths
@pytest.mark.parametrize("status", [b"200", b"299", b"451", b"599"])
async def test_an_odd_status_within_the_range_goes_on(
    status: bytes, fields: tuple[bytes, ...]
) -> None:
    async with fake_upstream(Answering(status)) as fake:
        async with proxying(fake.upstream) as proxy, connected(proxy) as client:
            with trio.fail_after(30):
                start, body = await client.ask(b"/", *fields)
    assert start.split()[1] == status
    assert body == b"ok"
