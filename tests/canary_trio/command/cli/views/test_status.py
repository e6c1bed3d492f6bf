"""What `canary services` says of what stands in the store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from canary_trio.command.cli.main import main
from canary_trio.command.cli.options import store_options
from canary_trio.control.fleet.report import Refusal, Report, Sighting
from canary_trio.errors import Problem
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT

ROUTES = [
    {"host": "a.org", "service": "web"},
    {"path_prefix": "/new", "service": "new"},
    {"host": "b.org", "to": "/x"},
]


async def fill(client: Client) -> int:
    table, web = json.dumps({"routes": ROUTES}), json.dumps(DOCUMENT)
    await client.put("canary/@edge/config", table.encode())
    await client.put("canary/odd/config", b'{"arms": 3, "ratio": 7}')
    revision = (await client.put("canary/web/config", web.encode())).index
    refused = Refusal(revision, (Problem("$.x", "a", "b"),))
    for report in (
        Report("live", revision, revision, address="h:1"),
        Report("late", revision - 1, revision - 1, address="h:2"),
        Report("refuses", 0, revision, refused, address="h:3"),
        Report("stays", revision, revision, address="h:4", move="no document there"),
    ):
        await client.put(f"canary/web/proxies/{report.id}", report.dump())
    gone = Sighting("gone", "h:5", 2.0**52)
    await client.put("canary/web/proxies/gone/seen", gone.dump())
    await client.put("canary/no name/config", b"7")
    return revision


def test_services_are_listed_with_what_is_the_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    revision = 0

    def ask(_: str, question: Callable[[Client], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            nonlocal revision
            async with in_memory_store() as client:
                revision = await fill(client)
                return await question(client)

        return trio.run(asked)

    monkeypatch.setattr(store_options, "ask", ask)
    ran = CliRunner().invoke(main, ["services"])
    assert ran.exit_code == 0, ran.output
    assert ran.output == (
        f"@edge: revision {revision - 2}, live on 0/0 proxies\n"
        "  a.org / -> web\n"
        "  * /new -> new, which has no document\n"
        "  b.org / -> 308 to /x\n"
        f"odd: revision {revision - 1}, live on 0/0 proxies; not valid: $.arms: found 3,"
        ' expected a table such as {"stable": {"servers": [...]}} and 1 more\n'
        f"web: revision {revision}, live on 1/4 proxies: stable 1\n"
        f"  proxy late  h:2  runs {revision - 1}\n"
        "  proxy live  h:1\n"
        f"  proxy refuses  h:3  runs nothing, refused {revision}\n"
        "  proxy stays  h:4  has not moved to the document's store: no document there\n"
        "  gone  h:5  last seen a moment ago\n"
    )
    found = json.loads(CliRunner().invoke(main, ["services", "--json"]).output)
    assert set(found) == {"@edge", "odd", "web"}
    assert [one["id"] for one in found["web"]["missing"]] == ["gone"]
