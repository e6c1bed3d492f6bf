"""What is refused or warned of before, or instead of, being served."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio import ProxyOptions, serve
from canary_trio.command.process.log_options import LogOptions
from canary_trio.command.process.supervisor import supervise
from canary_trio.errors import AdminExposed
from http_trio import BadCertificate
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on


@pytest.mark.parametrize("admin", ["0.0.0.0:0", "[::]:0", ":0"])
async def test_an_admin_listener_for_everybody_is_refused(admin: str) -> None:
    options = ProxyOptions(binds=["127.0.0.1:0"], admin=admin, remember=False)
    with trio.fail_after(30), pytest.raises(AdminExposed, match="--admin-open"):
        await serve("web", options)


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_words_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    options = ProxyOptions(binds=["127.0.0.1:0"], admin="0.0.0.0:0", remember=False)
    start: Callable[[], Awaitable[object]] = partial(serve, "web", options)
    if workers > 1:
        start = partial(supervise, "web", workers, options, LogOptions())
    with trio.fail_after(30), pytest.raises(AdminExposed, match="--admin-token-file"):
        await start()


async def test_authorities_that_are_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    options = ProxyOptions(
        binds=["127.0.0.1:0"], admin="127.0.0.1:0", ca_file=str(pipe), remember=False
    )
    with trio.fail_after(30), pytest.raises(BadCertificate, match="regular file"):
        await serve("web", options)


async def test_an_arms_authorities_that_are_a_pipe_refuse_the_document(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    arm = {"servers": ["https://127.0.0.1:9"], "tls": {"ca": str(pipe)}}
    arms = DOCUMENT["arms"] | {"canary": arm}
    async with in_memory_store() as client, proxy_on(client) as proxy:
        good = proxy.revision
        document = json.dumps({"arms": arms}).encode()
        await client.put("canary/web/config", document)
        with trio.fail_after(30):
            while not proxy.status()["failed"]:
                await trio.sleep(0.01)

        assert proxy.revision == good
        assert "regular file" in str(proxy.status()["failed"])
