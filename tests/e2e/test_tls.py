"""The commands over TLS, with the clients that people use."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import (
    PATIENCE_S,
    Process,
    World,
    ask,
    connected_to,
    run,
    world,
)
from tests.http_trio.support.certificates import Authority

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed"
)
needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed"
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def start_secure(
    made: World,
    authority: Authority,
    more: tuple[object, ...] = (),
    **changes: object,
) -> tuple[Process, str]:
    """Start a proxy with TLS; give it and where it serves."""
    cert, key = authority.issue(stem="proxy")
    process = await made.start(
        *("canary", "serve", "web", "--config-server", made.store_url),
        *("--tls-bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *("--tls-cert", cert, "--tls-key", key),
        *("--bootstrap", made.write(**changes)),
        *more,
    )
    match = await process.says(r"listens on (https://[\d.:]+), admin on ([\d.:]+)")
    await process.says("runs revision")
    return process, match[1]


async def fetch(*words: object) -> str:
    with trio.fail_after(40):
        done = await trio.run_process(
            ["curl", "--silent", "--show-error", *map(str, words)], capture_stdout=True
        )
    return done.stdout.decode()


@needs_curl
async def test_curl_is_served(tmp_path: Path, authority: Authority) -> None:
    file = tmp_path / "upload"
    file.write_bytes(bytes(range(256)) * 8192)
    async with world(tmp_path) as made:
        _, where = await start_secure(made, authority, sticky_sessions=True)
        for version in ("1.1", "2"):
            words = (f"--http{version}", "--cacert", authority.ca_file)
            said = await fetch(*words, "-D", "-", where, "-w", "\n%{http_version}")
            head, _, body = said.partition("\r\n\r\n")
            assert body == f"v1\n{version}"
            cookie = head.lower().partition("set-cookie:")[2].partition("\r\n")[0]
            assert "; secure" in cookie
            for how in (("-T", file), ("--data-binary", f"@{file}")):
                assert await fetch(*words, *how, f"{where}/length") == "2097152"


@needs_curl
async def test_each_name_has_its_certificate(
    tmp_path: Path, authority: Authority
) -> None:
    """Named by options and found in a directory; curl verifies what it is shown."""
    directory = tmp_path / "live"
    directory.mkdir()

    def put(name: str, **more: object) -> None:
        cert, key = authority.issue(name, stem=name, **more)
        key.rename(directory / f"{name}.key")
        cert.rename(directory / f"{name}.crt")

    put("c.example")
    put("soon.example", not_after=dt.datetime.now(dt.UTC) + dt.timedelta(days=9))
    cert, key = authority.issue("b.example", stem="b")
    async with world(tmp_path) as made:
        more = ("--tls-cert", cert, "--tls-key", key, "--tls-dir", directory)
        _, where = await start_secure(made, authority, more=more)
        port = where.rpartition(":")[2]
        for name in ("localhost", "b.example", "c.example", "d.example"):
            if name == "d.example":
                put(name)
                await trio.sleep(2)
            resolve = ("--resolve", f"{name}:{port}:127.0.0.1")
            words = ("--cacert", authority.ca_file, *resolve)
            assert await fetch(*words, f"https://{name}:{port}/") == "v1"
        asked = ("canary", "status", "web", "--config-server", made.store_url)
        said = (await run(*asked, "--arms")).out
        assert re.search(
            r"c\.example\.crt \(c\.example\) expires in \d+\.\d days", said
        )
        told = f"certificate {directory}/soon.example.crt (soon.example) expires in"
        with trio.fail_after(40):  # what is reported is looked at every few seconds
            while told not in (plain := (await run(*asked)).out):
                await trio.sleep(0.1)
        assert "c.example.crt" not in plain, "it has long enough"
        shown = json.loads((await run(*asked, "--json")).out)
        (row,) = shown["proxies"][0]["certificates"]
        assert row["names"] == ["soon.example"]
        assert 8 < row["days_left"] <= 9


async def test_pairs_that_do_not_match_up_are_refused() -> None:
    words = ("canary", "serve", "web", "--tls-cert", "a", "--tls-cert", "b")
    ran = await run(*words, "--tls-key", "c", status=2)
    assert "found 2 --tls-cert and 1 --tls-key" in " ".join(ran.err.split())
    ran = await run("canary", "serve", "web", "--tls-dir", "/nowhere", status=1)
    assert "/nowhere is no directory of certificates" in ran.err


@needs_curl
@pytest.mark.parametrize("workers", [1, 2])
async def test_plain_http_is_led_to_tls(
    tmp_path: Path, authority: Authority, workers: int
) -> None:
    """It serves before any certificate is there, so that an ACME client can get one."""
    live, acme = tmp_path / "live", tmp_path / "acme"
    live.mkdir()
    (acme / ".well-known" / "acme-challenge").mkdir(parents=True)
    (acme / ".well-known" / "acme-challenge" / "tok-en").write_text("tok-en.thumb")
    async with world(tmp_path) as made:
        process = await made.start(
            *("canary", "serve", "web", "--config-server", made.store_url),
            *("--tls-bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--tls-dir", live, "--redirect-bind", "127.0.0.1:0", "--acme-dir", acme),
            *("--workers", str(workers), "--bootstrap", made.write()),
        )
        says = await process.says(
            r"listens on https://127.0.0.1:(\d+), 127.0.0.1:(\d+) \(to https\)"
        )
        await process.says("runs revision")
        secure, plain = says[1], says[2]
        url = f"http://localhost:{plain}"
        told = await fetch(f"{url}/.well-known/acme-challenge/tok-en")
        assert told == "tok-en.thumb"
        cert, key = authority.issue("localhost", stem="new")
        key.rename(live / "localhost.key")
        cert.rename(live / "localhost.crt")
        await trio.sleep(2.5)
        words = ("--cacert", authority.ca_file, "-w", "\n%{http_code} %{url_effective}")
        told = await fetch(*words, f"{url}/a?b=c")
        assert told.endswith(f"308 {url}/a?b=c")
        told = await fetch(*words, "--location", "--data", "x=1", f"{url}/length")
        assert told == f"3\n200 https://localhost:{secure}/length"


@needs_curl
@pytest.mark.parametrize("workers", [1, 2])
async def test_clients_are_asked_for_certificates(
    tmp_path: Path, authority: Authority, workers: int
) -> None:
    cert, key = authority.issue("ann@example.org", stem="ann", common_name="Ann")
    rules = [{"client_cert": "common_name", "equals": "Ann", "arm": "canary"}]
    async with world(tmp_path) as made:
        more = ("--tls-client-ca", authority.ca_file, "--workers", str(workers))
        _, where = await start_secure(made, authority, more=more, rules=rules, ratio=0)
        words = ("--cacert", authority.ca_file, "--cert", cert, "--key", key)
        for version in ("--http1.1", "--http2"):
            assert await fetch(version, *words, where) == "v2"
        with pytest.raises(subprocess.CalledProcessError):
            await fetch("--cacert", authority.ca_file, where)
        asked = ("explain", "web", "--config-server", made.store_url)
        ran = await run("canary", *asked, "--client-subject", "CN=Ann")
        assert "arm canary, by rule" in ran.out


async def test_options_that_need_others_say_so() -> None:
    serve = ("canary", "serve", "web")
    for words, expected in [
        (["--redirect-bind", ":0"], "--redirect-bind needs a --tls-cert FILE"),
        (["--tls-client-ca", "/x"], "--tls-client-ca needs a --tls-cert FILE"),
        (["--tls-client-auth", "optional"], "--tls-client-auth needs a --tls-client"),
        (["--tls-dir", "/", "--acme-dir", "/"], "--acme-dir needs a --redirect-bind"),
        (
            ["--tls-dir", "/", "--redirect-bind", ":0", "--acme-dir", "/nowhere"],
            "there is no directory /nowhere",
        ),
    ]:
        ran = await run(*serve, *words, status=2)
        assert expected in " ".join(ran.err.split())


@needs_h2load
async def test_h2load_loses_nothing(tmp_path: Path, authority: Authority) -> None:
    async with world(tmp_path) as made:
        _, where = await start_secure(made, authority)
        for words in (["--h1"], ["-m", "10"]):
            done = await trio.run_process(
                ["h2load", *words, "-n", "500", "-c", "5", where], capture_stdout=True
            )
            assert b"500 succeeded, 0 failed, 0 errored" in done.stdout


async def test_a_store_with_tls_serves_the_commands(
    tmp_path: Path, authority: Authority
) -> None:
    ca = ("--ca-file", authority.ca_file)
    cert, key = authority.issue()
    url = f"https://127.0.0.1:{free_port()}"
    async with trio.open_nursery() as nursery:
        made = World(tmp_path, nursery)
        bind = url.removeprefix("https://")
        store = await made.start(
            *("kv-trio", "serve", "--bind", bind, "--tls-cert", cert, "--tls-key", key)
        )
        await store.says("listens on")
        asked = ("--config-server", url)
        await run("kv-trio", "put", "a", "1", *asked, *ca)
        assert (await run("kv-trio", "get", "a", *asked, *ca)).out.strip() == "1"
        failed = await run("kv-trio", "get", "a", *asked, status=1)
        assert "its certificate is not trusted" in failed.err

        document = tmp_path / "web.json"
        stable = {"servers": [url], "tls": {"ca": str(authority.ca_file)}}
        canary = {"servers": [url]}  # which the system's authorities do not know
        arms = {"stable": stable, "canary": canary}
        document.write_text(json.dumps({"arms": arms, "ratio": 0}))
        proxy = await made.start(
            *("canary", "serve", "web", "--config-server", url, *ca),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--bootstrap", document),
        )
        says = await proxy.says(r"listens on ([\d.:]+), admin on ([\d.:]+)")
        address, admin = says[1], says[2]
        await proxy.says("runs revision")
        assert await ask(address, 2, b"/v1/kv/a?raw") == ["1", "1"]
        words = ("web", "ratio=0.5", "--wait", "40", "--config-server", url)
        changed = await run("canary", "set", *words, *ca)
        assert "live on 1/1 proxies" in changed.out
        async with connected_to(address) as client:
            told = {(await client.ask(b"/v1/kv/a?raw"))[0].split()[1] for _ in "123456"}
        assert told <= {b"200", b"502", b"503"}  # stable may stand in for the canary
        async with connected_to(admin) as client:
            _, metrics = await client.ask(b"/metrics")
        failures = (
            rb'canary_server_failures_total\{arm="canary",server="https[^}]*\} [1-9]'
        )
        assert re.search(failures, metrics)
        nursery.cancel_scope.cancel()


async def test_a_proxy_with_a_bad_certificate_says_so(
    tmp_path: Path, authority: Authority
) -> None:
    cert, _ = authority.issue()
    missing = tmp_path / "missing.key"
    words = ("--tls-cert", cert, "--tls-key", missing)
    ran = await run("canary", "serve", "web", *words, status=1)
    assert ran.err.strip().endswith(f"cannot read {missing}: No such file or directory")
    ran = await run("canary", "serve", "web", "--tls-bind", "127.0.0.1:0", status=2)
    assert "--tls-cert" in ran.err


@needs_curl
async def test_sigterm_drains_http2(tmp_path: Path, authority: Authority) -> None:
    async with world(tmp_path) as made:
        process, where = await start_secure(made, authority)
        responses: list[str] = []

        async def ask() -> None:
            words = ("--http2", "--cacert", authority.ca_file, f"{where}/slow")
            responses.append(await fetch(*words))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with trio.fail_after(PATIENCE_S):
                await made.asked_to_be_slow["v1"].wait()
            assert await process.ends(signal.SIGTERM) == 0
    assert responses == ["v1"]
