"""What is refused or warned of before, or instead of, being served."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio

from canary_trio import ProxyOptions, serve
from canary_trio.serving.listeners import admin_names
from http_trio import BadCertificate
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on


@pytest.mark.parametrize(
    ("admin", "warned"),
    [
        *((f"{host}:8081", True) for host in ("0.0.0.0", "[::]", "")),
        *((bind, False) for bind in ("127.0.0.1:8081", "[::1]:8081", "unix:/a.sock")),
    ],
)
def test_an_admin_listener_for_everybody_is_told(
    admin: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    admin_names(ProxyOptions(admin=admin))

    assert ("open to every network" in caplog.text) == warned


async def test_authorities_that_are_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "ca.pem"
    os.mkfifo(pipe)
    options = ProxyOptions(
        binds=["127.0.0.1:0"], admin="127.0.0.1:0", ca_file=str(pipe), remember=False
    )
    with trio.fail_after(5), pytest.raises(BadCertificate, match="regular file"):
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
        with trio.fail_after(5):
            while not proxy.status()["failed"]:
                await trio.sleep(0.01)

        assert proxy.revision == good
        assert "regular file" in str(proxy.status()["failed"])
