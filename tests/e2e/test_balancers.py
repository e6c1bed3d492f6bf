"""A real HAProxy in front: the client that it names is the one that rules and logs see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import world
from tests.http_trio.support.certificates import Authority

needs_haproxy = pytest.mark.skipif(
    shutil.which("haproxy") is None or shutil.which("curl") is None,
    reason="HAProxy or curl is not installed",
)

CLIENT = "127.0.0.9"
CONFIG = """
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
frontend clients
    mode {mode}
    bind 127.0.0.1:{port}
    default_backend canary
backend canary
    mode {mode}
    {more}
    server c1 {address} {how}
"""


@needs_haproxy
@pytest.mark.parametrize(
    ("mode", "more", "how", "tls"),
    [
        ("http", "option forwardfor", "", False),
        ("tcp", "", "send-proxy", False),
        ("tcp", "", "send-proxy-v2", False),
        ("tcp", "", "send-proxy-v2", True),
        ("tcp", "", "send-proxy-v2 proxy-v2-options crc32c,ssl", False),
    ],
    ids=["x-forwarded-for", "v1", "v2", "v2 before tls", "v2 with a checksum"],
)
async def test_haproxy_names_the_client(
    tmp_path: Path, mode: str, more: str, how: str, tls: bool
) -> None:
    cert, key = Authority(tmp_path).issue(stem="proxy")
    secure = ("--tls-cert", cert, "--tls-key", key, "--tls-bind", "127.0.0.1:0")
    words = secure if tls else ("--bind", "127.0.0.1:0")
    proxy_protocol = ("--proxy-protocol",) if mode == "tcp" else ()
    rules = [{"network": f"{CLIENT}/32", "arm": "canary"}]
    log, port = tmp_path / "log", free_port()
    async with world(tmp_path) as made:
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url, *words),
            *("--admin", "127.0.0.1:0", "--access-log", log, "--trust", "127.0.0.1"),
            *("--bootstrap", made.write(rules=rules), *proxy_protocol),
        )
        match = await process.says(r"listens on (?:https://)?([\d.:]+), admin")
        await process.says("runs revision")
        file = tmp_path / "haproxy.cfg"
        file.write_text(
            CONFIG.format(mode=mode, more=more, how=how, port=port, address=match[1])
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.run_process, ["haproxy", "-db", "-f", str(file)])
            url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/"
            said = await trio.run_process(
                [
                    "curl",
                    "-sk",
                    "--retry",
                    "20",
                    "--retry-connrefused",
                    "--retry-delay",
                    "1",
                    "--max-time",
                    "20",
                    "--interface",
                    CLIENT,
                    "-H",
                    "X-Forwarded-For: 6.6.6.6",
                    url,
                ],
                capture_stdout=True,
            )
            nursery.cancel_scope.cancel()
        assert said.stdout == b"v2"
        with trio.fail_after(10):
            while not log.exists() or not log.read_text():
                await trio.sleep(0.05)
        assert json.loads(log.read_text().splitlines()[0])["client"] == CLIENT
