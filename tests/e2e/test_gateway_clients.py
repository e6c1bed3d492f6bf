"""A gateway as a process, with the clients that people use: names, certificates, changes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kv_trio import Client
from tests.browser import CHROMIUM, page_of
from tests.e2e.processes import World, world
from tests.e2e.test_tls import fetch, needs_curl, needs_h2load
from tests.http_trio.support.certificates import Authority

NAMES = {"shop.example": "v1", "blog.example": "v2", "news.example": "v1"}
UNROUTED = "nobody.example"  # it is in the certificate of news.example

PAGE = """<!doctype html><body>waiting<script>
(async () => {
  const names = %s;
  const found = await Promise.allSettled(
    names.map(name => fetch(name, {mode: "no-cors"})));
  const how = performance.getEntriesByType("resource").map(one => one.nextHopProtocol);
  document.body.textContent = "told " + found.map(one => one.status).join(" ");
})();
</script>"""


def service(name: str) -> str:
    return name.partition(".")[0]


async def write(store: Client, name: str, document: dict[str, Any]) -> None:
    await store.put(f"canary/{name}/config", json.dumps(document).encode())


def document_of(here: World, name: str) -> dict[str, Any]:
    one = {"servers": [here.versions[NAMES.get(name, "v1")]]}
    return {"arms": {"stable": one, "canary": one}}


def routes_of(*names: str) -> list[dict[str, Any]]:
    return [{"host": name, "service": service(name)} for name in names]


@asynccontextmanager
async def gateway(
    path: Path, authority: Authority | None, *more: dict[str, Any]
) -> AsyncIterator[tuple[World, Client, str]]:
    """Run a store, two versions and a gateway; give its port, of TLS if it has names."""
    words: tuple[object, ...] = ("--bind", "127.0.0.1:0")
    if authority is not None:
        pairs = path / "pairs"
        pairs.mkdir()
        for name in NAMES:
            names = (name, UNROUTED) if name == "news.example" else (name,)
            cert, key = authority.issue(*names, stem=name)
            key.rename(pairs / f"{name}.key")
            cert.rename(pairs / f"{name}.crt")
        words = ("--tls-bind", "127.0.0.1:0", "--tls-dir", pairs)
    async with world(path) as here, Client(here.store_url) as store:
        for name in NAMES:
            await write(store, service(name), document_of(here, name))
        await write(store, "@edge", {"routes": [*routes_of(*NAMES), *more]})
        process = await here.start(
            *("canary", "serve", "@edge", "--config-server", here.store_url),
            *("--admin", "127.0.0.1:0", *words),
        )
        port = (await process.says(r"listens on (?:https://)?[\d.]+:(\d+)"))[1]
        yield here, store, port


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusting(authority: Authority, name: str, port: str) -> tuple[object, ...]:
    """Give the words by which curl trusts an authority, and finds a name."""
    where = ("--resolve", f"{name}:{port}:127.0.0.1")
    return ("--cacert", authority.ca_file, *where)


@needs_curl
async def test_curl_gets_each_name_by_its_certificate(
    tmp_path: Path, authority: Authority
) -> None:
    async with gateway(tmp_path, authority) as (_, _, port):
        code = ("-o", "/dev/null", "-w", "%{http_code} %{http_version}")
        for name, version in NAMES.items():
            to = trusting(authority, name, port)
            assert await fetch(*to, f"https://{name}:{port}/") == version
        to = trusting(authority, UNROUTED, port)
        url = f"https://{UNROUTED}:{port}/"
        assert await fetch(*to, *code, "--http2", url) == "421 2"
        assert await fetch(*to, *code, "--http1.1", url) == "404 1.1"


@needs_h2load
async def test_h2load_loses_nothing_of_three_names(
    tmp_path: Path, authority: Authority
) -> None:
    async with gateway(tmp_path, authority) as (_, _, port):

        async def load(name: str) -> None:
            words = ["-n", "500", "-c", "5", "-m", "10"]
            words += [f"--connect-to=127.0.0.1:{port}", f"https://{name}:{port}/"]
            done = await trio.run_process(["h2load", *words], capture_stdout=True)
            assert b"500 succeeded, 0 failed, 0 errored" in done.stdout
            assert b"status codes: 500 2xx" in done.stdout

        async with trio.open_nursery() as nursery:
            for name in NAMES:
                nursery.start_soon(load, name)


def key_hash(certificate: bytes) -> str:
    """Give the hash of a certificate's key as Chromium takes it."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_chromium_loads_a_page_of_three_names(
    tmp_path: Path, authority: Authority
) -> None:
    """Only the keys of the three certificates are let pass; who has another is refused."""
    async with gateway(tmp_path, authority) as (_, store, port):
        names = [f"https://{name}:{port}/" for name in (*NAMES, UNROUTED)]
        page = {"body": PAGE % json.dumps(names), "content_type": "text/html"}
        shown = {"host": "shop.example", "path_prefix": "/page", "respond": page}
        await write(store, "@edge", {"routes": [*routes_of(*NAMES), shown]})
        files = [tmp_path / "pairs" / f"{name}.crt" for name in NAMES]
        hashes = [key_hash(await trio.Path(file).read_bytes()) for file in files]
        words = (
            "--virtual-time-budget=5000",
            "--host-resolver-rules=MAP *.example 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={','.join(hashes)}",
        )
        seen = b""
        with trio.fail_after(60):
            while b"told" not in seen:
                seen = await page_of(f"https://shop.example:{port}/page", *words)
    assert b"told fulfilled fulfilled fulfilled fulfilled" in seen


async def test_no_request_of_the_others_fails_while_services_come_and_go(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path, None) as (here, store, port):
        url, answers = f"http://127.0.0.1:{port}/", Counter[tuple[str, object]]()

        async def load(name: str) -> None:
            async with httpx.AsyncClient() as http:
                while True:
                    reply = await http.get(url, headers={"Host": name})
                    answers[name, reply.text] += 1

        async def until(name: str, status: int) -> None:
            async with httpx.AsyncClient() as http:
                with trio.fail_after(40):
                    while True:
                        reply = await http.get(url, headers={"Host": name})
                        if reply.status_code == status:
                            return
                        await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            for name in ("shop.example", "blog.example"):
                nursery.start_soon(load, name)
                nursery.start_soon(load, name)
            for number in range(5):
                new = f"new{number}.example"
                await write(store, service(new), document_of(here, new))
                await write(store, "@edge", {"routes": routes_of(*NAMES, new)})
                await until(new, 200)
                await store.put("canary/news/config", b"broken")
                await write(store, "@edge", {"routes": routes_of(*NAMES)})
                await until(new, 404)
                await write(store, "news", document_of(here, "news.example"))
            nursery.cancel_scope.cancel()
    assert set(answers) == {("shop.example", "v1"), ("blog.example", "v2")}
    assert min(answers.values()) > 10
