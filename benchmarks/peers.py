"""The processes of the benchmarks: upstreams, a store and our proxy, each on a processor.

The proxy under test has processor 0; upstreams, store and load have processor 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from http_trio.testing.ports import free_port

_BIN = Path(sys.executable).parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PATIENCE_S = 10.0
_SIZES = {
    "0B": 0,
    "1KiB": 1 << 10,
    "10KiB": 10 << 10,
    "100KiB": 100 << 10,
    "1MiB": 1 << 20,
    "10MiB": 10 << 20,
}
_NGINX = """
{user} worker_processes 1; daemon off; pid {dir}/pid; error_log {dir}/error crit;

events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 75s; sendfile on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {body}
}}
"""
_VERSION = """
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "{name}"; }}
    location /large/ {{ alias {files}/; }}
    location /upload {{ client_max_body_size 0; client_body_buffer_size 11m;
      proxy_set_body ""; proxy_pass http://unix:{files}/{name}.sock:/; }} }}
  server {{ listen unix:{files}/{name}.sock; location / {{ return 200 "{name}"; }} }}
"""


class NotUp(SystemExit):
    """A process did not come up; its output is shown."""


def need(*programs: str) -> None:
    """End with a clear line if a program is not installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        sys.exit(
            f"{', '.join(missing)} not found; on Debian: apt-get install nginx-light haproxy"
            " caddy wrk nghttp2-client procps"
        )


class Terminated(SystemExit):
    """The program was told to end: it is no failure of what it measures."""


def end_on_sigterm() -> None:
    """Let SIGTERM unwind the program, so that the processes it started end with it."""

    def end(*_: object) -> None:
        raise Terminated("ended by SIGTERM")

    signal.signal(signal.SIGTERM, end)


def python(*words: object) -> list[object]:
    """Give the command that runs Python, by default this one, with what is installed.

    `CANARY_BENCH_PYTHON` names another one of the same minor version, since how it was
    compiled matters much.
    """
    other = os.environ.get("CANARY_BENCH_PYTHON")
    if not other:
        return [sys.executable, *words]
    ours = (path for path in sys.path if not path.startswith(sys.base_prefix))
    return ["env", f"PYTHONPATH={os.pathsep.join(ours)}", other, *words]


def command_of(name: str, checkout: Path | None = None) -> list[object]:
    """Give what runs one of our commands, by default of the code that measures.

    Args:
        name: `canary` or `kv-trio`.
        checkout: another checkout of the project, whose sources are run by this
            interpreter, with what is installed for it.
    """
    if checkout is None:
        return python(_BIN / name)
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"][name].partition(":")
    code = f"from {module} import {function} as main; main()"
    return ["env", f"PYTHONPATH={checkout / 'src'}", *python("-c", code)]


def show_python() -> None:
    """Say which interpreter runs what is ours."""
    code = "import sys; print(sys.executable, sys.version.replace('\\n', ' '))"
    subprocess.run([*map(str, python("-c", code))], check=True)


def wait_for_port(port: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise NotUp(
                    f"nothing listens on {port}, {_PATIENCE_S:g} s on"
                ) from None
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Make a directory, in memory where there is one, that nginx's workers can read."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@contextlib.contextmanager
def process(cpu: int, *words: object, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on one processor until the block ends."""
    command = ["taskset", "-c", str(cpu), *map(str, words)]
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **env}
        )
        try:
            yield running
        except NotUp:
            output.seek(0)
            sys.stderr.write(output.read().decode("utf-8", "replace"))
            raise
        finally:
            running.terminate()
            try:
                running.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@contextlib.contextmanager
def nginx(cpu: int, body: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run an nginx of one worker with these servers until the block ends."""
    user = "user root;" if os.geteuid() == 0 else ""
    with directory() as path:
        config = path / "nginx.conf"
        config.write_text(_NGINX.format(dir=path, body=body, user=user))
        with process(cpu, "nginx", "-c", config) as running:
            wait_for_port(port)
            yield running


@contextlib.contextmanager
def versions(cpu: int) -> Iterator[tuple[int, int]]:
    """Run two upstreams, which answer v1 and v2, in one nginx.

    Both also have `/large/0B`, and the others up to `/large/10MiB`, and `/upload`, which
    responds once it has all of a body.
    """
    one, two = free_port(), free_port()
    with directory() as path:
        for name, size in _SIZES.items():
            (path / name).write_bytes(os.urandom(size))
        body = "".join(
            _VERSION.format(port=port, name=name, files=path)
            for port, name in ((one, "v1"), (two, "v2"))
        )
        with nginx(cpu, body, two):
            yield one, two


@contextlib.contextmanager
def canary_proxy(
    cpu: int,
    one: int,
    two: int,
    *,
    options: tuple[str, ...] = (),
    checkout: Path | None = None,
    **changes: object,
) -> Iterator[tuple[int, int, int]]:
    """Run a store and a proxy; give the proxy's port, the store's, the proxy's process.

    Args:
        cpu: the proxy's processor; the store has the other one.
        one: the port of the stable version.
        two: the port of the canary.
        options: more of them for `canary serve`; `{dir}` is its directory.
        checkout: whose proxy and store they are; by default those that measure.
        changes: fields of the document, which by default is a ratio of one half.
    """
    port, store, admin = free_port(), free_port(), free_port()
    document = {
        "ratio": 0.5,
        "arms": {
            "stable": {"servers": [f"http://127.0.0.1:{one}"]},
            "canary": {"servers": [f"http://127.0.0.1:{two}"]},
        },
        **changes,
    }
    with directory() as path:
        file = path / "web.json"
        file.write_text(json.dumps(document))
        bind = f"127.0.0.1:{store}"
        words = (
            *("--bind", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"),
            *("--config-server", f"http://{bind}", "--bootstrap", str(file)),
            *("--data", str(path)),
            *(option.format(dir=path) for option in options),
        )
        serve_store = ("serve", "--bind", bind, "--data", path / "kv")
        with process(1 - cpu, *command_of("kv-trio", checkout), *serve_store):
            wait_for_port(store)
            serve_proxy = (*command_of("canary", checkout), "serve", "web", *words)
            with process(cpu, *serve_proxy) as running:
                _wait_until_ready(admin)
                yield port, store, running.pid


def cpu_s(pid: int) -> float:
    """Give the processor time of a process and its children so far, in seconds."""
    total = 0.0
    for one in _family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def memory(pid: int) -> int:
    """Give the resident memory of a process and its children, in bytes."""
    return sum(
        int(Path(f"/proc/{one}/statm").read_text().split()[1]) * _PAGE
        for one in _family(pid)
    )


def _family(pid: int) -> list[str]:
    children = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return [str(pid), *children]


def _wait_until_ready(admin: int) -> None:
    """Wait until a proxy's first document is live."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/ready", timeout=1).close()
        except OSError:  # it does not listen, or says 503
            pass
        else:
            return
        if time.monotonic() > end:
            raise NotUp(f"the proxy has no configuration after {_PATIENCE_S:g} s")
        time.sleep(0.05)
