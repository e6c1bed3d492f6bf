"""The sections of the proxy: processor time, latency, memory, beside its rivals."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import attrs
import trio

from benchmarks.measure import Client, Load, Peer, cookie_of, fresh_heads, load
from benchmarks.peers import canary_proxy, directory, memory, versions
from benchmarks.report.sections import Section
from benchmarks.rivals import caddy, copier, haproxy, make_certificate, nginx_proxy
from benchmarks.secure_load import Clients, new_heads
from canary_trio.bench.plan import BenchRequest, LoadPlan, read_target
from canary_trio.bench.run import BenchOptions, gather
from canary_trio.bench.tally import LoadResult
from canary_trio.rollout.latency import bound_of, quantile
from http_trio.testing.ports import free_port

_CONNECTIONS = 32
_RULES = (
    {"header": "X-Canary", "equals": "always", "arm": "canary"},
    {"cookie": "beta", "present": True, "arm": "canary"},
    {"path_prefix": "/beta/", "arm": "canary"},
    {"host": "beta.example.test", "arm": "canary"},
    {"query": "preview", "equals": "1", "arm": "canary"},
)
_PARTS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)


@attrs.frozen
class Plan:
    """How much of a proxy is measured."""

    rounds: int
    seconds: int
    latency_s: float
    rate: float
    kept: tuple[int, ...]


QUICK = Plan(3, 1, latency_s=4, rate=300, kept=(100, 500))
FULL = Plan(7, 2, latency_s=30, rate=300, kept=(100, 500, 1000, 2500, 5000))


def processor_time(plan: Plan) -> Iterator[Section]:
    """Small responses, with new heads (the honest case) and with one head."""
    with ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        peers = [*_rivals(stack, one, two), *_ours(stack, one, two)]
        path = stack.enter_context(directory())
        honest = [
            attrs.evolve(peer, script=_script(path, number, peer))
            for number, peer in enumerate(peers)
        ]
        found = _take_turns([("new", honest), ("one", peers)], plan)
        used = {peer.name: [memory(peer.pid) / 2**20] for peer in peers}
    words = (
        f"{_CONNECTIONS} connections of wrk on one processor, the proxy on the other, a"
        " browser's header of 600 bytes, two servers behind. Processor time is what is to be"
        " compared: where `busy` is well below 1 the load was the limit, not the proxy."
    )
    for kind, title, more in (
        (
            "new",
            "Processor time of a small response, a new head in each request",
            " The path and the session cookie of each request are new, as with real users.",
        ),
        (
            "one",
            "Processor time of a small response, one head for ever",
            " What most benchmarks do. It flatters who remembers heads.",
        ),
    ):
        yield Section(
            f"cpu-{kind}-head" + ("s" if kind == "new" else ""),
            title,
            words + more,
            columns={
                "us of CPU per request": _column(found[kind], "cpu_us"),
                "requests/s": _column(found[kind], "rate"),
                "busy": _column(found[kind], "busy"),
                "MiB of memory after it": used,
            },
        )


def http2(plan: Plan) -> Iterator[Section]:
    """Small responses over HTTP/2 and TLS 1.3, a new head in each request."""
    with ExitStack() as stack:
        certificate = make_certificate(stack.enter_context(directory()))
        one, two = stack.enter_context(versions(1))
        peers = _rivals(stack, one, two, certificate=certificate)
        secure = free_port()
        options = ("--tls-bind", f"127.0.0.1:{secure}", "--tls-cert", str(certificate))
        _, _, pid = stack.enter_context(canary_proxy(0, one, two, options=options))
        peers.append(Peer("canary", secure, pid, "https"))
        found: dict[str, list[Load]] = {peer.name: [] for peer in peers}
        for turn in range(max(2, plan.rounds - 1)):
            for peer in peers if turn % 2 else reversed(peers):
                with closing(Clients(peer, _CONNECTIONS, http2=True)) as clients:
                    once = clients.load(new_heads(), 1, plan.seconds)
                    found[peer.name].append(once)
    yield Section(
        "cpu-http2",
        "Processor time of a small response over HTTP/2 and TLS 1.3, new heads",
        f"{_CONNECTIONS} clients of one stream each, in Python; they are the limit well before"
        " the fast proxies are busy, so only processor time is to be compared.",
        columns={
            "us of CPU per request": _column(found, "cpu_us"),
            "requests/s": _column(found, "rate"),
            "busy": _column(found, "busy"),
        },
    )


def latency(plan: Plan) -> Iterator[Section]:
    """Latency at a rate that all bear, by what `canary bench` asks with: open loop."""
    with ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        peers = _rivals(stack, one, two)
        port, _, pid = stack.enter_context(canary_proxy(0, one, two))
        peers = [Peer("direct", one, 0), *peers, Peer("canary", port, pid)]
        seconds = plan.latency_s
        targets = [read_target(f"http://127.0.0.1:{peer.port}/") for peer in peers]
        pace = LoadPlan(rate=plan.rate, seconds=seconds, warm_up_s=0.5)
        asked = (targets, BenchRequest(), pace, BenchOptions())
        results, _, _ = trio.run(gather, *asked)
        curves = {
            peer.name: list(_curve(result))
            for peer, result in zip(peers, results, strict=True)
        }
    yield Section(
        "latency",
        "Latency by quantile",
        f"By what `canary bench` asks with: open loop, {plan.rate:g} requests/s to each in turns,"
        f" for {seconds:g} s; counted from when a request was due. On two processors the load, the"
        " servers and the proxies share them, so the tail is the machine's as much as theirs.",
        curves=curves,
        axes=("of 100 requests so many are slower", "ms"),
        logs=(True, True),
    )


def idle_memory(plan: Plan) -> Iterator[Section]:
    """What kept connections cost, by how many there are."""
    with ExitStack() as stack:
        one, two = stack.enter_context(versions(1))
        peers = _rivals(stack, one, two)
        port, _, pid = stack.enter_context(canary_proxy(0, one, two))
        peers.append(Peer("canary", port, pid))
        curves = {peer.name: _growth(peer, plan.kept) for peer in peers}
    yield Section(
        "memory",
        "Memory by kept connections",
        "Resident memory of the process, and its workers, with so many idle connections that"
        " have had one response each. What the kernel holds for sockets is not in it.",
        curves=curves,
        axes=("connections", "MiB of resident memory"),
    )


def _growth(peer: Peer, counts: Sequence[int]) -> list[tuple[float, float]]:
    kept: list[Client] = []
    found = []
    for _ in range(32):
        kept.append(Client(peer.port, peer.request))
        kept[-1].request()
    found.append((float(len(kept)), memory(peer.pid) / 2**20))
    for count in counts:
        while len(kept) < count:
            kept.append(Client(peer.port, peer.request))
            kept[-1].request()
        found.append((float(count), memory(peer.pid) / 2**20))
    for client in kept:
        client.close()
    return found


def _curve(result: LoadResult) -> Iterator[tuple[float, float]]:
    latencies = result.latencies
    count = sum(latencies.values())
    for part in _PARTS:
        if count * (1 - part) >= 3:
            seconds = min(bound_of(quantile(latencies, part)), result.slowest_s)
            yield round(100 * (1 - part), 3), seconds * 1000


def _rivals(
    stack: ExitStack, one: int, two: int, certificate: Path | None = None
) -> list[Peer]:
    """Give those that are installed."""
    scheme = "https" if certificate else "http"
    running = {
        "nginx": nginx_proxy(0, one, two, certificate=certificate),
        "haproxy": haproxy(0, one, two, certificate=certificate),
        "caddy": caddy(0, one, two, certificate=certificate),
    }
    return [
        Peer(name, *stack.enter_context(one_of), scheme)
        for name, one_of in running.items()
        if shutil.which(name)
    ]


def _ours(stack: ExitStack, one: int, two: int) -> list[Peer]:
    floor = Peer("copier", *stack.enter_context(copier(0, one)))
    port, _, pid = stack.enter_context(canary_proxy(0, one, two))
    sticky = {"cookie": "canary"}
    running = canary_proxy(0, one, two, sticky_sessions=sticky, rules=_RULES)
    full_port, _, full_pid = stack.enter_context(running)
    full = Peer("canary, cookie and rules", full_port, full_pid)
    full = attrs.evolve(full, cookie=cookie_of(full, "canary"))
    return [floor, Peer("canary", port, pid), full]


def _script(path: Path, number: int, peer: Peer) -> Path:
    new = attrs.evolve(peer, cookie="")
    users = [cookie_of(new, "canary") for _ in range(200)] if peer.cookie else []
    return fresh_heads(path / f"{number}.lua", users)


def _take_turns(
    kinds: Sequence[tuple[str, Sequence[Peer]]], plan: Plan
) -> dict[str, dict[str, list[Load]]]:
    found: dict[str, dict[str, list[Load]]] = {
        kind: {peer.name: [] for peer in peers} for kind, peers in kinds
    }
    for turn in range(plan.rounds):
        for kind, peers in kinds:
            for peer in peers if turn % 2 else reversed(peers):
                done = load(peer, _CONNECTIONS, plan.seconds)
                found[kind][peer.name].append(done)
    return found


def _column(found: dict[str, list[Load]], field: str) -> dict[str, list[float]]:
    return {
        name: [round(getattr(one, field), 3) for one in loads]
        for name, loads in found.items()
    }
