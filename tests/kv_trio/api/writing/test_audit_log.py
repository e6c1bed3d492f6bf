"""The audit log: all writes, in order, and what is lost is said."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from kv_trio import Client, StoreRefused, TxnOperation, serve
from kv_trio.api.tokens import make_token
from kv_trio.api.writing import audit_log
from kv_trio.api.writing.audit_lines import WrittenBy
from kv_trio.api.writing.audit_log import AuditLog
from kv_trio.errors import BadAuditLog
from kv_trio.serving import KvServer

ANN = WrittenBy("ann", "10.0.0.1")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line]


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not holds():
            await trio.sleep(0.005)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[KvServer, AuditLog, str]]:
    """Serve a store with a token that may write below a/, and an audit log."""
    secret, lines = make_token("ann", [], ["a/"])
    boss, more = make_token("boss", [], [""])
    (tmp_path / "tokens").write_text(lines + more)
    audit = AuditLog(tmp_path / "audit")
    start = partial(serve, ["127.0.0.1:0"], tokens=tmp_path / "tokens", audit=audit)
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(start)
        yield server, audit, f"{secret} {boss}"
        nursery.cancel_scope.cancel()


async def test_each_write_is_told_with_who_made_it(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, audit, secrets):
        secret, boss = secrets.split()
        async with Client(server.url, token=secret) as ann:
            first = await ann.put("a/x", b"hidden")
            await ann.put("a/x", b"hidden", cas=1)
            await ann.get("a/x")
            await ann.transact([TxnOperation("get", "a/x")])
            txn = await ann.transact([TxnOperation("set", "a/y", b"hidden")])
            await ann.delete("a/x")
            session = await ann.create_session("s", 10, deletes=True)
            await ann.destroy_session(session)
            with pytest.raises(StoreRefused):
                await ann.put("b", b"hidden")
        async with Client(server.url, token="stolen") as thief:
            with pytest.raises(StoreRefused):
                await thief.put("a/x", b"hidden")
        async with Client(server.url, token=boss) as chief:
            await chief.compact()
        await until(lambda: audit.written == 9)
        metrics = server._service._metrics.render()
    text = (tmp_path / "audit").read_text()
    assert "hidden" not in text
    assert secret not in text
    found = lines_of(tmp_path / "audit")
    assert [(one["token"], one["do"], one["done"]) for one in found] == [
        ("ann", "put", True),
        ("ann", "put", False),
        ("ann", "txn", True),
        ("ann", "delete", True),
        ("ann", "session-create", True),
        ("ann", "session-destroy", True),
        ("ann", "PUT /v1/kv/b", False),
        ("", "PUT /v1/kv/a/x", False),
        ("boss", "PUT /v1/compact", True),
    ]
    assert (found[0]["index"], found[2]["index"]) == (first.index, txn.index)
    assert {one["from"] for one in found} == {"127.0.0.1"}
    assert b'kv_trio_audit_lines_total{outcome="written"} 9.0' in metrics
    assert b'kv_trio_audit_lines_total{outcome="lost"} 0.0' in metrics


async def test_a_log_that_was_moved_is_opened_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, audit, secrets):
        async with Client(server.url, token=secrets.split()[0]) as ann:
            await ann.put("a/1", b"")
            await until(lambda: audit.written == 1)
            (tmp_path / "audit").rename(tmp_path / "audit.1")
            server.reload()
            await until((tmp_path / "audit").exists)
            await ann.put("a/2", b"")
            await until(lambda: audit.written == 2)
    assert [one["key"] for one in lines_of(tmp_path / "audit.1")] == ["a/1"]
    assert [one["key"] for one in lines_of(tmp_path / "audit")] == ["a/2"]


async def test_what_a_full_disk_does_not_take_waits_and_then_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_log, "BUFFER_BYTES", 1000)
    monkeypatch.setattr(audit_log, "RETRY_S", 0.001)
    is_full, real = True, os.write

    def write(fd: int, data: bytes) -> int:
        if not is_full or fd != log._fd:
            return real(fd, data)
        if tries:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tries.append(1)
        return real(fd, data[:30])  # so much fits still: a line is torn

    log, tries = AuditLog(tmp_path / "audit"), list[int]()
    monkeypatch.setattr("os.write", write)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for number in range(40):
            log.record_request(ANN, f"PUT /{number}", "")
        await until(lambda: "cannot be written: No space left on device" in caplog.text)
        assert log.written == 0
        lost = log.lost
        assert 0 < lost < 40
        is_full = False
        await until(lambda: log.written == 40 - lost)
        log.record_request(ANN, "PUT /last", "")
        await until(lambda: log.written == 41 - lost)
        nursery.cancel_scope.cancel()

    torn, *whole = (tmp_path / "audit").read_bytes().splitlines()
    assert len(torn) == 30
    found = [json.loads(line) for line in whole]
    told = [one["lost"] for one in found if "lost" in one]
    assert told == [lost]
    asked = [one["do"] for one in found if "do" in one]
    assert asked == [*(f"PUT /{n}" for n in range(40 - lost)), "PUT /last"]
    said = caplog.text
    assert said.count("cannot be written") == 1
    assert said.count("lines of the audit log are lost") == 1
    assert f"written again; {lost} lines of it were lost in all" in said


async def test_the_last_lines_are_written_when_it_ends(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(100):
            log.record_request(ANN, f"PUT /{number}", "")
        nursery.cancel_scope.cancel()
    assert len(lines_of(tmp_path / "audit")) == 100


async def test_a_reader_that_hangs_does_not_keep_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_log, "LAST_S", 0.05)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    log = AuditLog(tmp_path / "pipe")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for _ in range(400):
            log.record_request(ANN, "PUT /" + "x" * 500, "")
        await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    os.close(reader)  # which lets the thread go that still writes
    assert "lines of the audit log are lost" in caplog.text


@pytest.mark.parametrize("where", ["missing/log", "."])
def test_a_log_that_cannot_be_opened_is_an_error(tmp_path: Path, where: str) -> None:
    with pytest.raises(BadAuditLog, match=r"cannot open the audit log .*: "):
        AuditLog(tmp_path / where)
