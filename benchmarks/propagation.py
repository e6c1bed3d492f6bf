"""How fast a change is live: from the write to the first request that is routed by it.

    python -m benchmarks.propagation                 # all of it
    python -m benchmarks.propagation --only write    # write to effect, one proxy, each store
    python -m benchmarks.propagation --only churn    # 200 changes a second under load
    python -m benchmarks.propagation --only wait     # --wait with a fleet
    python -m benchmarks.propagation --only poll     # what it replaces: polling

One loop does everything over raw sockets: it sends the write that flips the ratio between
0 and 1, then probes the proxy without a pause over one kept connection until a response
comes of a newer revision, which it says itself (`X-Canary`), and by the version that this
revision asks for. The time is taken when that probe was sent, so the resolution is one
probe's round trip (given as `probe`); the true time lies within one probe before it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path
from statistics import median

import attrs

from benchmarks.peers import (
    command_of,
    cpu_s,
    directory,
    need,
    process,
    versions,
    wait_for_port,
)
from benchmarks.store_peers import Peer, find_peers, ready
from benchmarks.store_words import is_whole
from benchmarks.tables import Bar
from http_trio.testing.ports import free_port

_PATIENCE_S = 10.0  # beyond three looks at a file that has changed
KEY = "canary/web/config"
RATE = 200
"""Changes a second of the churn."""
SELDOM = 8
"""Changes that are polled for at 30 s, at times that are drawn: four minutes, beside the rest."""

_PROBE = b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n"
_DECISION = re.compile(rb'\r\nX-Canary: revision=(\d+),[^\r]*arm="(\w+)"')
_INDEX = re.compile(rb'X-Consul-Index: (\d+)\r|"revision":"(\d+)"', re.IGNORECASE)
_BODY = {b"v1": b"stable", b"v2": b"canary"}


def document(one: int, two: int, ratio: int, **more: object) -> bytes:
    arms = {
        "stable": {"servers": [f"http://127.0.0.1:{one}"]},
        "canary": {"servers": [f"http://127.0.0.1:{two}"]},
    }
    table = {"ratio": ratio, "arms": arms, "decision_header": "X-Canary", **more}
    return json.dumps(table).encode()


@contextlib.contextmanager
def proxy(url: str, path: Path) -> Iterator[tuple[int, int]]:
    """Run a proxy on processor 0; give its port, once it has a document, and its process."""
    port, admin = free_port(), free_port()
    binds = ("--bind", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
    words = (*binds, "--config-server", url, "--data", str(path))
    with process(0, *command_of("canary"), "serve", "web", *words) as running:
        wait_for_port(port)
        end = time.monotonic() + 20
        while True:
            with connect(port) as sock:
                sock.sendall(_PROBE)
                if b"\r\nX-Canary: " in sock.recv(4096):
                    break
            if time.monotonic() > end:
                raise SystemExit(f"the proxy has no document of {url} after 20 s")
            time.sleep(0.05)
        yield port, running.pid


@contextlib.contextmanager
def wrk(port: int, seconds: int = 600) -> Iterator[subprocess.Popen[str]]:
    words = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s"]
    running = subprocess.Popen(
        [*words, f"http://127.0.0.1:{port}/"], stdout=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@attrs.frozen
class Answer:
    """What the proxy said: by which revision and arm, and which version it was."""

    revision: int
    arm: bytes
    version: bytes

    @classmethod
    def of(cls, response: bytes) -> Answer:
        found = _DECISION.search(response)
        if found is None or not response.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no response of the proxy: {response!r}")
        answer = cls(int(found[1]), found[2], response[-2:])
        if _BODY.get(answer.version) != answer.arm:
            raise RuntimeError(f"an arm that it says it is not: {response!r}")
        return answer


class Store:
    """A store that is written over one connection, whose response may come later."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.sock = connect(peer.port)
        self._got = b""

    def send(self, text: bytes) -> None:
        self._got = b""
        self.sock.sendall(self._peer.dialect.put(KEY, text))

    def take(self) -> int | None:
        """Read; give the revision, 0 where it is not said, None if there is more to come."""
        self._got += self.sock.recv(65536)
        if not is_whole(self._got):
            return None
        if not self._got.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"no write: {self._got!r}")
        found = _INDEX.search(self._got)
        return int(found[1] or found[2]) if found else 0


@attrs.define
class Times:
    """Of changes: from the write's start, from its response, and of each probe."""

    from_start: list[float] = attrs.field(factory=list)
    from_response: list[float] = attrs.field(factory=list)
    probes: list[float] = attrs.field(factory=list)


