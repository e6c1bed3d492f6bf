"""Copies of requests: whose, how many, and that originals do not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.telemetry.mirror_counters import (
    ArmMirrorCounters,
    MirrorCounters,
    MirrorOutcome,
    Skip,
)
from http_trio.testing.peers import (
    ReceivedRequest,
    Script,
)
from tests.canary_trio.support.mirrored import MirrorSite, mirror_site, plain, silent


class _Proxy(MirrorSite):
    @property
    def learnt(self) -> ArmMirrorCounters:
        return self.runtime.observer.mirror_counters.of_arm("canary")

    @property
    def outcomes(self) -> dict[str, int]:
        return {name: n for name, n in self.learnt.outcomes.items() if n}

    @property
    def skips(self) -> dict[str, int]:
        return {name: n for name, n in self.learnt.skips.items() if n}

    async def until(self, over: int) -> None:
        """Wait until so many copies are over."""
        while sum(self.learnt.outcomes.values()) < over:
            await trio.sleep(0.005)


@asynccontextmanager
async def _proxy(
    script: Script,
    mirror: dict[str, Any] | None = None,
    request_headers: dict[str, Any] | None = None,
    **document: Any,
) -> AsyncIterator[_Proxy]:
    """Run a proxy whose canary plays a script to copies, and to nothing else."""

    def told(stable: str, canary: str) -> dict[str, Any]:
        headers = request_headers or {}
        arms = {
            "stable": {"servers": [stable]},
            "canary": {"servers": [canary], "request_headers": headers},
        }
        return {"arms": arms, "mirror": {"arm": "canary", **(mirror or {})}, **document}

    async with mirror_site(plain, script, told) as site:
        yield _Proxy(site.client, site.runtime, site.stable, site.canary)


async def test_a_copy_is_the_request_as_its_arm_would_get_it_and_a_mark() -> None:
    async with _proxy(plain, request_headers={"set": {"X-Arm": "canary"}}) as proxy:
        _, body = await proxy.client.ask(b"/a?b", b"X-Mine: yes", b"Cookie: a=b")
        assert body == b"v1"
        await proxy.until(1)
    (original,), (copy,) = proxy.stable.asked, proxy.canary.asked

    assert copy.path == b"/base/a?b"
    fields = set(original.head.split(b"\r\n")[1:])
    assert set(copy.head.split(b"\r\n")[1:]) - fields == {
        *(b"X-Canary-Mirror: 1", b"Connection: close", b"X-Arm: canary")
    }
    assert fields <= set(copy.head.split(b"\r\n"))
    assert proxy.outcomes == {MirrorOutcome.SAME: 1}
    assert proxy.runtime.observer.mirror_counters.in_progress == 0


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (lambda asked: asked.response(b"v22"), MirrorOutcome.OTHER_SIZE),
        (
            lambda asked: asked.stream.send_all(
                b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nv1"
            ),
            MirrorOutcome.OTHER_STATUS,
        ),
        (
            lambda asked: asked.stream.send_all(b"garbage\r\n\r\n"),
            MirrorOutcome.NO_RESPONSE,
        ),
        (lambda asked: asked.stream.aclose(), MirrorOutcome.NO_RESPONSE),
        (silent, MirrorOutcome.LATE),
    ],
    ids=["size", "status", "garbage", "closed", "silent"],
)
async def test_whatever_comes_back_the_original_is_not_touched(
    script: Callable[[ReceivedRequest], Awaitable[None]], outcome: MirrorOutcome
) -> None:
    async with _proxy(script, {"timeout": 0.05}) as proxy:
        for over in range(1, 4):
            head, body = await proxy.client.ask()
            assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"v1")
            await proxy.until(over)

    assert proxy.outcomes == {outcome: 3}
    assert proxy.learnt.size_difference == (
        3 if outcome is MirrorOutcome.OTHER_SIZE else 0
    )


async def test_an_arm_that_is_down_is_no_concern_of_the_original() -> None:
    async with _proxy(plain) as proxy:
        assert proxy.runtime.live is not None
        server = proxy.runtime.live.arms["canary"].servers[0]
        server.upstream.addresses = ((trio.socket.AF_INET, ("127.0.0.1", 1)),)
        for over in range(1, 8):
            assert (await proxy.client.ask())[1] == b"v1"
            await proxy.until(over)

    assert proxy.outcomes == {MirrorOutcome.NO_RESPONSE: 7}
    assert server.healthy
    assert server.requests == 0


async def test_the_share_is_exact() -> None:
    async with _proxy(plain, {"share": 0.25}) as proxy:
        for _ in range(40):
            await proxy.client.ask()
        await proxy.until(10)

    assert len(proxy.canary.asked) == 10


async def test_only_harmless_methods_are_copied_unless_asked() -> None:
    async with _proxy(plain) as proxy:
        await proxy.client.ask(method=b"POST", body=b"x")
        await proxy.client.ask(method=b"HEAD")
        await proxy.until(1)
        assert [asked.head[:4] for asked in proxy.canary.asked] == [b"HEAD"]

    async with _proxy(plain, {"methods": ["POST"], "body": 5}) as proxy:
        await proxy.client.ask()
        await proxy.client.ask(method=b"POST", body=b"hello")
        await proxy.until(1)
        await proxy.client.ask(method=b"POST", body=b"hello!")

    assert [asked.body for asked in proxy.canary.asked] == [b"hello"]
    assert proxy.skips == {Skip.BODY: 1}


async def test_copies_beyond_the_concurrency_are_not_made() -> None:
    async with _proxy(silent, {"concurrency": 2}) as proxy:
        for _ in range(5):
            assert (await proxy.client.ask())[1] == b"v1"
        assert proxy.runtime.observer.mirror_counters.in_progress == 2

    assert proxy.skips == {Skip.BUSY: 3}
    assert proxy.runtime.observer.mirror_counters.in_progress == 0


class Unforeseen(Exception):
    """What no code expects."""


def _fail(*_: object, **__: object) -> NoReturn:
    raise Unforeseen("nobody")


@pytest.mark.parametrize(
    "where",
    [
        "canary_trio.proxy.mirroring.mirror.Copy",
        "canary_trio.proxy.mirroring.copies.render_request",
        "canary_trio.proxy.mirroring.mirror.fetch",
        "canary_trio.proxy.mirroring.copies.http_status_of",
        "canary_trio.telemetry.mirror_counters.ArmMirrorCounters.compare",
        "canary_trio.telemetry.mirror_counters.MirrorCounters.is_next",
    ],
    ids=lambda where: where.rpartition(".")[2],
)
async def test_what_nobody_foresaw_is_counted_told_once_and_holds_no_place(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def called(asked: ReceivedRequest) -> None:
        await asked.response(
            b"v1", b"Content-Type: application/grpc", b"Grpc-Status: 0"
        )

    async with _proxy(called, {"concurrency": 2}) as proxy:
        tasks = proxy.runtime.observer.tasks
        with monkeypatch.context() as failing, trio.fail_after(30):
            failing.setattr(where, _fail)
            for count in range(1, 6):  # more than there are places
                assert (await proxy.client.ask())[1] == b"v1"
                while tasks.failures.get("mirror", 0) < count:
                    await trio.sleep(0.005)
        assert proxy.runtime.observer.mirror_counters.in_progress == 0
        with trio.fail_after(30):
            assert (await proxy.client.ask())[1] == b"v1"
            while not proxy.outcomes.keys() & {MirrorOutcome.SAME}:
                await trio.sleep(0.005)
    assert tasks.failures == {"mirror": 5}
    (told,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert told.getMessage() == "mirror failed, and goes on: Unforeseen: nobody"


async def test_requests_of_the_mirrored_arm_itself_are_not_copied() -> None:
    async with _proxy(plain, ratio=0.5) as proxy:
        for _ in range(10):
            await proxy.client.ask()
        await proxy.until(5)

    marked = [b"X-Canary-Mirror" in asked.head for asked in proxy.canary.asked]
    assert sorted(marked) == [False] * 5 + [True] * 5


@pytest.mark.parametrize(
    "name", [b"X-Canary-Mirror", b"x-canary-mirror", b"x-CANARY-Mirror"]
)
async def test_the_mark_of_a_client_is_dropped(name: bytes) -> None:
    async with _proxy(plain, {"share": 0}) as proxy:
        for _ in range(3):  # parsed twice, then known
            await proxy.client.ask(b"/", b"X-Other: 1", name + b": 1", b"X-Last: 2")

    for asked in proxy.stable.asked:
        assert b"mirror" not in asked.head.lower()
        assert b"X-Other: 1\r\nX-Last: 2" in asked.head


async def test_what_had_no_response_is_not_compared() -> None:
    async with _proxy(plain) as proxy:
        assert proxy.runtime.live is not None
        server = proxy.runtime.live.arms["stable"].servers[0]
        server.upstream.addresses = ((trio.socket.AF_INET, ("127.0.0.1", 1)),)
        head, _ = await proxy.client.ask()

    assert head.startswith(b"HTTP/1.1 502 ")
    assert proxy.skips == {Skip.NO_ORIGINAL: 1}


@given(st.integers(0, 10_000), st.integers(1, 300))
def test_of_any_requests_the_share_is_copied(share: int, count: int) -> None:
    copies = MirrorCounters()
    made = sum(copies.is_next(share) for _ in range(count))

    assert abs(made - share * count / 10_000) <= 1
