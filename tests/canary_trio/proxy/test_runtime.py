"""What outlives a configuration, with real sockets: servers of every kind, and changes."""

from __future__ import annotations

import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from canary_trio.config.document import load
from canary_trio.config.model import Server
from canary_trio.config.policies import UpstreamTls
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.testing import (
    PATIENCE_S,
    Proxied,
    arm,
    closed_url,
    says_stable,
    url_of,
)
from canary_trio.upstream.dns import Resolver
from canary_trio.upstream.endpoint import TlsContexts, make_upstream, target_of
from http_trio import Address, Exchange, Response
from http_trio.testing.peers import ReceivedRequest, connected, fake_upstream, serving


class Names:
    """A resolver that a test plays."""

    def __init__(self, **addresses: Sequence[int]) -> None:
        self.ports = addresses
        self.asked: Counter[str] = Counter()

    async def resolve(self, host: str, _: int) -> Sequence[Address]:
        self.asked[host] += 1
        if host not in self.ports:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, ("127.0.0.1", port)) for port in self.ports[host]]


@asynccontextmanager
async def running(
    names: Names | None = None, **document: Any
) -> AsyncIterator[Proxied]:
    """Run a proxy with what goes on beside it."""
    runtime = Runtime("web", resolve=(names or Names()).resolve)
    async with (
        trio.open_nursery() as nursery,
        serving(ProxyHandler(runtime)) as server,
    ):
        nursery.start_soon(runtime.run)
        proxy = Proxied(server, runtime)
        with trio.fail_after(PATIENCE_S):
            await proxy.install(document)
            yield proxy
        nursery.cancel_scope.cancel()


async def ask(proxy: Proxied, count: int = 1) -> list[tuple[bytes, bytes]]:
    async with connected(proxy.server) as client:
        return [await client.ask() for _ in range(count)]


async def bodies(proxy: Proxied, count: int) -> Counter[bytes]:
    return Counter(body for _, body in await ask(proxy, count))


async def until(*conditions: Any) -> None:
    while not all(condition() for condition in conditions):
        await trio.sleep(0.01)


# === servers of every kind ===


def shows_itself(exchange: Exchange) -> None:
    exchange.respond(Response(200, exchange.path + b" " + (exchange.head.host or b"")))