def one_change(
    store: Store, sock: socket.socket, text: bytes, wanted: bytes, times: Times
) -> None:
    """Write, and probe until a response is routed by what was written."""
    before = probe(sock).revision
    acknowledged, revision = 0.0, 0
    begun = time.perf_counter()
    store.send(text)
    while True:
        sent = time.perf_counter()
        sock.sendall(_PROBE)
        while True:
            waiting = [sock] if acknowledged else [sock, store.sock]
            found, _, _ = select.select(waiting, [], [], 5)
            if not found:
                raise RuntimeError("nothing came in 5 s")
            if store.sock in found and (index := store.take()) is not None:
                acknowledged, revision = time.perf_counter(), index
            if sock in found:
                break
        answer = Answer.of(sock.recv(4096))
        times.probes.append(time.perf_counter() - sent)
        if answer.revision != before:
            break
    while not acknowledged:
        index = store.take()
        if index is not None:
            acknowledged, revision = time.perf_counter(), index
    if answer.version != wanted or revision not in (0, answer.revision):
        raise RuntimeError(f"torn: {answer}, written as {revision} for {wanted!r}")
    times.from_start.append(sent - begun)
    times.from_response.append(sent - acknowledged)


def probe(sock: socket.socket) -> Answer:
    sock.sendall(_PROBE)
    return Answer.of(sock.recv(4096))


def changes(store: Store, port: int, text: Callable[[int], bytes], count: int) -> Times:
    times = Times()
    with connect(port) as sock:
        for n in range(count):
            ratio = 1 - n % 2
            time.sleep(0.002)  # until the proxy asks again, as in real life
            one_change(store, sock, text(ratio), b"v2" if ratio else b"v1", times)
    return times


def show(label: str, times: Sequence[float]) -> float:
    times = sorted(times)
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
    row = (median(times), p99, times[-1])
    print(f"  {label:<46} " + "  ".join(f"{value * 1e3:9.2f}" for value in row))
    return p99 * 1e3


# === what is measured ===


def write(one: int, two: int, count: int) -> None:
    """From the write to its effect, on each store, quiet and under load."""
    bars = []
    print(f"write to effect, ms{'p50':>39}{'p99':>11}{'worst':>11}")
    for peer in find_peers():
        scheme = "etcd" if peer.name == "etcd" else "http"
        with directory() as path, ready(peer, path / "store"):
            store = Store(peer)
            store.send(document(one, two, 0))
            while store.take() is None:
                pass
            url = f"{scheme}://127.0.0.1:{peer.port}"
            with proxy(url, path / "state") as (port, _):

                def text(ratio: int) -> bytes:
                    return document(one, two, ratio)

                changes(store, port, text, 20)
                for load in ("quiet", "wrk -c32"):
                    with contextlib.ExitStack() as stack:
                        if load != "quiet":
                            stack.enter_context(wrk(port))
                        times = changes(store, port, text, count)
                    what = f"{peer.name}, {load}: from its "
                    show(what + "start", times.from_start)
                    p99 = show(what + "response", times.from_response)
                    show(f"{peer.name}, {load}: probe", times.probes)
                    if peer.name == "kv-trio":
                        p50 = median(times.from_response) * 1e3
                        if load == "quiet":
                            bars.append(Bar("p50, quiet", p50, 1.5, unit="ms"))
                        bar = 6 if load == "quiet" else 15
                        bars.append(Bar(f"p99, {load}", p99, bar, unit="ms"))
    print(*bars, sep="\n")


def polled(
    one: int, two: int, every_s: float, count: int, *, pause_s: float = 0.001
) -> list[float]:
    """What is replaced: a file on a server, that is asked for every so many seconds."""
    found = []
    with directory() as path:
        file = path / "web.json"
        file.write_bytes(document(one, two, 0, update_rate=every_s))
        os.utime(file, (0, 0))
        at = free_port()
        serve = ("-m", "http.server", "--bind", "127.0.0.1", "-d", str(path), at)
        with process(1, "python3", *serve):
            wait_for_port(at)
            url = f"http+poll://127.0.0.1:{at}/web.json"
            with proxy(url, path / "state") as (port, _):
                for n in range(count):
                    time.sleep(random.uniform(0, every_s))
                    text = document(one, two, 1 - n % 2, update_rate=every_s)
                    new = path / "new"
                    new.write_bytes(text)
                    os.utime(new, (n + 1, n + 1))  # the server counts whole seconds
                    with connect(port) as sock:  # one that is idle so long is closed
                        before = probe(sock).revision
                        new.replace(file)
                        begun = sent = time.perf_counter()
                        while probe(sock).revision == before:
                            sent = time.perf_counter()
                            if sent > begun + 3 * every_s + _PATIENCE_S:
                                raise RuntimeError("no change of the file is seen")
                            time.sleep(pause_s)
                    found.append(sent - begun)
    return found


