"""A server is asked whether it is ready, by a plain socket."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_health.probe import PAGE_BYTES, NotReady, ask_ready


@contextlib.contextmanager
def says(
    response: bytes, path: Path | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one response for each connection; gives where, and what was asked."""
    asked: list[bytes] = []
    sock = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    sock.bind(("127.0.0.1", 0) if path is None else str(path))
    sock.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = sock.accept()
                with client:
                    asked.append(client.recv(4096))
                    client.sendall(response)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{sock.getsockname()[1]}" if path is None else str(path), asked
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        sock.close()


READY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n"


@pytest.mark.parametrize(
    ("path", "asked_for"),
    [("", b"/ready"), ("/", b"/ready"), ("/live", b"/live"), ("/a?b", b"/a?b")],
)
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_its_page_is_asked_for(scheme: str, path: str, asked_for: bytes) -> None:
    with says(READY) as (address, asked):
        assert ask_ready(scheme + address + path, 5) == "ready"
    assert asked[0].startswith(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n" % asked_for)


def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    with says(READY, tmp_path / "s") as (path, asked):
        assert ask_ready(f"unix:{path}", 5) == "ready"
    assert asked[0].startswith(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\nmore", "503 draining ("),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "404  ("),
        (b"HTTP/1.1 500 X\r\n\r\n\x1b[31m\xff", "500  [31m\\xff ("),
        (b"", "no response of HTTP"),
        (b"HTTP/1.1 20", "no response of HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no response of HTTP"),
        (b"x" * (2 * PAGE_BYTES), "no response of HTTP"),
    ],
)
def test_what_is_not_ready_says_why(response: bytes, why: str) -> None:
    with says(response) as (address, _):
        with pytest.raises(NotReady, match=re.escape(why)):
            ask_ready(address, 5)


def test_who_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(NotReady, match=r"no response in 0.1 s"):
            ask_ready(f"{host}:{port}", 0.1)


def test_who_does_not_listen_is_not_ready(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(NotReady, match="Connection refused"):
            ask_ready("127.0.0.1:%d" % bound.getsockname()[1], 5)  # noqa: UP031
    with pytest.raises(NotReady, match="No such file"):
        ask_ready(f"unix:{tmp_path}/absent", 5)


@pytest.mark.parametrize(
    "url",
    [
        *("", "host", "ftp://a:1", "http://a:", "http://a:0", "a:65536"),
        *("http://a:1 /", "http://a:1/\r\nX: y", "http://u@a:1", "http://[a:1"),
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        ask_ready(url, 0.1)


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_any_response_is_an_answer(response: bytes) -> None:
    with says(response) as (address, _), contextlib.suppress(NotReady):
        assert ask_ready(address, 5).isprintable()


@pytest.mark.parametrize(
    ("url", "address", "host"),
    [
        ("http://localhost", ("localhost", 80), "localhost"),
        ("https://kv.example.org/", ("kv.example.org", 443), "kv.example.org"),
        ("http://[::1]:81", ("::1", 81), "[::1]"),
        ("127.0.0.1:82/live", ("127.0.0.1", 82), "127.0.0.1"),
    ],
)
def test_a_url_says_where_and_whom(
    monkeypatch: pytest.MonkeyPatch, url: str, address: tuple[str, int], host: str
) -> None:
    asked: list[object] = []

    def refuse(address: object, timeout_s: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(NotReady, match="no response: refused"):
        ask_ready(url, 5)
    assert asked == [address]
    assert host in url


@pytest.mark.parametrize("command", ["canary", "kv_trio"])
def test_it_imports_nothing_of_the_others(command: str) -> None:
    code = (
        "import sys; from canary_health import commands\n"
        "sys.argv = ['x', 'health', '127.0.0.1:1']\n"
        f"try: commands.{command}()\n"
        "except SystemExit as exc: print(exc.code)\n"
        "print([n for n in sys.modules if n.split('.')[0] in"
        " ('canary_trio', 'kv_trio', 'http_trio', 'trio', 'ssl', 'asyncio')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n[]\n", done
    assert "not ready: no response: Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("words", "status"), [(["nonsense"], 2), (["--timeout", "0"], 2), (["--help"], 0)]
)
def test_its_usage_is_said(words: list[str], status: int) -> None:
    command = [str(Path(sys.executable).parent / "kv-trio"), "health", *words]
    env = {
        name: os.environ[name] for name in os.environ if name != "CANARY_CONFIG_SERVER"
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == status
    assert "Usage: kv-trio health" in done.stdout + done.stderr