async def test_a_unix_socket_and_ipv6_and_a_prefix(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with serving(shows_itself, bind=f"unix:{path}"):
        async with running(arms={"stable": arm(f"unix:{path}")}) as proxy:
            assert (await ask(proxy))[0][1].startswith(b"/ ")
    async with serving(shows_itself, bind="[::1]:0") as server:
        async with running(arms={"stable": arm(server.url + "/base")}) as proxy:
            assert (await ask(proxy))[0][1].startswith(b"/base/ ")


async def test_all_addresses_of_a_name_are_used() -> None:
    async with fake_upstream(closing) as one, fake_upstream(closing) as other:
        names = Names(web=[one.port, other.port])
        async with running(names, arms={"stable": arm("http://web:80")}) as proxy:
            for _ in range(10):
                await ask(proxy)
    assert (len(one.asked), len(other.asked)) == (5, 5)


async def closing(asked: ReceivedRequest) -> None:
    await asked.response(b"ok", b"Connection: close")
    await asked.stream.aclose()


async def test_a_name_whose_server_moved_is_resolved_soon() -> None:
    """Much sooner than its half minute: its requests fail, and that says enough."""
    async with fake_upstream(says_stable) as fake:
        names = Names(web=[int(closed_url().rpartition(":")[2])])
        async with running(names, arms={"stable": arm("http://web:80")}) as proxy:
            head, _ = (await ask(proxy))[0]
            assert head.startswith(b"HTTP/1.1 502")
            names.ports = {"web": [fake.port]}
            await until(lambda: names.asked["web"] == 2)
            await until(
                lambda: (
                    proxy.server_state("stable").upstream.addresses[0][1][1]
                    == fake.port
                )
            )
            assert set(await bodies(proxy, 3)) == {b"stable"}


async def test_a_name_that_does_not_resolve_is_asked_for_again() -> None:
    async with fake_upstream(says_stable) as fake:
        names = Names()
        async with running(names, arms={"stable": arm("http://web:80")}) as proxy:
            assert (await ask(proxy))[0][0].startswith(b"HTTP/1.1 502")
            names.ports = {"web": [fake.port]}
            state = proxy.server_state("stable")
            await until(lambda: state.upstream.addresses)
            proxy.runtime.arms["stable"].server_set.tick(proxy.runtime.now() + 1000)
            assert set(await bodies(proxy, 3)) == {b"stable"}


async def test_names_are_asked_for_at_their_pace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    names = Names(good=[1])
    resolver = Resolver(names.resolve)
    for name in ("good", "bad"):
        server = Server(f"http://{name}:80")
        target = target_of(server, UpstreamTls())
        resolver.add(server, make_upstream(server, target, TlsContexts()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.keep)
        await trio.sleep(120.5)
        nursery.cancel_scope.cancel()

    assert names.asked["good"] == 5  # at 0, 30, 60, 90, 120
    assert names.asked["bad"] == 8  # at 0, 1, 3, 7, 15, 31, 61, 91


# === a server that dies and comes back ===


async def test_who_fails_is_ejected_and_comes_back() -> None:
    async with fake_upstream(failing) as bad, fake_upstream(says_stable) as good:
        ejection = {"failures": 2, "time": 0.1}
        arms = {"stable": arm(bad, good, ejection=ejection)}
        async with running(arms=arms) as proxy:
            state = proxy.server_state("stable")
            await ask(proxy, 8)
            assert state.ejected_until
            seen = len(bad.asked)
            assert seen == 2
            bad.script = says_stable
            await until(lambda: not state.ejected_until)  # time does it, no request
            await ask(proxy, 6)
            assert len(bad.asked) >= seen + 2
            assert not state.record.on_trial


async def failing(asked: ReceivedRequest) -> None:
    await asked.stream.send_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")


async def test_who_does_not_pass_its_checks_gets_nothing_until_it_does() -> None:
    sick = False

    async def either(asked: ReceivedRequest) -> None:
        await (failing if sick and asked.path == b"/ready" else says_stable)(asked)

    check = {"path": "/ready", "interval": 0.1, "rise": 2, "fall": 2, "jitter": 0}
    async with fake_upstream(either) as one, fake_upstream(says_stable) as other:
        arms = {"stable": arm(one, other, health=check)}
        async with running(arms=arms) as proxy:
            state = proxy.server_state("stable")
            await until(lambda: one.asked)
            sick = True
            await until(lambda: not state.up)
            before = len([a for a in one.asked if a.path == b"/"])
            await ask(proxy, 6)
            assert len([a for a in one.asked if a.path == b"/"]) == before
            assert state.check_error == "status 500"
            sick = False
            await until(lambda: state.up)
            await ask(proxy, 6)
            assert len([a for a in one.asked if a.path == b"/"]) == before + 3


# === changes ===


async def test_200_unrelated_changes_under_traffic_keep_everything() -> None:
    async with fake_upstream(failing) as bad, fake_upstream(says_stable) as good:
        servers = arm(bad, good, good_twin := url_of(good) + "/twin")
        arms = {"stable": {**servers, "ejection": {"failures": 2, "time": 300}}}
        async with running(arms=arms) as proxy:
            states = [proxy.server_state("stable", at) for at in range(3)]
            await ask(proxy, 6)
            out_until = states[0].ejected_until
            assert out_until
            held = good.connections
            stop = False
            heads: Counter[bytes] = Counter()

            async def load() -> None:
                async with connected(proxy.server) as client:
                    while not stop:
                        head, _ = await client.ask()
                        heads[head[9:12]] += 1

            counted = [state.requests for state in states]
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(load)
                for n in range(200):
                    more = {"ratio": n % 2 / 10, "update_rate": n + 1}
                    await proxy.install({"arms": {**arms, "canary": servers}, **more})
                    await trio.lowlevel.checkpoint()
                stop = True

            assert set(heads) <= {b"200", b"500"}
            now = [proxy.server_state("stable", at) for at in range(3)]
            assert all(a is b for a, b in zip(states, now, strict=True))
            assert states[0].ejected_until == out_until
            assert states[0].requests == counted[0]
            served = [s.requests - n for s, n in zip(states, counted, strict=True)][1:]
            assert abs(served[0] - served[1]) <= 1  # what was owed came along
            assert proxy.in_flight == 0
            assert good.connections <= held + 8  # the pools were kept: no reconnecting
            assert good_twin in {s.name for s in states}


async def test_a_removed_server_is_kept_until_its_last_request_ends() -> None:
    release = trio.Event()

    async def slow(asked: ReceivedRequest) -> None:
        await release.wait()
        await asked.response(b"late")

    async with fake_upstream(slow) as one, fake_upstream(says_stable) as other:
        async with running(arms={"stable": arm(one)}) as proxy:
            state = proxy.server_state("stable")
            got: list[tuple[bytes, bytes]] = []

            async def patient() -> None:
                got.extend(await ask(proxy))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(patient)
                await until(lambda: one.asked)
                await proxy.install({"arms": {"stable": arm(other)}})
                assert set(await bodies(proxy, 3)) == {b"stable"}
                assert proxy.runtime._servers["stable", url_of(one)] is state
                release.set()
            assert got[0][1] == b"late"
            assert ("stable", url_of(one)) not in proxy.runtime._servers
            assert state.upstream.idle == {}
            assert len(proxy.runtime._upstreams) == 1


async def test_drain_and_maintenance_under_sticky_users() -> None:
    async with fake_upstream(says_a) as a, fake_upstream(says_b) as b:
        sticky = {"sticky_sessions": {"header": "X-User", "server": True}}

        def document(mode: str) -> dict[str, Any]:
            first = {"url": url_of(a), "mode": mode}
            return {"arms": {"stable": {"servers": [first, url_of(b)]}}, **sticky}

        async with running(**document("ready")) as proxy:

            async def where() -> dict[int, bytes]:
                async with connected(proxy.server) as client:
                    return {
                        n: (await client.ask(b"/", b"X-User: u%d" % n))[1]
                        for n in range(30)
                    }

            before = await where()
            assert set(before.values()) == {b"a", b"b"}
            await proxy.install(document("drain"))
            assert await where() == before
            assert set(await bodies(proxy, 6)) == {b"b"}  # who has no key is new
            await proxy.install(document("maintenance"))
            assert set((await where()).values()) == {b"b"}
            await proxy.install(document("ready"))
            assert await where() == before


async def says_a(asked: ReceivedRequest) -> None:
    await asked.response(b"a")


async def says_b(asked: ReceivedRequest) -> None:
    await asked.response(b"b")


async def test_slow_start_of_a_new_server() -> None:
    async with fake_upstream(says_a) as a, fake_upstream(says_b) as b:
        async with running(arms={"stable": arm(a, slow_start=60)}) as proxy:
            await proxy.install({"arms": {"stable": arm(a, b, slow_start=60)}})
            found = await bodies(proxy, 110)

    assert 8 <= found[b"b"] <= 13  # a tenth of the weight of the other


async def test_certificates_that_cannot_be_read_refuse_the_document() -> None:
    config = load(
        json.dumps(
            {"arms": {"stable": arm("https://a", tls={"ca": "/nowhere/ca.pem"})}}
        )
    )
    with pytest.raises(Exception, match=r"/nowhere/ca\.pem"):
        await Runtime("web").build(config, 1, b"s")


async def test_arms_come_and_go() -> None:
    async with running(arms={"stable": arm(closed_url())}) as proxy:
        rng = random.Random(3)
        for _ in range(40):
            names = rng.sample(["a", "b", "c"], rng.randrange(4))
            arms = {name: arm(closed_url()) for name in ("stable", *names)}
            await proxy.install({"arms": arms})
            live = {(s.listener, s.name) for s in proxy.runtime._servers.values()}
            assert len(live) == len(arms) == len(proxy.runtime._upstreams)