def poll(one: int, two: int, seldom: futures.Future[list[float]] | None) -> None:
    print(f"polling, ms{'p50':>47}{'p99':>11}{'worst':>11}")
    show("every 1 s, 10 changes", polled(one, two, 1, 10))
    if seldom is not None:
        show(f"every 30 s, {SELDOM} changes", seldom.result())


def churn(one: int, two: int, seconds: int) -> None:
    """Change often under load: nothing fails, nothing is torn, and little is slower."""
    peer = find_peers()[0]
    with directory() as path, ready(peer, path / "store"):
        store = Store(peer)
        store.send(document(one, two, 0))
        while store.take() is None:
            pass
        with proxy(f"http://127.0.0.1:{peer.port}", path / "state") as (port, pid):
            rates, own = [], []
            for rate in (0, RATE, 0, RATE):
                used = cpu_s(pid)
                with wrk(port, seconds) as running:
                    answers, ratios = churned(store, port, one, two, rate, seconds)
                    out, _ = running.communicate(timeout=30)
                failed = "Non-2xx" in out or "Socket errors" in out
                found = re.search(r"Requests/sec: +([\d.]+)", out)
                if found is None or failed:
                    raise SystemExit(f"requests failed at {rate} changes/s:\n{out}")
                rates.append(float(found[1]))
                own.append(rates[-1] * seconds / (cpu_s(pid) - used))
                torn = [
                    one
                    for one in answers
                    if one.revision in ratios
                    and (one.version == b"v2") != ratios[one.revision]
                ]
                seen = len({one.revision for one in answers})
                print(
                    f"  {rate:3} changes/s: {rates[-1]:8.0f} requests/s,"
                    f" {own[-1]:.0f} per second of processor time, none failed;"
                    f" {len(ratios)} changes, {seen} of them seen in {len(answers)}"
                    f" responses, {len(torn)} torn"
                )
                if torn:
                    raise SystemExit(f"torn: {torn[0]}")
            for what, found_ in (("throughput", rates), ("by processor time", own)):
                share = (found_[1] + found_[3]) / (found_[0] + found_[2])
                print(Bar(what, share, 0.8, unit="x quiet", more_is_better=True))


def churned(
    store: Store, port: int, one: int, two: int, rate: int, seconds: int
) -> tuple[list[Answer], dict[int, bool]]:
    """Write so often and probe meanwhile; give the answers, and what revisions ask for."""
    texts = [document(one, two, ratio) for ratio in (0, 1)]
    answers: list[Answer] = []
    ratios: dict[int, bool] = {}
    begun = time.perf_counter()
    due, sent, is_idle = begun, 0, True
    with connect(port) as sock:
        sock.sendall(_PROBE)
        while (now := time.perf_counter()) < begun + seconds - 0.2:
            if rate and is_idle and now >= due:
                store.send(texts[sent % 2])
                sent, is_idle = sent + 1, False
                due += 1 / rate
            wait_s = max(0.0, min(due - now, 0.05)) if rate and is_idle else 0.05
            found, _, _ = select.select([sock, store.sock], [], [], wait_s)
            if store.sock in found and (index := store.take()) is not None:
                ratios[index] = (sent - 1) % 2 == 1
                is_idle = True
            if sock in found:
                answers.append(Answer.of(sock.recv(4096)))
                sock.sendall(_PROBE)
        answers.append(Answer.of(sock.recv(4096)))
    while not is_idle and store.take() is None:
        pass
    return answers, ratios


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--only", choices=["write", "churn", "wait", "poll"])
    parser.add_argument("--seconds", type=int, default=10, help="of each churn")
    parser.add_argument("--fleets", type=int, nargs="*", default=[20, 50])
    parser.add_argument("--quick", action="store_true", help="do not poll at 30 s")
    options = parser.parse_args()
    need("nginx", "wrk", "taskset", "pgrep")
    is_polled = options.only in (None, "poll")
    with versions(1) as (one, two), contextlib.ExitStack() as stack:
        seldom = None
        if is_polled and not options.quick:  # beside the rest, of which it takes little
            threads = stack.enter_context(futures.ThreadPoolExecutor(1))
            seldom = threads.submit(polled, one, two, 30, SELDOM, pause_s=0.05)
        if options.only in (None, "write"):
            write(one, two, options.changes)
        if options.only in (None, "churn"):
            churn(one, two, options.seconds)
        if options.only in (None, "wait"):
            from benchmarks.fleet_wait import wait  # noqa: PLC0415  # it needs trio

            wait(one, two, options.fleets, options.changes)
        if is_polled:
            poll(one, two, seldom)


if __name__ == "__main__":
    main()
