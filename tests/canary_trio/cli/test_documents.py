"""What `canary set` says of a write that the wait behind it cannot confirm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from canary_trio.cli.main import main
from canary_trio.control import documents
from kv_trio import StoreRefused, StoreUnreachable

DOCUMENT = {"arms": {"stable": {"servers": ["http://a"]}}, "ratio": 0}


@pytest.mark.parametrize(
    "failure",
    [StoreUnreachable("http://127.0.0.1:1: gone"), StoreRefused(403, "ACL not found")],
    ids=["away", "refused"],
)
def test_what_is_written_and_not_confirmed_has_a_status_of_its_own(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: Any) -> tuple[bytes, int]:
        return json.dumps(DOCUMENT).encode(), 7

    async def write(*_: Any, over: int) -> int:
        return over + 1

    async def wait(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(documents, "read_document", read)
    monkeypatch.setattr(documents, "write_document", write)
    monkeypatch.setattr(documents, "wait_applied", wait)
    command = ["set", "web", "update_rate=9", "--config-server", "http://127.0.0.1:1"]
    ran = CliRunner().invoke(main, [*command, "--wait", "1"])
    assert ran.exit_code == 3
    assert "revision 8 written" in ran.output
    assert "where it is live is not known: " in ran.output
