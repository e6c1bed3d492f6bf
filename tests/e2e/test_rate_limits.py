"""Limits of the rate of requests that real workers count together."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from tests.e2e.processes import connected_to, world
from tests.e2e.test_workers import get

LIMIT = {"name": "all", "requests": 20, "per": 86400, "by": "service"}


async def codes(address: str, times: int) -> Counter[bytes]:
    """Ask over a connection for each request; give the statuses."""
    found: Counter[bytes] = Counter()
    for _ in range(times):
        async with connected_to(address) as client:
            head, _ = await client.ask()
            found[head.split()[1]] += 1
    return found


async def test_workers_refuse_at_the_right_number(tmp_path: Path) -> None:
    async with world(tmp_path) as made:
        limits: dict[str, Any] = {"access": {"rate_limits": [LIMIT]}}
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url),
            *("--admin", "127.0.0.1:0", "--workers", 2, "--bind", "127.0.0.1:0"),
            *("--bootstrap", made.write(**limits)),
        )
        match = await process.says(r"listens on ([\d.:]+)\S*.*, admin on (\S+), 2 work")
        await process.says("runs revision")
        address, admin = match.groups()

        assert await codes(address, 32) == {b"200": 20, b"429": 12}
        table = (await get(admin, "/status")).json()
        of_each = [one["status"]["rate_limits"]["all"] for one in table["workers"]]
        assert table["rate_limits"]["all"] == {
            "passed": 20,
            "refused": 12,
            "dry_run": 0,
        }
        assert all(sum(one.values()) for one in of_each), "both had some of them"
        metrics = (await get(admin, "/metrics")).text
        found = re.findall(r"canary_rate_limit_requests_total{(.*)} (.*)", metrics)
        labels = 'limit="all",outcome="refused",service="web"'
        assert {",".join(sorted(o.split(","))): n for o, n in found}[labels] == "12.0"

        # a worker that is started again finds what was counted
        os.kill(table["workers"][0]["pid"], signal.SIGKILL)
        await process.says("it is started again")
        with trio.fail_after(40):
            while (await get(admin, "/ready")).status_code != 200:
                await trio.sleep(0.05)
        assert await codes(address, 8) == {b"429": 8}
