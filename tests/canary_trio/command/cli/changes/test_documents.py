"""What `canary set` says of a write that the wait behind it cannot confirm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from canary_trio.command.cli.main import main
from canary_trio.control.changes import documents, reading, waiting
from canary_trio.control.fleet import applied
from canary_trio.control.fleet.report import Fleet, Report
from kv_trio import StoreRefused, StoreUnreachable

DOCUMENT = {"arms": {"stable": {"servers": ["http://a"]}}, "ratio": 0}


def replace_revision_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a store whose document is revision 7, and takes another one."""

    async def read(*_: Any) -> tuple[bytes, int]:
        return json.dumps(DOCUMENT).encode(), 7

    async def write(*_: Any, over: int, **__: Any) -> int:
        return over + 1

    async def nothing(*_: Any) -> waiting.Found:
        return waiting.Found()

    monkeypatch.setattr(waiting, "read_pending", nothing)
    monkeypatch.setattr(reading, "read_document", read)
    monkeypatch.setattr(documents, "write_document", write)


@pytest.mark.parametrize(
    "failure",
    [StoreUnreachable("http://127.0.0.1:1: gone"), StoreRefused(403, "ACL not found")],
    ids=["away", "refused"],
)
def test_what_is_written_and_not_confirmed_has_a_status_of_its_own(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: Any, **__: Any) -> None:
        raise failure

    replace_revision_seven(monkeypatch)
    monkeypatch.setattr(applied, "wait_applied", wait)
    command = ["set", "web", "update_rate=9", "--config-server", "http://127.0.0.1:1"]
    ran = CliRunner().invoke(main, [*command, "--wait", "1"])
    assert ran.exit_code == 3
    assert "revision 8 written" in ran.output
    assert "where it is live is not known: " in ran.output


def test_a_store_that_hangs_is_waited_for_little_longer_than_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_: Any, **__: Any) -> Fleet:
        await trio.sleep(5)
        return Fleet(8, ())

    replace_revision_seven(monkeypatch)
    monkeypatch.setattr(applied, "wait_applied", never)
    monkeypatch.setattr(applied, "read_fleet", never)
    monkeypatch.setattr("canary_trio.command.cli.changes.written.LAST_LOOK_S", 0.02)
    command = ["set", "web", "update_rate=9", "--config-server", "http://127.0.0.1:1"]
    ran = CliRunner().invoke(main, [*command, "--wait", "0.01"])
    assert ran.exit_code == 3
    assert "http://127.0.0.1:1: no response in 0.02 s" in ran.output


def waited(*words: str) -> Any:
    command = ["set", "web", "update_rate=9", "--config-server", "http://127.0.0.1:1"]
    return CliRunner().invoke(main, [*command, *words])


LIVE = Report("a", 8, 8), Report("b", 8, 8)
SHY = Report("c", 8, 8, move="http://b: no document there")


@pytest.mark.parametrize(
    ("reports", "words", "status", "said"),
    [
        (LIVE, (), 0, "live on 2/2 proxies"),
        (LIVE, ("--expect", "2"), 0, "live on 2/2 proxies"),
        (LIVE, ("--expect", "3"), 3, "canary: live on 2 proxies, expected 3"),
        ((*LIVE, SHY), (), 3, "c has not moved to the store of the document: http://b"),
        ((*LIVE, SHY), ("--expect", "2"), 3, "live on 2/3 proxies"),
        ((), (), 3, "revision 8 written; no proxy is live"),
        ((), ("--expect", "1"), 3, "no proxy appeared"),
    ],
    ids=str,
)
def test_what_is_waited_for(
    reports: tuple[Report, ...],
    words: tuple[str, ...],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def wait(*_: Any, until: Callable[[Fleet], bool], **__: Any) -> Fleet:
        fleet = Fleet(8, reports)
        if not until(fleet):
            await trio.sleep_forever()
        return fleet

    async def read(*_: Any) -> Fleet:
        return Fleet(8, reports)

    replace_revision_seven(monkeypatch)
    monkeypatch.setattr(applied, "wait_applied", wait)
    monkeypatch.setattr(applied, "read_fleet", read)
    ran = waited("--wait", "0.05", *words)
    assert (ran.exit_code, said in ran.output) == (status, True), ran.output


def test_the_first_proxy_is_not_waited_for_as_long_as_one_that_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    async def wait(*_: Any, until: Callable[[Fleet], bool], **__: Any) -> Fleet:
        seen.append(until(Fleet(8, ())))
        await trio.sleep(0.2)
        assert until(Fleet(8, LIVE))
        return Fleet(8, LIVE)

    async def read(*_: Any) -> Fleet:
        return Fleet(8, ())

    replace_revision_seven(monkeypatch)
    monkeypatch.setattr(applied, "wait_applied", wait)
    monkeypatch.setattr(applied, "read_fleet", read)
    monkeypatch.setattr("canary_trio.command.cli.changes.written.FIRST_S", 0.02)
    ran = waited("--wait", "20")
    assert (ran.exit_code, "with --expect N they are waited" in ran.output) == (3, True)
    assert waited("--wait", "20", "--expect", "2").exit_code == 0
    assert seen == [False, False]


@pytest.mark.parametrize(
    ("text", "status", "paths"),
    [
        ('{"arms": {"stable": {"servers": ["http://a:1"]}}}', 0, []),
        ('{"ratio": 7, "arms": 3}', 1, ["$.arms", "$.ratio"]),
        ("[", 1, ["$"]),
    ],
)
def test_faults_are_told_to_programs(
    text: str, status: int, paths: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "web.json"
    file.write_text(text)
    ran = CliRunner().invoke(main, ["validate", str(file), "--json"])

    said = json.loads(ran.output)
    assert (ran.exit_code, said["valid"]) == (status, not status)
    assert sorted(problem["path"] for problem in said["problems"]) == paths


def test_a_document_has_its_revision_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_revision_seven(monkeypatch)
    ran = CliRunner().invoke(main, ["get", "web", "--json"])

    assert json.loads(ran.output) == {
        "service": "web",
        "revision": 7,
        "document": DOCUMENT,
        "pending": None,
    }
