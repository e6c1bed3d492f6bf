"""Names that do not resolve for now: no lack and no odd error ends the asking for good."""

from __future__ import annotations

import errno
import itertools
import json
import socket
import sys
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from canary_trio.config.model import Server
from canary_trio.config.policies import UpstreamTls
from canary_trio.upstream.dns import RESOLVE_AGAIN_S, Resolver
from canary_trio.upstream.endpoint import TlsContexts, make_upstream, target_of
from http_trio import Address, Upstream

ADDRESS: Address = (socket.AF_INET, ("192.0.2.1", 80))
OTHER: Address = (socket.AF_INET, ("192.0.2.2", 80))


def named() -> tuple[Server, Upstream]:
    server = Server("http://web.example:80")
    tls = UpstreamTls()
    return server, make_upstream(server, target_of(server, tls), TlsContexts())


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        socket.gaierror(socket.EAI_SYSTEM, "System error"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        RuntimeError("can't start new thread"),
        UnicodeError("label too long"),
        MemoryError(),
    ],
    ids=repr,
)
async def test_a_name_keeps_its_addresses_and_is_asked_for_again(
    error: Exception,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[Sequence[Address] | Exception] = [[ADDRESS], *[error] * 20, [OTHER]]
    asked_at: list[float] = []

    async def resolve(host: str, port: int) -> Sequence[Address]:
        assert (host, port) == ("web.example", 80)
        asked_at.append(trio.current_time())
        answer = answers.pop(0) if answers else [OTHER]
        if isinstance(answer, Exception):
            raise answer
        return answer

    server, upstream = named()
    resolver = Resolver(resolve)
    resolver.add(server, upstream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.keep)
        while len(asked_at) < 21:
            await trio.sleep(1)
            assert upstream.addresses == (ADDRESS,)
        while answers:
            await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert upstream.addresses == (OTHER,)
    pauses = [b - a for a, b in itertools.pairwise(asked_at[1:])]
    assert pauses[0] >= 1
    assert max(pauses) <= RESOLVE_AGAIN_S + 1
    assert len([r for r in caplog.records if "does not resolve" in r.message]) == 1


_LACKING = """
import json, os, resource, sys, trio
from canary_trio.upstream import dns
from canary_trio.upstream.dns import Resolver, resolve_by_system
from tests.canary_trio.upstream.test_dns import named

async def main():
    server, upstream = named()
    server = type(server)("http://localhost:80")
    asked = 0

    async def resolve(host, port):
        nonlocal asked
        asked += 1
        if asked == 2:  # no descriptor is left from here on
            used = {int(name) for name in os.listdir("/proc/self/fd")}
            while True:
                try:
                    os.dup(0)
                except OSError:
                    break
        if asked == 4:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        return await resolve_by_system(host, port)

    resolver = Resolver(resolve)
    resolver.add(server, upstream)
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.keep)
        for _ in range(4):
            with trio.fail_after(20):
                before = asked
                while asked == before or resolver._names[upstream].due == float("inf"):
                    resolver.refresh_soon(upstream)
                    await trio.sleep(0.02)
            name = resolver._names[upstream]
            seen.append([asked, name.failures, len(upstream.addresses) > 0])
        nursery.cancel_scope.cancel()
    print(json.dumps(seen))

dns.RESOLVE_FAILED_S = 0.1
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
trio.run(main)
"""


async def test_without_a_descriptor_the_system_is_asked_again() -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-c", _LACKING], capture_stdout=True
        )
    seen = json.loads(done.stdout)
    assert [has for _, _, has in seen] == [True] * 4
    assert seen[-1][1] == 0
    assert any(failures for _, failures, _ in seen), "there was no lack"
