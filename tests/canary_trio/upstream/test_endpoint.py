"""The contexts in which servers are talked to, when their files change."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from canary_trio.config.model import Arm, Server
from canary_trio.config.policies import UpstreamTls
from canary_trio.upstream import endpoint
from canary_trio.upstream.endpoint import TlsContexts, make_upstream, target_of
from http_trio.net import tls_context
from tests.http_trio.support.certificates import Authority


async def test_what_cannot_be_read_for_now_is_taken_up_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files change no more, and so nothing else would tell."""
    monkeypatch.setattr(endpoint, "LOOK_S", 0.01)
    authority = Authority(tmp_path)
    cert, key = authority.issue("old.example")
    tls = UpstreamTls(client_cert=str(cert), client_key=str(key))
    server = Server("https://127.0.0.1:1")
    contexts, tries = TlsContexts(), 0

    def refuse(file: Path, _: int) -> bytes:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file))

    await contexts.prepare([Arm((server,), tls=tls)])
    before = contexts.of(tls)
    target = target_of(server, tls)
    upstreams = {target: make_upstream(server, target, contexts)}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(contexts.watch, upstreams)
        with monkeypatch.context() as lacking, trio.fail_after(30):
            lacking.setattr(tls_context, "read_file", refuse)
            authority.issue("new.example")
            while tries < 10:
                await trio.sleep(0.01)
            assert contexts.of(tls) is before
        with trio.fail_after(30):
            while contexts.of(tls) is before:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    said = [r.message for r in caplog.records if "stays in use" in r.message]
    assert len(said) == 1
    assert "Too many open files" in said[0]
