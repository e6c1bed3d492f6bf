"""The life of a process that serves: its signals, and what is told of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from http_trio.net.process import process_life
from http_trio.net.process.process_life import ProcessLife
from http_trio.net.process.service_manager import ServiceManager


@attrs.define(eq=False)
class Server:
    """Serves until it is drained; notes what it is asked."""

    state: str = "all is well"
    asked: list[object] = attrs.field(factory=list)
    drained: trio.Event = attrs.field(factory=trio.Event)

    def drain(self, deadline_s: float, *, lame_duck_s: float) -> None:
        self.asked.append(("drain", deadline_s, lame_duck_s))
        self.drained.set()

    def reload(self) -> None:
        self.asked.append("reload")

    async def beat(self, call: Callable[[], None], every_s: float) -> None:
        self.asked.append("beat")
        call()
        await trio.sleep_forever()


class FailingServer(Server):
    """Cannot read its files."""

    def reload(self) -> None:
        super().reload()
        raise ValueError(self.asked)


@asynccontextmanager
async def living(
    life: ProcessLife[Server], start: Callable[..., Awaitable[None]]
) -> AsyncIterator[trio.Event]:
    """Run a process's life beside the block; gives what is set at its end."""
    ended = trio.Event()

    async def run() -> None:
        await life.run(start, "it waits")
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()  # the signals have their meaning
        with trio.fail_after(30):
            yield ended
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await trio.sleep(0.005)


async def test_it_serves_until_a_signal_and_tells_of_all(tmp_path: Path) -> None:
    server = Server()
    served: list[Server] = []
    files: list[str] = []

    async def start(task_status: trio.TaskStatus[Server]) -> None:
        task_status.started(server)
        await server.drained.wait()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        life = ProcessLife[Server](
            ServiceManager(str(tmp_path / "notify")),
            1.5,
            20.0,
            served.append,
            lambda: files.append("reopen"),
            lambda: files.append("reload"),
        )
        async with living(life, start) as ended:
            await until(lambda: bool(served))
            assert heard.recv(999) == b"STATUS=it waits"
            assert heard.recv(999) == b"READY=1\nSTATUS=all is well"
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: files == ["reopen"])
            assert server.asked == []
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: server.asked == ["reload"])
            assert files == ["reopen", "reopen"]
            assert heard.recv(999).startswith(b"RELOADING=1\n")
            assert heard.recv(999) == b"READY=1\nSTATUS=all is well"
            os.kill(os.getpid(), signal.SIGTERM)
            await ended.wait()
        assert heard.recv(999) == b"STOPPING=1\nSTATUS=draining"
    assert server.asked == ["reload", ("drain", 20.0, 1.5)]


async def never_ready(task_status: trio.TaskStatus[Server]) -> None:
    await trio.sleep_forever()


async def never_done(task_status: trio.TaskStatus[Server]) -> None:
    task_status.started(Server())
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("start", "signals"), [(never_ready, 1), (never_done, 2)], ids=["early", "second"]
)
async def test_it_ends_at_once(
    start: Callable[..., Awaitable[None]], signals: int
) -> None:
    life = ProcessLife[Server](ServiceManager())
    async with living(life, start) as ended:
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep(0.02)
        await ended.wait()


async def test_files_are_read_again_before_anything_is_served() -> None:
    files: list[str] = []
    life = ProcessLife[Server](ServiceManager(), reload=lambda: files.append("reload"))
    async with living(life, never_ready):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: files == ["reload"])


async def test_a_file_that_cannot_be_read_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever a reload raises, what was read before goes on, and the next one works."""
    failing = FailingServer()

    async def start(task_status: trio.TaskStatus[Server]) -> None:
        task_status.started(failing)
        await trio.sleep_forever()

    life = ProcessLife[Server](ServiceManager())
    async with living(life, start) as ended:
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda count=count: len(failing.asked) == count)  # type: ignore[misc]
        assert not ended.is_set()
    assert caplog.text.count("files are not read again") == 2


async def test_a_service_manager_hears_of_what_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_life, "STATE_S", 0.01)
    server = Server()

    async def start(task_status: trio.TaskStatus[Server]) -> None:
        task_status.started(server)
        await trio.sleep_forever()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.setblocking(False)
        life = ProcessLife[Server](ServiceManager(str(tmp_path / "notify")))
        async with living(life, start):
            assert heard.recv(999) == b"STATUS=it waits"
            assert heard.recv(999) == b"READY=1\nSTATUS=all is well"
            server.state = "index 7"
            await trio.lowlevel.wait_readable(heard)
            assert heard.recv(999) == b"STATUS=index 7"
            await trio.sleep(0.05)
            with pytest.raises(BlockingIOError):
                heard.recv(999)  # the same again is not told


async def test_signs_of_life_come_from_what_serves_once_it_does() -> None:
    signs: list[str] = []
    server = Server()
    go = trio.Event()

    async def start(task_status: trio.TaskStatus[Server]) -> None:
        await go.wait()
        task_status.started(server)
        await trio.sleep_forever()

    life = ProcessLife[Server](
        ServiceManager(), sign=(lambda: signs.append("sign"), 0.01)
    )
    async with living(life, start):
        await until(lambda: len(signs) > 1)
        assert server.asked == []
        go.set()
        await until(lambda: server.asked == ["beat"])


async def test_why_nothing_is_served_is_raised_as_it_is() -> None:
    async def fail(task_status: trio.TaskStatus[Server]) -> None:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        await ProcessLife[Server](ServiceManager()).run(fail, "it waits")
