"""The stores that are compared: their processes, each durable, on ports of its own.

- etcd: Debian's `etcd-server`; spoken to through its JSON gateway.
- Consul 1.8.7: in Debian bullseye, not in bookworm. `.ci/get-consul DIRECTORY` unpacks it
  from there; it need not be installed.

  It is taken from $CONSUL, or from the path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.peers import command_of
from benchmarks.store_words import ConsulWords, Dialect, EtcdWords, is_whole
from http_trio.testing.ports import free_port

PATIENCE_S = 60.0
"""How long a server may take to start or to answer."""

_RECEIVE = 64 * 1024
_CONNECTIONS = 11_000  # that a server is to take


@attrs.frozen
class Peer:
    """A store's program.

    Attributes:
        command: what runs it; `{data}` stands for its directory.
    """

    name: str
    port: int
    dialect: Dialect
    command: tuple[str, ...]


@attrs.frozen
class Server:
    """A peer that runs."""

    peer: Peer
    pid: int

    def cpu_s(self) -> float:
        """Give the processor time of all its threads so far.

        It is the sum of utime and stime of /proc/PID/stat, in ns in place of ticks.
        """
        return time.clock_gettime((~self.pid << 3) | 2)  # as in clock_getcpuclockid(3)

    def rss(self) -> int:
        """Give its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def find_peers() -> list[Peer]:
    """Give kv-trio and those that are installed; say which are not."""
    found = [kv_trio()]
    if shutil.which("etcd"):
        found.append(_etcd())
    else:
        print("etcd is absent; on Debian: apt-get install etcd-server")
    consul = os.environ.get("CONSUL") or shutil.which("consul")
    if consul:
        found.append(_consul(consul))
    else:
        print(
            "Consul is absent; the head of benchmarks/store_peers.py tells how to get it"
        )
    return found


def kv_trio(name: str = "kv-trio", checkout: Path | None = None) -> Peer:
    port = free_port()
    words = (
        *map(str, command_of("kv-trio", checkout)),
        *("serve", "--bind", f"127.0.0.1:{port}"),
        *("--data", "{data}", "--connections", str(_CONNECTIONS)),
    )
    if (
        checkout is None
    ):  # another one may not know of it; all watchers are of one address
        words += ("--limit", f"watchers_per_client={_CONNECTIONS}")
    return Peer(name, port, ConsulWords(), words)


def _etcd() -> Peer:
    port = free_port()
    here, others = (f"http://127.0.0.1:{at}" for at in (port, free_port()))
    options = {
        "data-dir": "{data}",
        "listen-client-urls": here,
        "advertise-client-urls": here,
        "listen-peer-urls": others,
        "initial-advertise-peer-urls": others,
        "initial-cluster": f"default={others}",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    return Peer("etcd", port, EtcdWords(), ("etcd", *words))


def _consul(program: str) -> Peer:
    port = free_port()
    words = (
        *("agent", "-server", "-bootstrap-expect=1", "-data-dir={data}", "-node=bench"),
        *("-bind=127.0.0.1", f"-http-port={port}", f"-server-port={free_port()}"),
        *(f"-serf-lan-port={free_port()}", "-serf-wan-port=-1", "-dns-port=-1"),
        *("-disable-host-node-id", "-hcl", "disable_update_check = true"),
        *("-hcl", f"limits {{ http_max_conns_per_client = {_CONNECTIONS} }}"),
        *("-hcl", "performance { raft_multiplier = 1 }"),
    )
    return Peer("Consul", port, ConsulWords(), (program, *words))


@contextlib.contextmanager
def running(peer: Peer, directory: Path) -> Iterator[Server]:
    """Run a peer until the block ends; it may not be ready yet."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [word.replace("{data}", str(directory / "data")) for word in peer.command]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        yield Server(peer, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def ready(peer: Peer, directory: Path) -> Iterator[Server]:
    """Run a peer that answers writes until the block ends."""
    with running(peer, directory) as server:
        if not responses(server, peer.dialect.put("bench/ready", b"yes")):
            log = (directory / "log").read_text(errors="replace")
            sys.exit(f"{peer.name} is not ready after {PATIENCE_S:g} s:\n{log[-2000:]}")
        yield server


def responses(server: Server, request: bytes) -> bool:
    """Ask until the response is 200; False if that takes too long."""
    end = time.monotonic() + PATIENCE_S
    while not ask(server, request).startswith(b"HTTP/1.1 200"):
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def ask(server: Server, request: bytes) -> bytes:
    """Give the response to one request, empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", server.peer.port), 5) as sock:
            sock.sendall(request)
            data = b""
            while not is_whole(data):
                more = sock.recv(_RECEIVE)
                if not more:
                    return b""
                data += more
            return data
    except OSError:
        return b""


def settle(server: Server, pause_s: float = 0.003) -> None:
    """Wait until a server is idle."""
    used = server.cpu_s()
    while True:
        time.sleep(pause_s)
        before, used = used, server.cpu_s()
        if used - before < pause_s / 10:
            return
