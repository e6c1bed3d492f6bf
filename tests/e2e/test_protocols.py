"""The command, and what its clients speak: offered, refused, and named in the log."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.e2e.processes import run, world
from tests.e2e.test_observe import wait_for_lines
from tests.e2e.test_tls import fetch, start_secure
from tests.http_trio.support.certificates import Authority

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed"
)

VERSION = ("-w", " %{http_version}")
H2C = "--http2-prior-knowledge"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
async def test_http2_without_tls_where_it_is_asked_for(
    tmp_path: Path, workers: int
) -> None:
    file = tmp_path / "access.log"
    async with world(tmp_path) as made:
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url),
            *("--bind", "127.0.0.1:0", "--h2c-bind", "127.0.0.1:0"),
            *("--admin", "127.0.0.1:0", "--workers", str(workers)),
            *("--access-log", file),
            *("--bootstrap", made.write(decision_header="X-Canary")),
        )
        match = await process.says(r"listens on ([\d.:]+), h2c://([\d.:]+), admin")
        await process.says("runs revision")
        plain, either = (f"http://{address}" for address in match.groups())

        assert await fetch(H2C, *VERSION, either) == "v1 2"
        assert await fetch("--http1.1", *VERSION, either) == "v1 1.1"
        assert await fetch("--http1.0", *VERSION, either) == "v1 1.1"
        upgraded = await fetch("--http2", *VERSION, either)  # asks by Upgrade
        assert upgraded == "v1 1.1"
        head = await fetch(H2C, "-D", "-", "-o", "/dev/null", either)
        assert ", protocol=HTTP/2, arm=" in head
        with trio.fail_after(40):
            refused = await trio.run_process(
                ["curl", "--silent", H2C, plain], check=False, capture_stdout=True
            )
        assert refused.returncode
        assert await fetch(*VERSION, plain) == "v1 1.1"

        said = Counter(line["protocol"] for line in await wait_for_lines(file, 6))
        assert said == {"HTTP/2": 2, "HTTP/1.1": 3, "HTTP/1.0": 1}


async def test_http2_is_offered_with_tls_unless_it_is_turned_off(
    tmp_path: Path, authority: Authority
) -> None:
    for more, version in (((), "2"), (("--no-http2",), "1.1")):
        async with world(tmp_path / version) as made:
            made.path.mkdir(exist_ok=True)
            _, where = await start_secure(made, authority, more=more)
            words = ("--http2", "--cacert", authority.ca_file, *VERSION)
            assert await fetch(*words, where) == f"v1 {version}"


async def test_options_that_say_nothing_are_refused() -> None:
    ran = await run("canary", "serve", "web", "--no-http2", status=2)
    assert "--no-http2 needs a --tls-cert FILE" in " ".join(ran.err.split())


async def test_a_name_of_another_certificate_is_misdirected(
    tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.issue("b.example", stem="b")
    async with world(tmp_path) as made:
        more = ("--tls-cert", cert, "--tls-key", key)
        _, where = await start_secure(made, authority, more=more)
        port = where.rpartition(":")[2]
        url = f"https://localhost:{port}/"
        words = ("--cacert", authority.ca_file, "-w", " %{http_code}")
        wrong = ("-H", f"Host: b.example:{port}")
        assert await fetch(*words, "--http2", url) == "v1 200"
        assert (await fetch(*words, "--http2", *wrong, url)).endswith(" 421")
        assert await fetch(*words, "--http1.1", *wrong, url) == "v1 200"
        right = ("--resolve", f"b.example:{port}:127.0.0.1")
        there = f"https://b.example:{port}/"
        assert await fetch(*words, "--http2", *right, there) == "v1 200"
