"""The watch loop and its pauses: against a script of responses, and against servers."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from http_trio import Exchange, Response, error_response
from http_trio.testing import peers
from kv_trio import Backoff, Client, Contact, KvServer, StoreUnreachable, serve
from kv_trio.client.poll_budget import NEWS_PER_S, POLL_BURST, POLLS_PER_S
from kv_trio.client.watch import BACKOFF_S, OwnLoad, Watch
from kv_trio.errors import KvError
from kv_trio.testing import in_memory_store

# === pauses ===


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=12))
def test_a_pause_is_drawn_below_a_bound_that_doubles(draws: list[float]) -> None:
    pending = iter(draws)
    backoff = Backoff(0.05, 2.0, draw=lambda: next(pending))

    pauses = [backoff.next_s() for _ in draws]

    bounds = [min(2.0, 0.05 * 2**n) for n in range(len(draws))]
    assert pauses == pytest.approx(
        [draw * bound for draw, bound in zip(draws, bounds, strict=True)]
    )


def test_a_good_try_makes_the_next_pause_short_again() -> None:
    backoff = Backoff(1.0, 8.0, draw=lambda: 1.0)
    pauses = [backoff.next_s() for _ in range(5)]
    backoff.reset()

    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert backoff.next_s() == 1.0


async def test_a_pause_takes_its_time(autojump_clock: object) -> None:
    backoff = Backoff(1.0, 8.0, draw=lambda: 0.5)
    began = trio.current_time()
    for _ in range(3):
        await backoff.pause()
    assert trio.current_time() - began == pytest.approx(0.5 + 1.0 + 2.0)


# === the loop, against a script ===


@attrs.frozen
class Shown:
    """A state of what is watched."""

    content: str
    index: int


class Script:
    """Responds to requests one after the other; then it waits for ever."""

    def __init__(
        self, responses: Iterable[Shown | KvError], takes_s: float = 1.0
    ) -> None:
        self.takes_s = takes_s
        self.requests: list[tuple[int, float]] = []
        self.times: list[float] = []
        self._responses = list(responses)

    async def __call__(self, *, index: int, wait_s: float) -> Shown:
        self.requests.append((index, wait_s))
        self.times.append(trio.current_time())
        if not self._responses:
            await trio.sleep_forever()
        await trio.sleep(self.takes_s)
        response = self._responses.pop(0)
        if isinstance(response, KvError):
            raise response
        return response


def watching(script: Script) -> Watch[Shown]:
    watch = Watch(script, "k", 30.0, Contact())
    watch._backoff = Backoff(draw=lambda: 1.0)
    return watch


async def follow(watch: Watch[Shown]) -> list[str]:
    """Give what a watch gives until nothing more comes."""
    found: list[str] = []
    with trio.move_on_after(1000):
        async for state in watch:
            found.append(state.content)  # noqa: PERF401  # kept when it is cancelled
    return found


GONE = StoreUnreachable("gone")


@pytest.mark.parametrize(
    ("responses", "given", "indexes"),
    [
        ([], [], [0]),
        ([Shown("a", 7)], ["a"], [0, 7]),
        ([Shown("a", 7), Shown("b", 9)], ["a", "b"], [0, 7, 9]),
        ([Shown("a", 7), Shown("a", 9)], ["a"], [0, 7, 9]),
        ([Shown("a", 7), Shown("a", 7)], ["a"], [0, 7, 7]),
        ([Shown("absent", 0)], ["absent"], [0, 1]),
        ([Shown("a", 7), GONE, Shown("b", 8)], ["a", "b"], [0, 7, 0, 8]),
        ([Shown("a", 7), GONE, Shown("a", 7)], ["a"], [0, 7, 0, 7]),
        ([Shown("a", 7), GONE, Shown("b", 3)], ["a", "b"], [0, 7, 0, 3]),
        ([Shown("a", 7), Shown("x", 3), Shown("b", 3)], ["a", "b"], [0, 7, 0, 3]),
        ([Shown("a", 7), Shown("x", 3), Shown("a", 3)], ["a"], [0, 7, 0, 3]),
    ],
    ids=[
        "the first request does not wait",
        "the next ones do",
        "a change",
        "a change of something else",
        "a wait that ended without a change",
        "an index of 0 would not wait",
        "an error",
        "an error and no change",
        "an error of a store that begins anew",
        "a store that was reset",
        "a store that was restored",
    ],
)
async def test_what_is_requested_and_what_is_given(
    autojump_clock: object,
    responses: list[Shown | KvError],
    given: list[str],
    indexes: list[int],
) -> None:
    script = Script(responses)
    assert await follow(watching(script)) == given
    assert script.requests == [(index, 30.0) for index in indexes]


RESPONSES = st.lists(
    st.builds(Shown, st.sampled_from("abc"), st.integers(0, 4)) | st.just(GONE),
    max_size=12,
)


@given(RESPONSES, st.builds(Shown, st.sampled_from("abc"), st.just(9)))
def test_the_last_state_is_given_and_none_twice(
    responses: list[Shown | KvError], last: Shown
) -> None:
    """Whatever comes before: an index that no earlier response had cannot be too low."""
    script = Script([*responses, last])
    clock = trio.testing.MockClock(autojump_threshold=0)
    given = trio.run(follow, watching(script), clock=clock)

    assert given[-1] == last.content
    assert all(one != other for one, other in pairwise(given))


@pytest.mark.parametrize(
    ("contents", "rate"), [("a", POLLS_PER_S), ("ab", NEWS_PER_S)], ids=["old", "new"]
)
@given(data=st.data())
def test_a_store_that_never_waits_is_asked_at_a_rate(
    data: st.DataObject, contents: str, rate: float
) -> None:
    """Whatever it says: an index that moves, that falls, and errors (fabio #627)."""
    said = st.builds(Shown, st.sampled_from(contents), st.integers(0, 9))
    responses = data.draw(st.lists(said | st.just(GONE), min_size=30, max_size=60))
    script = Script(responses, takes_s=0.0)
    trio.run(
        follow, watching(script), clock=trio.testing.MockClock(autojump_threshold=0)
    )
    times = script.times[:-1]  # the last one found nothing more, and waited
    for first, began in enumerate(times):
        for last, ended in enumerate(times[first:]):
            # The first state of all is news, whatever it is, and so costs less.
            burst = POLL_BURST * rate / POLLS_PER_S + 1
            assert last + 1 <= burst + rate * (ended - began) + 1e-6


@pytest.mark.parametrize(("is_busy", "at_most"), [(False, 2000), (True, 1250)])
async def test_two_hundred_changes_a_second_are_given_as_they_come(
    autojump_clock: object,
    monkeypatch: pytest.MonkeyPatch,
    at_most: int,
    *,
    is_busy: bool,
) -> None:
    """Unless there is no processor time for it; then of many the newest is given."""
    monkeypatch.setattr(OwnLoad, "is_busy", lambda _: is_busy)
    script = Script([Shown("ab"[n % 2], n) for n in range(2000)], takes_s=1 / 200)
    watch = watching(script)
    given = 0
    with trio.move_on_after(10):
        while given < 2000:
            await anext(watch)
            given += 1
    assert at_most * 0.7 < given <= at_most


async def test_changes_that_come_seldom_are_given_at_once(
    autojump_clock: object,
) -> None:
    script = Script([Shown("ab"[n % 2], n) for n in range(5)], takes_s=0.0)
    watch = watching(script)
    began = trio.current_time()
    for _ in range(5):
        await anext(watch)
    assert trio.current_time() == began


async def test_errors_are_paused_after_and_shown(autojump_clock: object) -> None:
    watch = watching(Script([GONE, GONE, Shown("a", 7), GONE, Shown("b", 8)]))
    began = trio.current_time()
    errors: list[str] = []

    async def look() -> None:
        await trio.sleep(1.01)
        errors.append(watch.contact.error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await anext(watch)
    assert errors == ["gone"]
    assert watch.contact == Contact(trio.current_time(), "", 2)
    first, second = BACKOFF_S[0], 2 * BACKOFF_S[0]
    assert trio.current_time() - began == pytest.approx(3 + first + second)

    began = trio.current_time()
    await anext(watch)
    assert trio.current_time() - began == pytest.approx(2 + first)


async def test_a_watch_that_was_cancelled_goes_on_where_it_was(
    autojump_clock: object,
) -> None:
    script = Script([Shown("a", 7), GONE, Shown("b", 8)])
    watch = watching(script)
    await anext(watch)
    with trio.move_on_after(1.01):  # in the pause after the error
        await anext(watch)
    with trio.move_on_after(0.5):  # while it waits for the response
        await anext(watch)

    assert (await anext(watch)).content == "b"
    assert [index for index, _ in script.requests] == [0, 7, 0, 0]


async def test_the_next_request_waits_as_long_as_is_set(
    autojump_clock: object,
) -> None:
    script = Script([Shown("a", 7), Shown("b", 8)])
    watch = watching(script)
    await anext(watch)
    watch.wait_s = 5.0
    await anext(watch)
    assert script.requests == [(0, 30.0), (7, 5.0)]


# === against servers ===


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with in_memory_store() as made:
        yield made


@pytest.fixture
async def server() -> AsyncIterator[KvServer]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, ["127.0.0.1:0"]))
        nursery.cancel_scope.cancel()


