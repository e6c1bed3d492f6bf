"""What `canary set` says of a write that the wait behind it cannot confirm."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from canary_trio.cli.main import main
from canary_trio.control import documents
from canary_trio.control.report import Fleet
from kv_trio import StoreRefused, StoreUnreachable

DOCUMENT = {"arms": {"stable": {"servers": ["http://a"]}}, "ratio": 0}


def replace_revision_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a store whose document is revision 7, and takes another one."""

    async def read(*_: Any) -> tuple[bytes, int]:
        return json.dumps(DOCUMENT).encode(), 7

    async def write(*_: Any, over: int) -> int:
        return over + 1

    monkeypatch.setattr(documents, "read_document", read)
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
    monkeypatch.setattr(documents, "wait_applied", wait)
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
    monkeypatch.setattr(documents, "wait_applied", never)
    monkeypatch.setattr(documents, "read_fleet", never)
    monkeypatch.setattr("canary_trio.cli.documents.LAST_LOOK_S", 0.02)
    command = ["set", "web", "update_rate=9", "--config-server", "http://127.0.0.1:1"]
    ran = CliRunner().invoke(main, [*command, "--wait", "0.01"])
    assert ran.exit_code == 3
    assert "http://127.0.0.1:1: no response in 0.02 s" in ran.output
