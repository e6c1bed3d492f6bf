"""The processes of a run: commands as users start them, and stores of three kinds.

The rule that it obeys: each process is one that the run started, and ends with it; what it
said is kept in a file of the run's directory, and a part of it here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from canary_trio.errors import CanaryError
from http_trio.testing.ports import free_port

START_S = 30.0
"""How long a process may take until it says that it serves."""

END_S = 20.0
"""How long one may take to end."""

_KEPT = 64 * 1024  # characters of what it said


class NotStarted(CanaryError):
    """A process of the run does not come up. It is the machine's fault, or the program's."""


@attrs.define(eq=False)
class RunningProcess:
    """A process.

    Attributes:
        name: for messages.
        process: itself.
        output: the last of what it said.
    """

    name: str
    process: trio.Process
    output: str = attrs.field(default="", repr=False)

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something.

        Raises:
            NotStarted: it ended, or took too long.
        """
        with trio.move_on_after(START_S):
            while not (match := re.search(pattern, self.output)):
                if self.process.poll() is not None:
                    await trio.sleep(0.05)  # until its last words are read
                    raise NotStarted(f"{self.name} ended: {self.output[-500:].strip()}")
                await trio.sleep(0.01)
            return match
        raise NotStarted(
            f"{self.name} did not say {pattern!r} within {START_S:g} s:"
            f" {self.output[-500:].strip()}"
        )

    async def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()

    async def end(self) -> int:
        """Ask it to end; give its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


async def run_process(
    name: str,
    words: tuple[str, ...],
    directory: Path,
    task_status: trio.TaskStatus[RunningProcess] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a process until it ends, or until cancelled."""
    env = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "ETCD_UNSUPPORTED_ARCH": "arm64",  # an etcd asks for it where it is one
    }
    process = await trio.lowlevel.open_process(
        list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
    )
    one = RunningProcess(name, process)
    assert process.stdout is not None
    task_status.started(one)
    try:
        log = await trio.open_file(directory / f"{name}.log", "ab")
        async with log, process.stdout:
            async for data in process.stdout:
                await log.write(data)
                one.output = (one.output + data.decode(errors="replace"))[-_KEPT:]
        await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        with trio.move_on_after(END_S, shield=True):
            await process.wait()


def python(*words: str) -> tuple[str, ...]:
    """Give the words that run a module with this very interpreter."""
    return (sys.executable, "-m", *words)


@attrs.frozen
class StoreKind:
    """A store that a run can start.

    Attributes:
        scheme: of its URL.
        words: give what starts it, by its port and its directory.
        missing: why it cannot be started here; empty if it can.
    """

    scheme: str
    words: Callable[[int, Path], tuple[str, ...]]
    missing: Callable[[], str] = lambda: ""


def _kv_words(port: int, directory: Path) -> tuple[str, ...]:
    bind, data = f"127.0.0.1:{port}", str(directory / "kv")
    return python("kv_trio", "serve", "--bind", bind, "--data", data)


def _consul() -> str | None:
    return os.environ.get("CONSUL") or shutil.which("consul")


def _consul_words(port: int, directory: Path) -> tuple[str, ...]:
    return (
        *(str(_consul()), "agent", "-server", "-bootstrap-expect=1", "-node=verify"),
        *(f"-data-dir={directory / 'consul'}", "-bind=127.0.0.1"),
        *(f"-http-port={port}", f"-server-port={free_port()}"),
        *(f"-serf-lan-port={free_port()}", "-serf-wan-port=-1", "-dns-port=-1"),
        *("-disable-host-node-id", "-hcl", "disable_update_check = true"),
        *("-hcl", "performance { raft_multiplier = 1 }"),
    )


def _etcd() -> str | None:
    return os.environ.get("ETCD") or shutil.which("etcd")


def _etcd_words(port: int, directory: Path) -> tuple[str, ...]:
    here, others = (f"http://127.0.0.1:{at}" for at in (port, free_port()))
    return (
        *(str(_etcd()), f"--data-dir={directory / 'etcd'}"),
        *(f"--listen-client-urls={here}", f"--advertise-client-urls={here}"),
        *(f"--listen-peer-urls={others}", f"--initial-advertise-peer-urls={others}"),
        f"--initial-cluster=default={others}",
    )


STORES = {
    "kv": StoreKind("http", _kv_words),
    "consul": StoreKind(
        "http",
        _consul_words,
        lambda: "" if _consul() else "no consul on the path, and $CONSUL names none",
    ),
    "etcd": StoreKind(
        "etcd",
        _etcd_words,
        lambda: "" if _etcd() else "no etcd on the path, and $ETCD names none",
    ),
}
"""By the name that `--store` takes."""