async def serving(nursery: trio.Nursery, data: Path, bind: str = "127.0.0.1:0") -> str:
    server = await nursery.start(partial(serve, [bind], data=data))
    url: str = server.url
    return url


class NotedContact(Contact):
    """A contact that keeps the errors that it was told, however short they stood."""

    errors: list[str]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "error" and value:
            self.errors.append(str(value))


async def test_a_watch_notices_a_server_that_is_silent(
    server: KvServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first connection goes to one who accepts, takes the request, and dies."""
    caplog.set_level(logging.WARNING)
    contact = NotedContact()
    errors: list[str] = []
    contact.errors = errors
    async with Client(server.url) as writer, trio.open_nursery() as nursery:
        await writer.put("k", b"1")
        monkeypatch.setattr("kv_trio.client.transport.TIMEOUT_S", 1.0)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        first = [True]

        async def relay(stream: trio.SocketStream) -> None:
            if first.pop() if first else False:
                await trio.sleep_forever()
            host, _, port = server.addresses[0].rpartition(":")
            onward = await trio.open_tcp_stream(host, int(port))

            async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                async for data in source:
                    await sink.send_all(data)
                await sink.aclose()

            async with trio.open_nursery() as pumps:
                pumps.start_soon(pump, stream, onward)
                pumps.start_soon(pump, onward, stream)

        nursery.start_soon(trio.serve_listeners, relay, listeners)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"

        async with Client(url) as client, client.watch("k", contact=contact) as states:
            with trio.fail_after(30):
                state = await anext(states)
        nursery.cancel_scope.cancel()
    assert state.entry is not None
    assert state.entry.value == b"1"
    assert "no response in 1 s" in errors[0]
    assert contact.error == ""


async def test_a_watch_gives_the_last_state_and_none_twice(client: Client) -> None:
    seen: list[bytes] = []
    async with client.watch("k") as states:
        assert (await anext(states)).entry is None

        async def follow() -> None:
            async for state in states:
                assert state.entry is not None
                seen.append(state.entry.value)
                if state.entry.value == b"49":
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for n in range(50):
                await client.put("k", b"%d" % n)
    numbers = [int(value) for value in seen]
    assert numbers == sorted(set(numbers))


async def test_a_watch_survives_a_restart_and_a_reset(tmp_path: Path) -> None:
    contact = Contact()
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, tmp_path / "one")
            async with Client(url) as client:
                await client.put("x", b"")
                await client.put("k", b"before")
            nursery.cancel_scope.cancel()
        bind = url.removeprefix("http://")
        async with Client(url) as client, client.watch("k", contact=contact) as states:
            async with trio.open_nursery() as nursery:
                await serving(nursery, tmp_path / "one", bind)
                first = await anext(states)
                assert first.entry is not None
                assert first.entry.value == b"before"
                nursery.cancel_scope.cancel()
            async with trio.open_nursery() as nursery:
                await serving(nursery, tmp_path / "two", bind)
                async with Client(url) as writer:
                    await writer.put("k", b"after")
                with trio.fail_after(30):
                    second = await anext(states)
                assert second.entry is not None
                assert second.entry.value == b"after"
                nursery.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    assert contact.last_s is not None


# === a server that does not know yet what it knew ===


async def test_what_does_not_wait_is_read_from_who_has_all_of_its_log() -> None:
    """A Consul that has just started responds by an old state to who does not insist."""
    newest, old = 308, 274
    asked: list[tuple[bool, bool]] = []  # whether it waits, whether it insists
    fails = False

    def replaying(exchange: Exchange) -> None:
        query = exchange.head.target.partition(b"?")[2].split(b"&")
        waits = any(part.startswith(b"index=") for part in query)
        insists = any(part.partition(b"=")[0] == b"consistent" for part in query)
        asked.append((waits, insists))
        if waits and fails:
            exchange.respond(error_response(500, "No cluster leader"))
            return
        at = newest if waits or insists else old
        value = base64.b64encode(b"%d" % at).decode()
        entry = {"Key": "a", "Value": value, "Flags": 0, "LockIndex": 0}
        entry |= {"CreateIndex": 1, "ModifyIndex": at}
        response = Response(
            200,
            json.dumps([entry]).encode(),
            headers=((b"X-Consul-Index", b"%d" % at),),
        )
        exchange.park(0.05 if waits else 0.0, lambda one: one.respond(response))

    async with peers.serving(replaying) as server:
        async with Client(f"http://{server.addresses[0]}") as client:
            async with client.watch("a") as states, client.watch_prefix("") as all_:
                assert (await anext(states)).index == newest
                assert (await anext(all_)).index == newest
                fails = True

                async def go_on() -> None:
                    await anext(states)
                    raise AssertionError("it gave another state")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(go_on)
                    with trio.fail_after(30):  # the last but one has been taken in then
                        while sum(not waits for waits, _ in asked) < 4:
                            await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()

    assert {insists for waits, insists in asked if not waits} == {True}
    assert {insists for waits, insists in asked if waits} == {False}
    assert sum(not waits for waits, _ in asked) > 2
