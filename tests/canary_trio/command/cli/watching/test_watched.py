"""What `canary watch` shows: the newest that is known, and how old that is."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
import trio
from rich.console import Console

from canary_trio.admin.asking.client import AdminCredentials
from canary_trio.admin.asking.overview import Overview
from canary_trio.command.cli.watching.watch import look_once
from canary_trio.command.cli.watching.watch_table import picture
from canary_trio.command.cli.watching.watched import Watched
from canary_trio.control.changes.pending import PendingChange
from canary_trio.control.fleet.report import Fleet, Report
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on

NOW = 1000.0
ARM = {
    "asked_share": 0.5,
    "decisions": 10,
    "requests": 10,
    "errors": 1,
    "latency": {"1000": 10},
    "minute": {"seconds": 10.0, "requests": 10, "errors": 1, "latency": {"1000": 10}},
    "in_flight": 2,
    "usable_servers": 1,
    "panic": False,
    "servers": [{}],
}


def status(id_: str, **more: Any) -> dict[str, Any]:
    store = {"last_contact_age_s": 0.5, "stale": False}
    return {"service": "web", "id": id_, "arms": {"v2": ARM}, "store": store, **more}


def watched(*ids: str, pending: PendingChange | None = None) -> Watched:
    reports = tuple(Report(one, 7, 7, address="a:1", admin=f"{one}:1") for one in ids)
    found = Watched("web")
    found.take(Overview("web", b"{}", Fleet(7, reports), (), pending, NOW))
    found.hear({f"{one}:1": status(one) for one in ids}, NOW)
    return found


def drawn(found: Watched, now: float) -> str:
    console = Console(file=StringIO(), width=160, force_terminal=False)
    console.print(picture(found, now))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_arms_are_of_the_whole_fleet() -> None:
    line = watched("one", "two").line(NOW)

    assert line.startswith("web: revision 7, live on 2/2 proxies | v2: asked 0.5")
    assert "2.0/s, errors 10.00%, p50 0.5 ms, p99 0.99 ms, 2/2 ready" in line


def test_a_lost_store_leaves_what_was_known_with_its_age() -> None:
    found = watched("one")
    found.lose("cannot be reached\x1b[2J")

    for text in (found.line(NOW + 75), drawn(found, NOW + 75)):
        assert (
            "revision 7, live on 1/1 proxies; as of 1 min 15 s ago: cannot be" in text
        )
        assert "\x1b[2J" not in text
    assert json.loads(found.as_json(NOW + 75))["age_s"] == 75


def test_a_lost_proxy_leaves_what_it_said_with_its_age() -> None:
    found = watched("one", "two")
    found.hear({"one:1": status("one"), "two:1": "no response within 2 s"}, NOW + 9)

    assert found.rows["v2"].requests == 20
    line = found.line(NOW + 9)
    assert "two: as of 9 s ago: no response within 2 s" in line
    assert "one: as of" not in line
    found.hear({"one:1": status("one"), "two:1": status("two")}, NOW + 10)
    assert "as of" not in found.line(NOW)


def test_a_proxy_that_is_gone_counts_no_more() -> None:
    found = watched("one", "two")
    found.hear({"one:1": status("one")}, NOW)

    assert found.rows["v2"].requests == 10


def test_a_proxy_that_never_said_anything_is_shown() -> None:
    found = watched("one")
    found.hear({"one:1": "it asks for a token"}, NOW)
    found.statuses.clear()
    found.heard.clear()

    assert list(found.proxies(NOW)) == [
        ("one", "a:1", "7", "-", "-", "it asks for a token")
    ]


@pytest.mark.parametrize("odd", [{}, {"arms": 3}, {"arms": {"v2": 1}, "store": None}])
def test_what_is_odd_is_no_end_of_it(odd: Any) -> None:
    found = watched("one")
    found.hear({"one:1": {"service": "web", **odd}}, NOW)

    assert "live on 1/1" in found.line(NOW)
    assert "one" in drawn(found, NOW)
    json.loads(found.as_json(NOW))


def test_what_waits_is_marked_and_counts_down() -> None:
    until = round((NOW + 42) * 1000)
    waits = PendingChange("{}", 6, "anna", "", round((NOW - 18) * 1000), until, 7)
    found = watched("one", pending=waits)

    assert ">>> revision 7 by anna goes back to revision 6 in 42 s" in found.line(NOW)
    assert "in 12 s" in drawn(found, NOW + 30)


def test_before_the_first_answer_it_says_what_is_the_matter() -> None:
    found = Watched("web")
    found.lose("no document")

    assert found.line(NOW) == "web: no document"
    assert "no document" in drawn(found, NOW)
    assert json.loads(found.as_json(NOW))["revision"] is None


async def test_a_store_and_a_proxy_are_watched_and_lost() -> None:
    shown = AdminCredentials()
    found = Watched("web")
    async with in_memory_store() as client:
        async with proxy_on(client, proxy_id="one"):
            with trio.fail_after(30):
                while not found.statuses:
                    await look_once(client, found, shown)  # type: ignore[arg-type]
            assert "live on 1/1 proxies" in found.line(found.overview.at)  # type: ignore[union-attr]
            assert any("by hand" in line or "*" in line for line in found.changes)
        with trio.fail_after(30):
            while found.statuses:
                await look_once(client, found, shown)  # type: ignore[arg-type]
        assert "live on 0/0" in found.line(found.overview.at)  # type: ignore[union-attr]
    async with Client("http://127.0.0.1:1") as nobody:
        await look_once(nobody, found, shown)  # type: ignore[arg-type]

    assert found.fault
    assert "revision" in found.line(NOW)
