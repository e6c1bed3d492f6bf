"""The command `canary bench`: options, exit statuses, files; a server in a thread."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result

from canary_trio.command.cli.main import main
from http_trio.testing.ports import free_port

QUICK = ("--rate", "200", "--seconds", "300ms", "--warm-up", "0")


class Handler(BaseHTTPRequestHandler):
    """`/bad` fails, `/slow` takes its time, all else is well."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        if self.path == "/slow":
            time.sleep(0.03)
        self.send_response(500 if self.path == "/bad" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(name="url", scope="module")
def _url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, ["bench", *words])


def test_two_urls_are_told_apart_in_all_forms(url: str, tmp_path: Path) -> None:
    page, picture = tmp_path / "a.md", tmp_path / "a.svg"
    files = ("--markdown", str(page), "--svg", str(picture))

    ran = bench(f"{url}/a", f"{url}/bad", *QUICK, *files, "--json")

    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output)
    assert [arm["requests"] for arm in told["arms"]] == [60, 60]
    assert [arm["errors"] for arm in told["arms"]] == [0, 60]
    assert told["verdict"] == "B is worse (errors)"
    assert "B is worse (errors)" in page.read_text()
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize("pace", [("--rate", "300"), ("--concurrency", "2")])
def test_each_url_gets_so_many_requests(url: str, pace: tuple[str, ...]) -> None:
    words = ("--requests", "17", "--warm-up", "0", "--json")

    ran = bench(f"{url}/a", f"{url}/b", *pace, *words)

    told = json.loads(ran.output)
    assert [arm["requests"] for arm in told["arms"]] == [17, 17]


@pytest.mark.parametrize(
    ("paths", "words", "status"),
    [
        pytest.param(("/a", "/bad"), ("--fail-if", "errors>1%"), 1, id="it holds"),
        pytest.param(("/a", "/a"), ("--fail-if", "errors>50%"), 0, id="it does not"),
        pytest.param(("/a", "/a"), ("--fail-if", "p99>1.2x"), 0, id="undecided"),
        pytest.param(
            ("/a", "/a"), ("--fail-if", "p99>1.2x", "--strict"), 3, id="strict"
        ),
        pytest.param(("/slow",), ("--fail-if", "p50>5ms"), 1, id="one URL"),
        pytest.param(
            ("/bad", "/a"),
            ("--fail-if", "p50>9s", "--fail-if", "errors>5%"),
            0,
            id="A is not judged",
        ),
    ],
)
def test_the_exit_status_is_for_programs(
    url: str, paths: tuple[str, ...], words: tuple[str, ...], status: int
) -> None:
    ran = bench(*(url + path for path in paths), *QUICK, "--json", *words)

    limit = json.loads(ran.output)["generator"]["limit"]
    busy = 3 if limit and status == 0 else status  # what a busy machine comes to
    assert ran.exit_code == busy, ran.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing argument"),
        (("http://a/", "http://b/", "http://c/"), "one or two"),
        (("a:80",), "found"),
        (("http://a/", "--rate", "0"), "--rate"),
        (("http://a/", "--rate", "nan"), "--rate"),
        (("http://a/", "--rate", "5", "--concurrency", "5"), "one of them"),
        (("http://a/", "--seconds", "0"), "--seconds"),
        (("http://a/", "--seconds", "x"), "90s, 10m"),
        (("http://a/", "--requests", "0"), "--requests"),
        (("http://a/", "--header", "a"), "NAME: VALUE"),
        (("http://a/", "--header", "a b: c"), "found"),
        (("http://a/", "-X", "G T"), "found"),
        (("http://a/", "--body", "@/no/such/file"), "--body"),
        (("http://a/", "--fail-if", "p99"), "p99>1.2x"),
        (("http://a/", "--fail-if", "p99>1.2x"), "expected two"),
        (("http://a/", "--alpha", "0"), "--alpha"),
        (("https://a/", "--ca-file", "/no/such/file"), "/no/such/file"),
        (("http://a/", "--timeout", "-1"), "--timeout"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_expected(
    words: tuple[str, ...], says: str
) -> None:
    ran = bench(*words)

    assert ran.exit_code == 2
    assert says in ran.output


def test_nobody_there_is_status_3_in_one_line() -> None:
    ran = bench(f"http://127.0.0.1:{free_port()}/", *QUICK)

    assert ran.exit_code == 3
    assert ran.output.count("\n") == 1
    assert "refused" in ran.output


def test_a_file_that_cannot_be_written_is_told(url: str, tmp_path: Path) -> None:
    ran = bench(f"{url}/", *QUICK, "--svg", str(tmp_path / "none" / "a.svg"))

    assert ran.exit_code == 3
    assert "cannot write" in ran.output


def test_ctrl_c_ends_it_and_it_tells_what_it_has(url: str) -> None:
    words = [f"{url}/c", f"{url}/c", "--seconds", "1h", "--warm-up", "0", "--json"]
    command = [sys.executable, "-m", "canary_trio", "bench", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while Handler.asked["/c"] < 10:
            assert running.poll() is None
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=30)

    assert running.returncode == 130
    assert json.loads(told)["interrupted"] is True
    assert json.loads(told)["arms"][0]["requests"] > 1
