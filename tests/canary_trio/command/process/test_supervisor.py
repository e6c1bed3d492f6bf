"""Workers are started again, at growing pauses; what all share, and what each gets."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

import http_trio
from canary_trio.command.process import supervisor
from canary_trio.command.process.ipc import News, WorkerOptions
from canary_trio.command.process.life_signs import LifeSigns
from canary_trio.command.process.log_options import LogOptions
from canary_trio.command.process.supervisor import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    STEADY_S,
    supervise,
)
from canary_trio.command.process.worker import _adopted
from canary_trio.command.process.worker_process import WorkerProcess
from canary_trio.serving.options import ProxyOptions

OPTIONS = WorkerOptions("web", ProxyOptions(binds=["127.0.0.1:80"]), LogOptions())


@attrs.define(eq=False)
class FakeWorker(WorkerProcess):
    """Lasts for a while each time, without a process."""

    lasts_s: Iterator[float] = attrs.field(factory=lambda: iter(()))
    news: News = attrs.field(factory=lambda: News(listening="127.0.0.1:80"))
    began: list[float] = attrs.field(factory=list)
    told: list[WorkerOptions] = attrs.field(factory=list)
    signals: list[int] = attrs.field(factory=list)

    @property
    def pid(self) -> int | None:
        return 1

    async def run(self, options: WorkerOptions, on_news: Callable[[], None]) -> str:
        self.began.append(trio.current_time())
        self.told.append(options)
        self._hear(self.news)
        on_news()
        await trio.sleep(next(self.lasts_s))
        return "(pid 1) ended with status 1"

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


async def keep(worker: FakeWorker) -> supervisor._Supervisor:
    """Keep one worker until it has no more lives."""
    shared = supervisor._Shared("edge", OPTIONS)
    one = supervisor._Supervisor(shared, [worker])
    with contextlib.suppress(RuntimeError):  # of the iterator's end, in a coroutine
        await one._keep(worker)
    return one


def pauses(worker: FakeWorker, lasted_s: float) -> list[float]:
    """Give the seconds between an end and the next beginning."""
    began = worker.began
    return [
        round(after - before - lasted_s, 6)
        for before, after in itertools.pairwise(began)
    ]


async def test_a_worker_that_does_not_last_is_started_ever_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([0.0] * 10))
    await keep(worker)

    found = pauses(worker, 0.0)
    assert found[0] == FIRST_PAUSE_S
    assert found == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(10)]
    assert worker.restarts == 10


async def test_one_that_lasted_is_started_soon_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    steady_s = STEADY_S + 1
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([steady_s] * 3))
    await keep(worker)

    assert pauses(worker, steady_s) == [FIRST_PAUSE_S] * 3


async def test_what_was_never_up_is_not_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    news = News(failed="cannot open the access log")
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([0.0] * 3), news=news)
    one = await keep(worker)

    assert len(worker.began) == 1
    assert one._failure == "cannot open the access log"
    assert worker.signals, "the others end too"


async def test_without_a_word_of_its_own_its_end_is_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([0.0]), news=News())
    one = await keep(worker)

    assert one._failure == "worker 1 (pid 1) ended with status 1"


async def test_once_all_are_to_end_none_is_started_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([5.0] * 3))
    one = supervisor._Supervisor(supervisor._Shared("edge", OPTIONS), [worker])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one._keep, worker)
        await trio.sleep(1)
        one._end_all()
    assert len(worker.began) == 1


async def test_an_end_is_not_put_off_by_a_pause(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = FakeWorker(1, "/run/1.sock", lasts_s=iter([0.0] * 9))
    one = supervisor._Supervisor(supervisor._Shared("edge", OPTIONS), [worker])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one._keep, worker)
        await trio.sleep(3.5)  # within a pause of 3.2 s, which began at 3.1 s
        one._end_all()
        asked = trio.current_time()
    assert trio.current_time() == asked


async def watched(
    worker: FakeWorker,
    for_s: float,
    monkeypatch: pytest.MonkeyPatch,
    sign_s: float = 1.0,
) -> list[float]:
    """Watch a worker for a while; give when the service manager heard of life."""
    shared = supervisor._Shared("edge", attrs.evolve(OPTIONS, sign_s=sign_s))
    one = supervisor._Supervisor(shared, [worker])
    heard: list[float] = []
    one._manager = http_trio.ServiceManager("/nowhere", 3.0)
    monkeypatch.setattr(
        http_trio.ServiceManager, "alive", lambda _: heard.append(trio.current_time())
    )
    with trio.move_on_after(for_s):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one._watch)
            nursery.start_soon(one._keep_alive)
    return heard


async def test_a_worker_that_is_silent_is_killed_once_and_told_of(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = FakeWorker(1, "/run/1.sock", signs=LifeSigns(4.0))
    began = trio.current_time()
    worker.signs.heard(began)
    heard = await watched(worker, 20.0, monkeypatch)

    assert worker.signals == [signal.SIGKILL]
    assert worker.hangs == 1
    assert caplog.text.count("gives no sign of life for 4 s; it is killed") == 1
    assert heard
    assert max(heard) <= began + 4.0, "what cannot be killed is told of by silence"


async def test_nobody_is_killed_for_what_the_supervisor_missed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = FakeWorker(1, "/run/1.sock", signs=LifeSigns(4.0))

    async def stand_still() -> None:
        await trio.sleep(2.5)
        autojump_clock.jump(100.0)  # as if all stood still
        await trio.sleep(1.5)
        worker.signs.heard(trio.current_time())

    worker.signs.heard(trio.current_time())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still)
        await watched(worker, 104.5, monkeypatch)
    assert worker.signals == []


async def test_each_worker_has_its_own_name_and_admin(
    autojump_clock: trio.testing.MockClock,
) -> None:
    worker = FakeWorker(2, "/run/2.sock", lasts_s=iter([0.0]))
    await keep(worker)

    first, again = (told.options for told in worker.told)
    assert first.proxy_id == again.proxy_id == "edge.2"
    assert first.admin == "unix:/run/2.sock"
    assert first.binds == ("127.0.0.1:80",)
    assert first.listen_late
    assert again.listen_late


def test_a_tcp_port_is_bound_and_a_unix_socket_inherited(tmp_path: Path) -> None:
    with contextlib.ExitStack() as owned:
        addresses = supervisor._Addresses(owned, reuse_port=False)
        tcp = addresses.hold("127.0.0.1:0")
        unix = addresses.hold(f"unix:{tmp_path}/s")
        introduced = addresses.hold("127.0.0.1:0,proxy")

        assert introduced == f"{addresses.names.pop()},proxy"
        assert not tcp.endswith(":0")
        assert addresses.names == [tcp, unix]
        assert list(addresses.inherited) == [unix]
        with http_trio.open_listeners([tcp], reuse_port=True)[0] as shared:
            assert http_trio.address_of(shared) == tcp
            with pytest.raises(http_trio.BadBind):
                addresses.hold(tcp)  # another command's workers listen there


@pytest.mark.parametrize("reuse_port", [False, True])
def test_workers_can_adopt_what_they_inherit(
    tmp_path: Path, *, reuse_port: bool
) -> None:
    """A socket that is handed down listens, whichever way it came to us."""
    with (
        contextlib.ExitStack() as owned,
        http_trio.open_listeners(["127.0.0.1:0"])[0] as sock,
    ):
        given = http_trio.adopt_listener(os.dup(sock.fileno()))
        addresses = supervisor._Addresses(owned, reuse_port=reuse_port)
        given.proxy_protocol = True  # as one that was handed down with `,proxy`
        binds = [
            addresses.hold(bind)
            for bind in (f"unix:{tmp_path}/s", f"unix:{tmp_path}/p,proxy", given)
        ]
        assert list(addresses.inherited) == binds
        assert [bind.endswith(",proxy") for bind in binds] == [False, True, True]
        numbers = {bind: os.dup(n) for bind, n in addresses.inherited.items()}
        for bind, adopted in zip(binds, _adopted(binds, numbers), strict=True):
            assert isinstance(adopted, socket.socket)
            with adopted:
                assert http_trio.bind_of(adopted) == bind


async def test_what_no_worker_could_do_is_refused_before_any_is_started() -> None:
    anywhere = ProxyOptions(binds=["127.0.0.1:0"], admin="127.0.0.1:0")
    assert "no/name" in await supervise("no/name", 2, anywhere, LogOptions())
    long = attrs.evolve(anywhere, proxy_id="x" * 62)
    assert "x" * 62 in await supervise("web", 2, long, LogOptions())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        busy = attrs.evolve(anywhere, binds=[bind])
        assert bind in await supervise("web", 2, busy, LogOptions())
