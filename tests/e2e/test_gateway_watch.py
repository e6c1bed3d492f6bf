"""What many gateways cost one Consul, which lets an address have 200 connections."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio import Proxy, ProxyOptions, change, serve, wait_applied
from kv_trio import Client, TxnOperation
from tests.e2e.test_gateway import CONSUL, consul

GATEWAYS = 20
SERVICES = 20
LIMIT = 200

pytestmark = pytest.mark.skipif(
    CONSUL is None, reason="no Consul; benchmarks/README.md tells how to get one"
)


def connections_to(port: int) -> int:
    """Count the connections that were begun to a port of this machine."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    ends = [line.split()[2:4] for line in lines]
    return sum(
        to.endswith(f":{port:04X}") and state in ("01", "02") for to, state in ends
    )


async def note_most(port: int, found: list[int]) -> None:
    while True:
        found.append(connections_to(port))
        await trio.sleep(0.005)


async def fill(client: Client) -> None:
    arms = {"stable": {"servers": ["http://127.0.0.1:9"]}}
    text = json.dumps({"arms": {**arms, "canary": arms["stable"]}}).encode()
    await client.transact(
        [TxnOperation("set", f"canary/s{n}/config", text) for n in range(SERVICES)]
    )
    routes = [{"host": f"s{n}.org", "service": f"s{n}"} for n in range(SERVICES)]
    await client.put("canary/@edge/config", json.dumps({"routes": routes}).encode())


async def test_twenty_gateways_stay_below_its_limit() -> None:
    most: list[int] = []
    async with consul() as url, Client(url) as client:
        await fill(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(note_most, int(url.rpartition(":")[2]), most)
            proxies: list[Proxy] = []

            async def begin(number: int) -> None:
                options = ProxyOptions(
                    config_server=url,
                    binds=["127.0.0.1:0"],
                    admin="127.0.0.1:0",
                    remember=False,
                    proxy_id=f"g{number}",
                )
                proxies.append(await nursery.start(partial(serve, "@edge", options)))

            with trio.fail_after(60):
                async with trio.open_nursery() as starting:
                    for number in range(GATEWAYS):
                        starting.start_soon(begin, number)
                revision = await change(client, "s7", "ratio=0.5")
                fleet = await wait_applied(client, "s7", revision, expect=GATEWAYS)
            assert len(fleet.live) == GATEWAYS
            nursery.cancel_scope.cancel()
    assert GATEWAYS <= max(most) < LIMIT, max(most)
