"""A service manager as systemd is one: it hands down sockets, and hears what it is told."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from tests.e2e.processes import BIN, PATIENCE_S

_BECOME = """
import os, sys
numbers = [os.dup2(int(n), 100 + at) for at, n in enumerate(sys.argv[1].split(","))]
for at, number in enumerate(numbers):
    os.dup2(number, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""  # what forks and then becomes the service, so that it has the pid that is told


@attrs.define(eq=False)
class Manager:
    """Hears what its services say, and starts them."""

    path: Path
    heard: socket.socket
    watchdog_s: float = 0.6

    def start(
        self, *words: object, sockets: Mapping[str, socket.socket]
    ) -> subprocess.Popen[bytes]:
        """Start a service with the sockets that it is to have, by their names."""
        numbers = [sock.fileno() for sock in sockets.values()]
        command = [str(BIN / str(words[0])), *map(str, words[1:])]
        return subprocess.Popen(
            [sys.executable, "-c", _BECOME, ",".join(map(str, numbers)), *command],
            pass_fds=numbers,
            env={
                **os.environ,
                "CANARY_DATA": str(self.path / "state"),
                "NOTIFY_SOCKET": str(self.path / "notify"),
                "WATCHDOG_USEC": str(int(self.watchdog_s * 1e6)),
                "LISTEN_FDS": str(len(numbers)),
                "LISTEN_FDNAMES": ":".join(sockets),
            },
        )

    def hears(self, begins: bytes) -> bytes:
        """Wait for something that begins so."""
        until = time.monotonic() + PATIENCE_S
        while not (told := self.heard.recv(4096)).startswith(begins):
            assert time.monotonic() < until, f"{begins!r} was not heard"
        return told


@contextlib.contextmanager
def service_manager(path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path / "notify"))
        heard.settimeout(PATIENCE_S)
        yield Manager(path, heard)


@contextlib.contextmanager
def until_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a service at the end of the block, if it still runs."""
    try:
        yield
    finally:
        process.kill()
        process.wait()
