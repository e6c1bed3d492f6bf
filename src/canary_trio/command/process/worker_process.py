"""One worker as its supervisor has it: a process, and what it tells.

The other end of the socket is in `worker`, what is spoken over it in `ipc`.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable

import attrs
import trio

from canary_trio.command.process.ipc import (
    CANNOT_SERVE,
    News,
    WorkerOptions,
    read_news,
    write_options,
)
from canary_trio.command.process.life_signs import LifeSigns

KILL_S = 5.0
"""How long a worker has to be gone when it is killed."""


@attrs.define(eq=False)
class WorkerProcess:
    """One worker.

    Attributes:
        number: 1, 2 and so on.
        admin: the path of its admin listener.
        restarts: times that it was started again.
        is_up: whether it had its addresses, once.
        addresses: where it listens; empty before it did for the first time.
        revision: that it said is live; -1 before.
        failure: why it could not serve, in its own words; empty if it said nothing.
        cannot_serve: whether that is that another proxy has its name.
        broke_off: whether its process ended neither well nor by SIGTERM, as one does that
            has not come to drain yet.
        signs: when it was heard last.
        hangs: times that it was silent for too long, and was killed.
    """

    number: int
    admin: str
    restarts: int = 0
    is_up: bool = False
    addresses: str = ""
    revision: int = -1
    failure: str = ""
    cannot_serve: bool = False
    broke_off: bool = False
    signs: LifeSigns = attrs.field(factory=LifeSigns)
    hangs: int = 0
    _killed: bool = attrs.field(default=False, init=False)
    _process: trio.Process | None = attrs.field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """Its process; None while there is none."""
        return None if self._process is None else self._process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal, if there is a process."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill_if_hung(self, now: float) -> bool:
        """Kill it if it is silent for too long; tell whether that was done now."""
        if self._killed or not self.signs.is_overdue(now):
            return False
        self._killed = True
        self.hangs += 1
        self.send_signal(signal.SIGKILL)
        return True

    async def run(self, options: WorkerOptions, on_news: Callable[[], None]) -> str:
        """Run the process to its end; say how it ended.

        Args:
            options: of the worker; it inherits the descriptors in them.
            on_news: called when it has told something.

        Cancelled, it kills the process and waits for its end.
        """
        ours, theirs = trio.socket.socketpair()
        with ours:
            with theirs:
                self._process = process = await trio.lowlevel.open_process(
                    [sys.executable, "-m", "canary_trio.command.process.worker"],
                    stdin=theirs.fileno(),
                    pass_fds=options.descriptors,
                )
            self._killed = False
            self.signs.begin(trio.current_time())
            try:
                with contextlib.suppress(trio.BrokenResourceError):
                    await self._talk(trio.SocketStream(ours), options, on_news)
                await process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                    with trio.move_on_after(KILL_S, shield=True):
                        await process.wait()
                self._process = None
                self.signs.end()
        self.broke_off = process.returncode not in (0, -signal.SIGTERM)
        self.cannot_serve = process.returncode == CANNOT_SERVE and bool(self.failure)
        return self._how(process)

    async def _talk(
        self,
        stream: trio.SocketStream,
        options: WorkerOptions,
        on_news: Callable[[], None],
    ) -> None:
        """Hand over the options, and take what the worker tells until it ends."""
        self.failure = ""
        await stream.send_all(write_options(options))
        buffer = b""
        while more := await stream.receive_some():
            self.signs.heard(trio.current_time())
            *lines, buffer = (buffer + more).split(b"\n")
            for line in lines:
                self._hear(read_news(line))
            on_news()

    def _hear(self, news: News) -> None:
        if news.waiting:
            self.is_up = True
        if news.listening is not None:
            self.is_up = True
            self.addresses = news.listening
        if news.live is not None:
            self.revision = news.live
        if news.failed is not None:
            self.failure = news.failed

    def _how(self, process: trio.Process) -> str:
        code = process.returncode
        if self.failure:
            return f"(pid {process.pid}) failed: {self.failure}"
        if code is not None and code < 0:
            return f"(pid {process.pid}) was ended by {_signal_name(-code)}"
        return f"(pid {process.pid}) ended with status {code}"


def _signal_name(number: int) -> str:
    """Give a signal's name; those for real time have none but the first and the last."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
