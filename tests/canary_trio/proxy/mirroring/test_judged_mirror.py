"""Copies that a judge compares: whose, how many, and that originals do not notice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio

from canary_trio.config.document import build
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.rollout.fleet.compared import ComparedTally, Comparison, Dropped
from http_trio.testing.peers import (
    FakeUpstream,
    ReceivedRequest,
    connected,
    fake_upstream,
    serving,
)
from tests.canary_trio.support.mirrored import MirrorSite, mirror_site, plain, silent

STATE = {"phase": "running", "step": 0, "target": 0, "ratio": 0, "begun": 5}
JSON = b"Content-Type: application/json"


class _Proxy(MirrorSite):
    @property
    def tally(self) -> ComparedTally:
        assert self.runtime.live is not None
        assert self.runtime.live.counting is not None
        tally = self.runtime.live.counting.compared
        assert tally is not None
        return tally

    @property
    def dropped(self) -> dict[Dropped, int]:
        return dict(self.tally.dropped)

    @property
    def in_progress(self) -> int:
        return self.runtime.observer.mirror_counters.comparisons.in_progress

    async def until(self, made: int) -> None:
        with trio.fail_after(30):
            while self.tally.made < made or self.in_progress:
                await trio.sleep(0.005)

    def copies(self, up: FakeUpstream) -> list[ReceivedRequest]:
        return [one for one in up.asked if b"X-Canary-Mirror: 1" in one.head]


def document(
    stable: str,
    canary: str,
    mirror: dict[str, Any] | bool,
    state: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    rollout = {
        "id": "v2",
        "steps": [0, 0.1, 1],
        "judge": {"mirror": mirror},
        "state": {**STATE, **(state or {})},
    }
    arms = {"stable": {"servers": [stable]}, "canary": {"servers": [canary]}}
    return {"arms": arms, "rollout": rollout, **more}


@asynccontextmanager
async def _proxy(
    new: Callable[[ReceivedRequest], Any],
    mirror: dict[str, Any] | None = None,
    old: Callable[[ReceivedRequest], Any] = plain,
    **more: Any,
) -> AsyncIterator[_Proxy]:
    mirror = {"rate": 10_000, **(mirror or {})}
    async with mirror_site(
        old, new, lambda one, other: document(one, other, mirror, **more)
    ) as site:
        yield _Proxy(site.client, site.runtime, site.stable, site.canary)


async def test_each_request_is_asked_of_stable_twice_and_of_the_canary() -> None:
    async with _proxy(plain) as proxy:
        fields = b"X-Mine: yes", b"Accept-Encoding: gzip", b'If-None-Match: "a"'
        _, body = await proxy.client.ask(b"/a?b", *fields)
        assert body == b"v1"
        await proxy.until(1)
    original = next(one for one in proxy.stable.asked if b"Mirror" not in one.head)
    assert b"If-None-Match" in original.head
    copies = proxy.copies(proxy.stable) + proxy.copies(proxy.canary)
    assert [one.path for one in copies] == [b"/a?b", b"/a?b", b"/base/a?b"]
    for copy in copies:
        lines = set(copy.head.split(b"\r\n"))
        assert {b"X-Mine: yes", b"Accept-Encoding: identity"} <= lines
        assert b"gzip" not in copy.head
        assert b"If-None-Match" not in copy.head
    assert proxy.tally.made == 1
    assert (proxy.tally.worse, proxy.tally.better) == (0, 0)
    counts = proxy.runtime.observer.mirror_counters.comparisons
    assert counts.outcomes[Comparison.SAME] == 1


def _said(values: list[Any]) -> Callable[[ReceivedRequest], Any]:
    """Answer with one value after the other; the last one from then on."""
    left = iter(values)
    last: list[Any] = []

    async def script(asked: ReceivedRequest) -> None:
        last[:] = [next(left, *last)]
        await asked.response(json.dumps(last[0]).encode(), JSON)

    return script


@pytest.mark.parametrize(
    ("old", "new", "mirror", "worse", "better", "places"),
    [
        ([{"a": 1}], [{"a": 2}], {}, 1, 0, {"body.a"}),
        ([{"a": 1}], [{"a": 2}], {"ignore": ["a"]}, 0, 0, set()),
        ([{"a": 1}], [{"a": 2}], {"body": False}, 0, 0, set()),
        ([{"t": 0}, {"t": 1}, {"t": 2}], [{"t": 3}], {}, 0, 0, set()),
        ([0, {"t": 1}, {"t": 2}], [{"t": 3, "b": 1}], {}, 1, 0, {"body.b"}),
    ],
    ids=["differs", "left out", "no bodies", "restless", "restless, and differs"],
)
async def test_answers_are_compared(
    old: list[Any],
    new: list[Any],
    mirror: dict[str, Any],
    worse: int,
    better: int,
    places: set[str],
) -> None:
    async with _proxy(_said(new), mirror, _said(old)) as proxy:
        await proxy.client.ask()
        await proxy.until(1)
        assert (proxy.tally.worse, proxy.tally.better) == (worse, better)
        assert set(proxy.tally.places) == places
        told = [one.fields for one in proxy.runtime.observer.events.after(0)]
        assert {one["place"] for one in told if "place" in one} == places


async def _broken(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(b"garbage\r\n\r\n")


async def _closed(asked: ReceivedRequest) -> None:
    await asked.stream.aclose()


async def _failing(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("script", [_broken, _closed, _failing, silent])
async def test_a_canary_that_does_not_answer_is_worse_and_no_user_sees_it(
    script: Callable[[ReceivedRequest], Any],
) -> None:
    # stable has to answer within it, on a machine that is busy too
    limit = {"timeout": 1.0} if script is silent else {"timeout": 60}
    async with _proxy(script, limit) as proxy:
        for over in range(1, 4):
            head, body = await proxy.client.ask()
            assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"v1")
            await proxy.until(over)
        assert proxy.tally.worse == 3
        assert set(proxy.tally.places) == {"status"}
        assert proxy.runtime.live is not None
        for arm in proxy.runtime.live.arms.values():
            assert all(server.healthy for server in arm.servers)


async def _long(asked: ReceivedRequest) -> None:
    await asked.response(b"x" * 200)


async def test_what_is_not_compared_is_counted_and_originals_go_on() -> None:
    async with _proxy(silent, {"concurrency": 2, "timeout": 60}) as proxy:
        while proxy.in_progress < 2:
            assert (await proxy.client.ask())[1] == b"v1"
        for _ in range(3):
            assert (await proxy.client.ask())[1] == b"v1"
        assert proxy.in_progress == 2
        assert proxy.dropped[Dropped.BUSY] == 3
    assert proxy.in_progress == 0

    async with _proxy(plain, {"rate": 0.01}) as proxy:
        for _ in range(5):
            await proxy.client.ask()
        await proxy.until(1)
        assert proxy.dropped == {Dropped.RATE: 4}

    async with _proxy(plain, {"size": 100}, _long) as proxy:
        await proxy.client.ask()
        with trio.fail_after(30):
            while not proxy.dropped:
                await trio.sleep(0.005)
        assert proxy.dropped == {Dropped.SIZE: 1}
        assert proxy.tally.made == 0

    async with _proxy(plain) as proxy:
        assert proxy.runtime.live is not None
        server = proxy.runtime.live.arms["stable"].servers[0]
        server.upstream.addresses = ((trio.socket.AF_INET, ("127.0.0.1", 1)),)
        await proxy.client.ask()
        assert proxy.dropped == {Dropped.NO_ORIGINAL: 1}


async def test_only_harmless_methods_are_compared_unless_asked() -> None:
    async with _proxy(plain) as proxy:
        await proxy.client.ask(method=b"POST", body=b"x")
        await proxy.client.ask(method=b"HEAD")
        await proxy.until(1)
        assert [one.head[:4] for one in proxy.canary.asked] == [b"HEAD"]

    async with _proxy(plain, {"methods": ["POST"], "size": 5}) as proxy:
        await proxy.client.ask(method=b"POST", body=b"hello")
        await proxy.client.ask()
        await proxy.until(1)
        await proxy.client.ask(method=b"POST", body=b"hello!")
        assert [one.body for one in proxy.canary.asked] == [b"hello"]
        assert proxy.dropped == {Dropped.SIZE: 1}


@pytest.mark.parametrize(
    "state",
    [
        {"step": 1, "target": 0.1, "ratio": 0.1},
        {"phase": "paused"},
        {"phase": "aborted"},
        {"phase": "waiting", "to_begin": True},
    ],
    ids=["a later step", "paused", "aborted", "not begun"],
)
async def test_nothing_is_copied_but_in_the_step_that_exposes_nobody(
    state: dict[str, Any],
) -> None:
    async with _proxy(plain, state=state) as proxy:
        for _ in range(3):
            await proxy.client.ask()
        assert proxy.runtime.live is not None
        labels = proxy.runtime.live.labels
        assert labels._mirrors == ()
        assert not proxy.copies(proxy.stable)


async def test_the_mirror_of_the_document_goes_on_beside() -> None:
    told = {"arm": "canary"}
    async with fake_upstream(plain) as stable, fake_upstream(plain) as canary:
        urls = [f"http://127.0.0.1:{one.port}" for one in (stable, canary)]
        config = build({**document(urls[0], urls[1], mirror=True), "mirror": told})
        runtime = Runtime("web")
        runtime.install(await runtime.build(config, 57, b"secret"))
        async with (
            serving(ProxyHandler(runtime)) as server,
            connected(server) as client,
        ):
            await client.ask()
            with trio.fail_after(30):
                while len(canary.asked) < 2 or len(stable.asked) < 3:
                    await trio.sleep(0.005)


class Unforeseen(Exception):
    """What no code expects."""


def _fail(*_: object, **__: object) -> NoReturn:
    raise Unforeseen("nobody")


@pytest.mark.parametrize(
    "where",
    [
        "canary_trio.proxy.mirroring.judged_mirror.Copy",
        "canary_trio.proxy.mirroring.judged_mirror.fetch",
        "canary_trio.proxy.mirroring.judged_mirror.values_of",
        "canary_trio.proxy.mirroring.answers.differing",
        "canary_trio.rollout.fleet.compared.ComparedTally.add",
    ],
    ids=lambda where: where.rpartition(".")[2],
)
async def test_what_nobody_foresaw_is_counted_and_holds_no_place(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _proxy(_said([1]), {"concurrency": 2}, _said([{}])) as proxy:
        with monkeypatch.context() as failing:
            failing.setattr(where, _fail)
            for count in range(1, 5):  # more than there are places
                assert (await proxy.client.ask())[1] == b"{}"
                with trio.fail_after(30):
                    while proxy.tally.dropped[Dropped.FAILED] < count:
                        await trio.sleep(0.005)
        await proxy.client.ask()
        await proxy.until(1)
    assert proxy.runtime.observer.tasks.failures == {"mirror": 4}
