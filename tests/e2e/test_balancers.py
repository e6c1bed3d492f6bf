"""A real HAProxy in front: the client that it names is the one that rules and logs see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
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
        with trio.fail_after(40):
            while not log.exists() or not log.read_text():
                await trio.sleep(0.05)
        assert json.loads(log.read_text().splitlines()[0])["client"] == CLIENT


DOCS = Path(__file__).parents[2] / "docs" / "balancers.md"
WAITS = """
defaults
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""
NGINX = """
daemon off;
error_log stderr;
pid {path}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    {blocks}
}}
"""
HAPROXY_BEHIND = """
frontend backend
    mode http
    bind 127.0.0.1:{port} accept-proxy {more}
    http-request return status 200 content-type text/plain lf-string \
"%[src] %[src_port] %[fc_pp_authority]"
"""
NGINX_BEHIND = """
server {{
    listen 127.0.0.1:{port} proxy_protocol;
    return 200 "$proxy_protocol_addr $proxy_protocol_port ";
}}
"""


async def listens(port: int) -> None:
    """Wait until somebody does."""
    with trio.fail_after(40):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return


def block_of_docs(begins: str) -> str:
    """Give the block of the page that begins so."""
    text = DOCS.read_text()
    return text[text.index(f"\n{begins}") + 1 :].partition("```")[0]


@needs_haproxy
async def test_two_gateways_see_the_same_client_whichever_way(tmp_path: Path) -> None:
    """The balancers are those of the docs; each gateway has an address of either kind."""
    rules = [{"network": f"{CLIENT}/32", "arm": "canary"}]
    cert, key = Authority(tmp_path).issue(stem="both")
    async with world(tmp_path) as made, trio.open_nursery() as nursery:
        async with httpx.AsyncClient(base_url=made.store_url) as store:
            for name, document in {
                "shop": made.document(rules=rules),
                "@edge": {"routes": [{"service": "shop"}]},
            }.items():
                await store.put(f"/v1/kv/canary/{name}/config", json=document)
        gateways = [
            await made.start(
                *("canary", "serve", "@edge", "--config-server", made.store_url),
                *("--bind", "127.0.0.1:0", "--tls-bind", "127.0.0.1:0,proxy"),
                *("--tls-cert", cert, "--tls-key", key, "--trust", "127.0.0.1"),
                *("--admin", "127.0.0.1:0", "--id", f"edge{number}"),
            )
            for number in range(2)
        ]
        binds: list[str] = []
        for gateway in gateways:
            match = await gateway.says(
                r"listens on ([\d.:]+), https://([\d.:]+), admin"
            )
            await gateway.says("live")
            binds += match.groups()
        for program, begins, scheme in (
            ("haproxy", "frontend clients", "http"),
            ("haproxy", "listen clients", "https"),
            ("nginx", "upstream canary", "http"),
        ):
            if shutil.which(program) is None:
                continue
            port, config = free_port(), tmp_path / "conf"
            text = block_of_docs(begins)
            for said, real in {
                "10.0.0.5:8080": binds[0],
                "10.0.0.6:8080": binds[2],
                "10.0.0.5:8443": binds[1],
                "10.0.0.6:8443": binds[3],
                "bind :443": f"bind 127.0.0.1:{port}",
                "bind :80": f"bind 127.0.0.1:{port}",
                "listen 80": f"listen 127.0.0.1:{port}",
            }.items():
                text = text.replace(said, real)
            if program == "haproxy":
                config.write_text(WAITS + text)
                command = ["haproxy", "-db", "-f", str(config)]
            else:
                config.write_text(NGINX.format(path=tmp_path, blocks=text))
                command = ["nginx", "-c", str(config)]
            async with trio.open_nursery() as balancer:
                balancer.start_soon(trio.run_process, command)
                await listens(port)
                url = f"{scheme}://127.0.0.1:{port}/"
                for source, arm in ((CLIENT, "v2"), ("127.0.0.8", "v1")):
                    # both go round: each gateway once; what clients say is forged
                    ran = await trio.run_process(
                        [
                            *("curl", "-sk", "--interface", source, url),
                            *("-H", f"X-Forwarded-For: {CLIENT}", "--next"),
                            *("-sk", "--interface", source, url),
                            *("-H", f"Forwarded: for={CLIENT}"),
                        ],
                        capture_stdout=True,
                    )
                    assert ran.stdout.decode() == arm * 2, (program, scheme, source)
                balancer.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("kind", "version"),
    [("haproxy", "v1"), ("haproxy by tls", "v2"), ("nginx", "v2")],
)
async def test_servers_behind_are_told_of_the_client(
    tmp_path: Path, version: str, kind: str
) -> None:
    program = kind.partition(" ")[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    authority = Authority(tmp_path)
    cert, key = authority.issue(stem="both")
    pem = tmp_path / "both.pem"
    pem.write_text(cert.read_text() + key.read_text())
    by_tls = kind.endswith("tls")
    more = f"ssl crt {pem}" if by_tls else ""
    port, config = free_port(), tmp_path / "conf"
    if program == "nginx":
        blocks = NGINX_BEHIND.format(port=port)
        config.write_text(NGINX.format(path=tmp_path, blocks=blocks))
    else:
        config.write_text(WAITS + HAPROXY_BEHIND.format(port=port, more=more))
    command = [program, *(("-c",) if program == "nginx" else ("-db", "-f")), config]
    scheme = "https" if by_tls else "http"
    server = {"url": f"{scheme}://localhost:{port}", "proxy_protocol": version}
    arm = {"servers": [server], "tls": {"ca": str(authority.ca_file)}, "health": True}
    async with world(tmp_path, versions=False) as made, trio.open_nursery() as nursery:
        nursery.start_soon(trio.run_process, list(map(str, command)))
        await listens(port)
        document = tmp_path / "web.json"
        document.write_text(json.dumps({"arms": {"stable": arm}}))
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url),
            *("--tls-bind", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key),
            *("--admin", "127.0.0.1:0", "--bootstrap", document),
        )
        match = await process.says(r"listens on https://([\d.]+):(\d+), admin")
        await process.says("runs revision")
        url = f"https://localhost:{match[2]}/"
        ran = await trio.run_process(
            [
                *("curl", "-sf", "--cacert", str(authority.ca_file), "--interface"),
                *(CLIENT, "--connect-to", f"localhost::{match[1]}:", "--retry", "20"),
                *("--retry-delay", "1", "--max-time", "20", "-w", "=%{local_port}\\n"),
                *(url, url),
            ],
            capture_stdout=True,
        )
        nursery.cancel_scope.cancel()
    name = "localhost" if (program, version) == ("haproxy", "v2") else ""
    lines = ran.stdout.decode().splitlines()
    ports = {line.rpartition("=")[2] for line in lines}
    assert lines == [f"{CLIENT} {port} {name}={port}" for port in ports] * 2
