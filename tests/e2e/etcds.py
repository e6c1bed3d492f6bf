"""Real etcds on loopback, of one member or of three; each test gets its own or cleans up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from http_trio.testing.ports import free_port
from kv_trio import EtcdClient, KvError
from tests.e2e.processes import PATIENCE_S

ETCD = os.environ.get("ETCD") or shutil.which("etcd")

needs_etcd = pytest.mark.skipif(
    ETCD is None, reason="no etcd; apt-get install etcd-server, as .ci/run does"
)


@attrs.define(eq=False)
class Member:
    """One member, as a process."""

    name: str
    directory: Path
    client: str
    peer: str
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again with the data that it has."""
        words = [str(ETCD), f"--name={self.name}", f"--data-dir={self.directory}"]
        words += [f"--listen-client-urls={self.client}"]
        words += [f"--advertise-client-urls={self.client}"]
        words += [f"--listen-peer-urls={self.peer}"]
        words += [f"--initial-advertise-peer-urls={self.peer}"]
        words += ["--heartbeat-interval=50", "--election-timeout=500", *self.options]
        log = self.directory.with_suffix(".log").open("ab")
        with log:
            env = {**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"}  # where it is one
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=env)

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def forget(self) -> None:
        """End it, and begin anew with an empty store on the same port."""
        self.kill()
        shutil.rmtree(self.directory)
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP pauses it, SIGCONT lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)


@attrs.define(eq=False)
class Etcd:
    """An etcd of one member or of several."""

    members: list[Member]

    @property
    def url(self) -> str:
        """The URL that names all of its members."""
        hosts = [member.client.removeprefix("http://") for member in self.members]
        return f"etcd://{','.join(hosts)}"

    async def wait_ready(self) -> None:
        """Wait until it takes writes."""
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    async with EtcdClient(self.url) as client:
                        await client.put("ready", b"yes")
                        return
                except KvError:
                    await trio.sleep(0.05)


@contextmanager
def etcd(directory: Path, count: int = 1, *options: str) -> Iterator[Etcd]:
    """Start an etcd in a directory; end it at the end."""
    members = [
        Member(
            f"m{number}",
            directory / f"m{number}",
            f"http://127.0.0.1:{free_port()}",
            f"http://127.0.0.1:{free_port()}",
        )
        for number in range(count)
    ]
    cluster = ",".join(f"{member.name}={member.peer}" for member in members)
    for member in members:
        member.options = (f"--initial-cluster={cluster}", *options)
        member.start()
    try:
        yield Etcd(members)
    finally:
        for member in members:
            member.kill()
