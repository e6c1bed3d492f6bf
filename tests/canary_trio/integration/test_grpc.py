"""gRPC services behind the proxy: which arm, what is counted, who is well."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
import trio

from canary_trio.config.document import load
from canary_trio.config.policies import Health, UpstreamTls
from canary_trio.proxy.handler import ProxyHandler
from canary_trio.proxy.runtime import Runtime
from canary_trio.telemetry.access_log import AccessLog
from canary_trio.telemetry.mirror_counters import MirrorOutcome, Skip
from canary_trio.telemetry.observer import Observer
from canary_trio.testing import Proxied, arm, closed_url, proxied, says_canary
from canary_trio.upstream.endpoint import TlsContexts, make_upstream, target_of
from canary_trio.upstream.health_checks import ask_by_fetch, find_fault, request
from http_trio import serve
from http_trio.testing.peers import connected, fake_upstream
from tests.http_trio.support.grpc_peers import (
    GrpcClient,
    GrpcServer,
    grpc_client,
    grpc_server,
)
from tests.http_trio.support.h2_server import H2Request, h2_server

WAIT_S = 20.0
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


@attrs.frozen
class Called:
    """A proxy, and a client of gRPC that speaks to it without TLS."""

    proxy: Proxied
    client: GrpcClient
    observer: Observer

    async def ask(self, name: str, message: bytes = b"", **more: Any) -> Any:
        """Make a call in a thread; give what came, or how it failed."""

        def work() -> Any:
            try:
                found = self.client.call(name)(message, timeout=WAIT_S, **more)
                return found if isinstance(found, bytes) else list(found)
            except grpc.RpcError as exc:
                return exc.code().value[0], exc.details()

        return await trio.to_thread.run_sync(work)


@asynccontextmanager
async def calling(
    arms: dict[str, Any], log: AccessLog | None = None, **document: Any
) -> AsyncIterator[Called]:
    observer = Observer(log)
    runtime = Runtime("web", observer=observer)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve, ProxyHandler(runtime), [], h2c_binds=["127.0.0.1:0"])
        )
        proxy = Proxied(server, runtime)
        await proxy.install({"ratio": 1, "arms": arms, **document})
        port = int(server.addresses[0].rpartition(":")[2])
        with grpc_client(port) as client, trio.fail_after(60):  # noqa: ASYNC100
            yield Called(proxy, client, observer)
        nursery.cancel_scope.cancel()


def h2c(server: GrpcServer) -> str:
    return f"h2c://127.0.0.1:{server.port}"


async def test_metadata_chooses_the_arm() -> None:
    with grpc_server() as stable, grpc_server() as canary:
        arms = {"stable": arm(h2c(stable)), "canary": arm(h2c(canary))}
        rules = [{"header": "x-beta", "equals": "1", "arm": "canary"}]
        async with calling(arms, rules=rules, ratio=0) as called:
            assert await called.ask("unary", b"ab") == b"ba"
            assert (len(stable.calls), len(canary.calls)) == (1, 0)
            await called.ask("unary", b"ab", metadata=(("x-beta", "1"),))
            assert (len(stable.calls), len(canary.calls)) == (1, 1)


STATE = {"phase": "paused", "step": 0, "target": 1, "begun": 1, "since": 1}
JUDGED = {"id": "v1", "steps": [1], "judge": True, "state": STATE}
FAULTS = {2, 4, 12, 13, 14, 15}


@pytest.mark.parametrize("code", [*range(17)])
async def test_a_status_of_grpc_is_one_of_the_server(tmp_path: Path, code: int) -> None:
    """As Envoy counts them: those that stand for 5xx are its fault."""
    log, is_fault = AccessLog(tmp_path / "log"), code in FAULTS
    with grpc_server() as server:
        arms = {"stable": arm(closed_url()), "canary": arm(h2c(server), fallback=None)}
        async with calling(arms, log, rollout=JUDGED) as called:
            if code:
                assert (await called.ask("fail", b"%d" % code))[0] == code
            else:
                await called.ask("unary", b"ab")
            state = called.proxy.server_state("canary")
            assert (state.requests, state.failures) == (1, int(is_fault))
            assert called.proxy.counts("canary")[:2] == (1, int(is_fault))
            stands_for = 5 if is_fault else 4 if code else 2
            assert counts_of(called) == {stands_for: 1}
            live = called.proxy.runtime.live
            assert live is not None
            assert live.counting is not None
            told = live.counting.evidence().arms["canary"]
            assert (told.requests, told.errors) == (1, int(is_fault))
            with trio.move_on_after(0.1):
                await log.run()
    line = (tmp_path / "log").read_text()
    assert '"status":200,' in line
    assert f'"grpc_status":{code}' in line


async def test_an_error_of_ours_is_logged_as_it_was_said(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    arms = {"stable": arm(closed_url()), "canary": arm(closed_url(), fallback=None)}
    async with calling(arms, log) as called:
        assert (await called.ask("unary", b"ab"))[0] == 14
        with trio.move_on_after(0.1):
            await log.run()
    (line,) = (tmp_path / "log").read_text().splitlines()
    said = json.loads(line)
    assert (said["status"] // 100, said["grpc_status"]) == (5, 14)


async def test_who_calls_too_often_is_told_so(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    limit = {"name": "each", "requests": 1, "per": 3600}
    with grpc_server() as server:
        arms = {"stable": arm(h2c(server))}
        access = {"rate_limits": [limit]}
        async with calling(arms, log, ratio=0, access=access) as called:
            assert await called.ask("unary", b"ab") == b"ba"
            code, words = await called.ask("unary", b"ab")
            assert counts_of(called) == {2: 1, 4: 1}
            with trio.move_on_after(0.1):
                await log.run()
        assert len(server.calls) == 1
    said = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert code == 8  # RESOURCE_EXHAUSTED
    assert "the limit each allows" in words
    assert (said["status"], said["grpc_status"]) == (429, 8)


def counts_of(called: Called) -> dict[int, int]:
    """Give how many ended, by the hundreds of their statuses."""
    found: dict[int, int] = {}
    for counts in called.observer.counters.routes.values():
        for hundreds, count in enumerate(counts):
            if count:
                found[hundreds] = found.get(hundreds, 0) + count
    return found


async def test_a_server_that_fails_by_grpc_is_ejected() -> None:
    with grpc_server() as bad, grpc_server() as good:
        canary = arm(h2c(bad), ejection={"failures": 3}, panic_threshold=0)
        arms = {"stable": arm(h2c(good)), "canary": canary}
        async with calling(arms) as called:
            for _ in range(3):
                assert (await called.ask("fail_late"))[0] == 13
            state = called.proxy.server_state("canary")
            assert state.failures == 3
            assert state.record.in_a_row == 3 or state.ejected_until


async def test_no_server_is_said_as_grpc_does() -> None:
    arms = {
        "stable": arm("h2c://127.0.0.1:1"),
        "canary": arm(closed_url().replace("http:", "h2c:"), fallback=None),
    }
    async with calling(arms) as called:
        code, words = await called.ask("unary", b"ab")
        assert code == 14
        assert "unreachable" in words


async def test_a_client_of_http1_uses_a_server_of_http2() -> None:
    async def script(request: H2Request) -> None:
        assert await request.whole() == b"hello"
        await request.answer(b"h2", [(b":status", b"200"), (b"content-length", b"2")])

    async with h2_server(script) as server:
        arms = {
            "stable": arm(f"h2c://127.0.0.1:{server.port}"),
            "canary": arm("http://a"),
        }
        async with proxied(arms, ratio=0) as proxy, connected(proxy.server) as client:
            head, body = await client.ask(b"/", method=b"POST", body=b"hello")
    assert (head[:12], body) == (b"HTTP/1.1 200", b"h2")


async def test_a_server_may_change_what_it_speaks() -> None:
    async with fake_upstream(says_canary) as fake:
        url = f"http://127.0.0.1:{fake.port}"
        arms = {"stable": arm(url.replace("http:", "h2c:"))}
        async with proxied(arms, ratio=0) as proxy, connected(proxy.server) as client:
            head, _ = await client.ask()
            assert b" 502 " in head
            await proxy.install({"arms": {"stable": arm(url)}})
            assert (await client.ask())[1] == b"canary"


# === health ===


class _Health(grpc.GenericRpcHandler):  # type: ignore[misc]
    """`grpc.health.v1`, by hand."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer = SERVING

    def service(self, details: Any) -> Any:
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        return grpc.unary_unary_rpc_method_handler(self.check)

    def check(self, message: bytes, context: Any) -> bytes:
        self.asked.append(message)
        if message == b"\x0a\x04gone":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self.answer


