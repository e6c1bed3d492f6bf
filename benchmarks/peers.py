"""The peers of the benchmarks: upstreams, nginx, a store and the proxy, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

BIN = Path(sys.executable).parent
_TICKS = os.sysconf("SC_CLK_TCK")
_NGINX = """
worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {body}
}}
"""
_VERSION = 'server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{name}"; }} }}'
_PROXY = """
  upstream arms {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; keepalive 512;
                   keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://arms; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    proxy_set_header Via "1.1 nginx"; }} }}
"""


def need(*programs: str) -> None:
    """End with a clear line if a program is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        sys.exit(
            f"{', '.join(missing)} not found; on Debian: apt-get install nginx-light wrk"
        )


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"nothing listens on port {port} after 10 s")
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def process(cpu: int, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on one processor until the block ends."""
    command = ["taskset", "-c", str(cpu), *map(str, words)]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(10)


@contextlib.contextmanager
def nginx(cpu: int, body: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "nginx.conf"
        config.write_text(_NGINX.format(dir=directory, body=body))
        with process(cpu, "nginx", "-c", config) as running:
            wait_for_port(port)
            yield running


@contextlib.contextmanager
def versions(cpu: int) -> Iterator[tuple[int, int]]:
    """Run two upstreams, which answer v1 and v2, in one nginx."""
    one, two = free_port(), free_port()
    body = _VERSION.format(port=one, name="v1") + _VERSION.format(port=two, name="v2")
    with nginx(cpu, body, two):
        yield one, two


@contextlib.contextmanager
def nginx_proxy(cpu: int, one: int, two: int) -> Iterator[tuple[int, int]]:
    """Run nginx before the two; give its port and its process."""
    port = free_port()
    with nginx(cpu, _PROXY.format(port=port, one=one, two=two), port) as running:
        yield port, running.pid


@contextlib.contextmanager
def canary_proxy(
    cpu: int, one: int, two: int, **changes: object
) -> Iterator[tuple[int, int, int]]:
    """Run a store and a proxy; give the proxy's port, the store's, the proxy's process."""
    port, store = free_port(), free_port()
    document = {
        "ratio": 0.5,
        "arms": {
            "stable": {"servers": [f"http://127.0.0.1:{one}"]},
            "canary": {"servers": [f"http://127.0.0.1:{two}"]},
        },
        **changes,
    }
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "web.json"
        file.write_text(json.dumps(document))
        bind = f"127.0.0.1:{store}"
        data = Path(directory) / "kv"
        with process(1 - cpu, BIN / "kv-trio", "serve", "--bind", bind, "--data", data):
            wait_for_port(store)
            words: tuple[str, ...] = (
                "--bind",
                f"127.0.0.1:{port}",
                "--admin",
                "127.0.0.1:0",
            )
            words += ("--config-server", f"http://{bind}", "--bootstrap", str(file))
            words += ("--state", directory)
            with process(cpu, BIN / "canary", "serve", "web", *words) as running:
                wait_for_port(port)
                time.sleep(0.5)  # until the first document is live
                yield port, store, running.pid


def cpu_s(pid: int) -> float:
    """Give the processor time of a process and its children so far, in seconds."""
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    total = 0.0
    for one in (str(pid), *children):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total
