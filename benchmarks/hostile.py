"""A quiet client among hostile ones: its slowest requests, before and while they are there.

The real proxy and the real store, without tokens. The hostile ones come from one address
(127.0.0.2) and send little, but each kind of them holds or costs what it can: uploads
that trickle, connections that ask nothing, heads by the byte and empty lines, names of
thousands of labels, thousands of connection options, readers that do not read, whole
trees in one transaction, transactions that are half sent, sessions without end. The quiet
one asks proxy and store in turns, over a kept connection and now and then a new one; all
of it must be answered, and the 99th percentile may grow threefold. Part of `make soak`;
ends with status 1 if it grew more.

A second proxy and store, which nobody attacks, are asked meanwhile: what is as slow there
is the machine's fault. So its calm value is the larger of what was measured before, and of
theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import attrs
import trio

from benchmarks.peers import (
    canary_proxy,
    end_on_sigterm,
    need,
    process,
    python,
    versions,
)
from http_trio import raise_file_limit

_MOST = 3.0  # times the calm value
_PAUSE_S = 0.02  # between two requests of the quiet client
_STATUS = 200
_FROM = "127.0.0.2"  # where the hostile ones come from
_RAMP_S = 0.002  # between two of them
_KEYS = 2_000  # in the store, for its trees

_GET = b"GET %b HTTP/1.1\r\nHost: quiet\r\n\r\n"


# === the quiet client ===


class Quiet:
    """One client of one server, over a kept connection and over new ones in turns."""

    def __init__(self, port: int, path: bytes) -> None:
        self._port = port
        self._request = _GET % path
        self._kept: socket.socket | None = None
        self._turns = itertools.cycle((True, True, True, False))
        self.seconds: list[float] = []
        self.failed = 0

    def ask(self) -> None:
        began = time.perf_counter()
        try:
            status = self._once()
        except OSError:
            status = 0
            self._kept = None
        self.seconds.append(time.perf_counter() - began)
        self.failed += status != _STATUS

    def _once(self) -> int:
        if not next(self._turns):
            with self._connect() as sock:
                return self._exchange(sock)
        if self._kept is None:
            self._kept = self._connect()
        return self._exchange(self._kept)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=30)

    def _exchange(self, sock: socket.socket) -> int:
        sock.sendall(self._request)
        data = sock.recv(65536)
        if not data:
            raise ConnectionResetError
        return int(data[9:12])

    def report(self) -> tuple[float, int]:
        """Give the 99th percentile in milliseconds and how many failed, and forget."""
        p99 = statistics.quantiles(self.seconds, n=100)[98] * 1000
        failed, self.failed, self.seconds = self.failed, 0, []
        return p99, failed


def ask_for(seconds: float, clients: list[Quiet]) -> None:
    end = time.monotonic() + seconds
    for client in itertools.cycle(clients):
        client.ask()
        time.sleep(_PAUSE_S)
        if time.monotonic() > end:
            return


# === the hostile ones ===


@attrs.frozen
class Stall:
    """One kind of hostile client.

    Attributes:
        name: what it does.
        count: how many of them there are.
        port: the server's.
        act: what each does with a connection, over and over, on a new one each time.
    """

    name: str
    count: int
    port: int
    act: Callable[[trio.SocketStream], Awaitable[None]]


async def trickle(
    stream: trio.SocketStream, *, start: bytes, piece: bytes, every_s: float
) -> None:
    await stream.send_all(start)
    while True:
        await trio.sleep(every_s)
        await stream.send_all(piece)


async def ask_and_pause(
    stream: trio.SocketStream, *, request: bytes, pause_s: float
) -> None:
    while True:
        await stream.send_all(request)
        if not await stream.receive_some(65536):
            return
        await trio.sleep(pause_s)


async def read_slowly(stream: trio.SocketStream, *, request: bytes) -> None:
    await stream.send_all(request)
    while await stream.receive_some(1024):
        await trio.sleep(1)


async def hold(stream: trio.SocketStream, *, start: bytes = b"") -> None:
    await stream.send_all(start)
    await trio.sleep_forever()


def post(target: bytes, *lines: bytes, method: bytes = b"POST") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: h\r\n" % (method, target)
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def stalls(proxy: int, store: int) -> list[Stall]:
    """Give all of them."""
    chunked, sized = b"Transfer-Encoding: chunked", b"Content-Length: %d"
    tree = json.dumps([{"KV": {"Verb": "get-tree", "Key": ""}}] * 128).encode()
    session = b'{"TTL": "86400s"}'
    many = b",".join(b"x%d" % n for n in range(4000))
    slow = partial(trickle, every_s=5.0)
    return [
        Stall(
            "uploads",
            600,
            proxy,
            partial(slow, start=post(b"/", sized % 70_000), piece=b"x"),
        ),
        Stall(
            "uploads in chunks",
            600,
            proxy,
            partial(slow, start=post(b"/", chunked), piece=b"1\r\nx\r\n"),
        ),
        Stall(
            "extensions",
            100,
            proxy,
            partial(slow, start=post(b"/", chunked) + b"1", piece=b";a=b"),
        ),
        Stall("idle", 500, proxy, hold),
        Stall("empty lines", 200, proxy, partial(slow, start=b"", piece=b"\r\n")),
        Stall(
            "heads by the byte", 200, proxy, partial(slow, start=b"GET /", piece=b"x")
        ),
        Stall(
            "names with dots",
            4,
            proxy,
            partial(
                ask_and_pause,
                request=b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % (b"a." * 15000),
                pause_s=1.0,
            ),
        ),
        Stall(
            "connection options",
            4,
            proxy,
            partial(
                ask_and_pause,
                request=post(b"/", b"Connection: " + many, method=b"GET"),
                pause_s=1.0,
            ),
        ),
        Stall(
            "readers that do not read",
            60,
            proxy,
            partial(read_slowly, request=_GET % b"/large/10MiB"),
        ),
        Stall("idle at the store", 500, store, hold),
        Stall(
            "readers of the store",
            60,
            store,
            partial(read_slowly, request=_GET % b"/v1/kv/?recurse"),
        ),
        Stall(
            "trees",
            2,
            store,
            partial(
                ask_and_pause,
                request=post(b"/v1/txn", sized % len(tree), method=b"PUT") + tree,
                pause_s=2.0,
            ),
        ),
        Stall(
            "half a transaction",
            200,
            store,
            partial(
                hold,
                start=post(b"/v1/txn", sized % 520_000, method=b"PUT") + b"[" * 100_000,
            ),
        ),
        Stall(
            "sessions",
            4,
            store,
            partial(
                ask_and_pause,
                request=post(b"/v1/session/create", sized % len(session), method=b"PUT")
                + session,
                pause_s=0.01,
            ),
        ),
    ]


async def attack(stall: Stall) -> None:
    """Do it for ever; who is closed comes again."""
    while True:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            stream = await trio.open_tcp_stream(
                "127.0.0.1", stall.port, local_address=_FROM
            )
            async with stream:
                await stall.act(stream)
        await trio.sleep(1.0)


async def attack_all(proxy: int, store: int) -> None:
    async with trio.open_nursery() as nursery:
        for stall in stalls(proxy, store):
            for _ in range(stall.count):
                nursery.start_soon(attack, stall)
                await trio.sleep(_RAMP_S)
        print("all are there", flush=True)


# === the comparison ===


@contextlib.contextmanager
def hostile(proxy: int, store: int) -> Iterator[subprocess.Popen[bytes]]:
    words = ("-m", "benchmarks.hostile", "--attack", f"{proxy},{store}")
    with process(1, *python(*words)) as running:
        yield running


def fill(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        for n in range(_KEYS):
            body = b"x" * 100
            head = post(b"/v1/kv/tree/%d" % n, b"Content-Length: 100", method=b"PUT")
            sock.sendall(head + body)
            sock.recv(4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    options = parser.parse_args()
    raise_file_limit(10_000)
    if options.attack:
        proxy, store = map(int, options.attack.split(","))
        trio.run(attack_all, proxy, store)
    need("nginx", "taskset", "pgrep")
    end_on_sigterm()
    with (
        versions(1) as (one, two),
        canary_proxy(0, one, two) as (port, store, _),
        canary_proxy(0, one, two) as (other_port, other_store, _),
    ):
        attacked, spared = quiet(port, store), quiet(other_port, other_store)
        clients = [*attacked.values(), *spared.values()]
        ask_for(2, clients)  # heads are known then, and connections there
        for client in clients:
            client.report()
        ask_for(options.seconds / 2, clients)
        before = {name: client.report()[0] for name, client in attacked.items()}
        for client in spared.values():
            client.report()
        with hostile(port, store) as running:
            ask_for(options.seconds, clients)
            if running.poll() is not None:
                sys.exit("the hostile ones ended")
    faults = []
    for name, client in attacked.items():
        (p99, failed), (beside, _) = client.report(), spared[name].report()
        ratio = p99 / max(before[name], beside)
        print(
            f"{name}: p99 {before[name]:.2f} ms before, {p99:.2f} ms among hostile ones,"
            f" {beside:.2f} ms beside them: {ratio:.2f} x; {failed} failed"
        )
        if failed or ratio > _MOST:
            faults.append(name)
    if faults:
        sys.exit(
            f"at {' and '.join(faults)} the quiet client is refused, or waits more than"
            f" {_MOST:g} times as long"
        )


def quiet(port: int, store: int) -> dict[str, Quiet]:
    """Give the quiet client of a proxy and its store, which is filled."""
    fill(store)
    return {"proxy": Quiet(port, b"/"), "store": Quiet(store, b"/v1/kv/tree/1")}


if __name__ == "__main__":
    main()