async def checked(port: int, rule: Health) -> str:
    """Ask a server once; give what is wrong."""
    arms = {"stable": arm(f"h2c://127.0.0.1:{port}")}
    (server,) = load(json.dumps({"arms": arms})).arms["stable"].servers
    upstream = make_upstream(server, target_of(server, UpstreamTls()), TlsContexts())
    with trio.fail_after(WAIT_S):
        return find_fault(rule, await ask_by_fetch(upstream, request(rule, upstream)))


async def test_a_server_is_asked_by_the_health_protocol_of_grpc() -> None:
    health = _Health()
    with grpc_server(health) as server:
        assert await checked(server.port, Health(grpc="pkg.Service")) == ""
        assert await checked(server.port, Health(grpc="")) == ""
        assert health.asked == [b"\x0a\x0bpkg.Service", b""]
        assert await checked(server.port, Health(grpc="gone")) == "grpc-status 5"
        health.answer = NOT_SERVING
        assert "SERVING" in await checked(server.port, Health(grpc=""))
    with grpc_server() as server:
        assert await checked(server.port, Health(grpc="")) == "grpc-status 12"


async def test_a_server_of_http2_may_be_asked_by_get() -> None:
    async def script(asked: H2Request) -> None:
        status = b"204" if asked.get(b":path") == b"/well" else b"500"
        await asked.answer(b"", [(b":status", status)])

    async with h2_server(script) as server:
        assert await checked(server.port, Health(path="/well")) == ""
        assert await checked(server.port, Health(path="/ill")) == "status 500"
        assert "no response of gRPC" in await checked(server.port, Health(grpc=""))


# === mirrors ===


async def test_a_call_in_one_piece_is_mirrored() -> None:
    with grpc_server() as stable, grpc_server() as canary:
        arms = {"stable": arm(h2c(stable)), "canary": arm(h2c(canary))}
        mirror = {"arm": "canary", "share": 1, "methods": ["POST"]}
        async with calling(arms, ratio=0, mirror=mirror) as called:
            assert await called.ask("unary", b"ab") == b"ba"
            learnt = called.observer.mirror_counters.of_arm("canary")
            with trio.fail_after(30):
                while not learnt.outcomes[MirrorOutcome.SAME]:
                    await trio.sleep(0.01)
            assert canary.calls == ["unary"]
            assert not learnt.skips[Skip.BODY]
