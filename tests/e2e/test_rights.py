"""The policies that `canary policy` prints are enough on a real Consul and a real etcd."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from canary_trio import change, wait_applied
from canary_trio.control.changes.documents import write_document
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.policies import policy
from canary_trio.control.store_keys import secret_key
from http_trio.testing.ports import free_port
from kv_trio import StoreRefused
from kv_trio.etcd.wire import range_of
from tests.canary_trio.control.sources.test_policies import goes_back
from tests.canary_trio.serving.test_gateway import gateway_on
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on
from tests.e2e.etcds import Etcd, etcd, needs_etcd
from tests.e2e.processes import PATIENCE_S
from tests.e2e.test_real_etcd import ask

CONSUL = os.environ.get("CONSUL") or shutil.which("consul")

ROUTES = {"routes": [{"host": "web.org", "service": "web"}]}
ROLES = {
    "proxy": ("web", ()),
    "gateway": ("@edge", ("web",)),
    "operator": ("web", ()),
}
GRANT = re.compile(
    r"^etcdctl role grant-permission \S+ (read|readwrite) +(\S+?)( --prefix)?$",
    re.MULTILINE,
)


def policies(store: str) -> dict[str, str]:
    return {
        role: policy(store, name, services, is_operator=role == "operator")
        for role, (name, services) in ROLES.items()
    }


async def runs_whole(
    url: str, tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Run a proxy and a gateway by their tokens, while an operator changes the service."""
    async with (
        open_source(url, token=tokens["root"]) as root,
        open_source(url, token=tokens["operator"]) as operator,
        open_source(url, token=tokens["proxy"]) as proxy,
    ):
        await write_document(operator, "web", DOCUMENT, over=0)
        await write_document(root, "@edge", ROUTES, over=0)
        with trio.fail_after(PATIENCE_S):
            async with (
                proxy_on(root, token=tokens["proxy"], proxy_id="p", bootstrap=None),
                gateway_on(root, token=tokens["gateway"]),
            ):
                for share in (0.25, 0.5):
                    revision = await change(operator, "web", f"ratio={share}")
                    fleet = await wait_applied(operator, "web", revision, expect=2)
                    live = {report.id for report in fleet.live}
                    assert live == {"p", "g"}
                lost = await operator.delete(secret_key("web"))
                while lost and (await operator.get(secret_key("web"))).entry is None:
                    await trio.sleep(0.02)
                await goes_back(operator)
        for source, key in ((operator, "canary/web/proxies/x"), (proxy, "canary/x")):
            with pytest.raises(StoreRefused, match=f"the right to .* {key}"):
                await source.put(key, b"")
    told = [r.getMessage() for r in caplog.records if r.levelno > logging.INFO]
    expected = ("was written back", "was not confirmed")
    assert [line for line in told if not any(e in line for e in expected)] == []


# === Consul ===


@contextmanager
def guarded_consul(directory: Path) -> Iterator[str]:
    port = free_port()
    words = [str(CONSUL), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={port}"]
    words += [f"-server-port={free_port()}", f"-serf-lan-port={free_port()}"]
    words += ["-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1"]
    acl = 'acl { enabled = true default_policy = "deny" tokens { master = "root" } }'
    words += ["-hcl", f"disable_update_check = true {acl}"]
    log = (directory / "log").open("wb")
    with log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


async def consul_tokens(url: str) -> dict[str, str]:
    """Make a token of each policy."""
    found = {"root": "root"}
    root = {"X-Consul-Token": "root"}
    async with httpx.AsyncClient(base_url=url, headers=root, trust_env=False) as http:
        for role, rules in policies("consul").items():
            made = await put(http, "policy", {"Name": role, "Rules": rules})
            policies_ = {"Policies": [{"ID": made["ID"]}]}
            found[role] = (await put(http, "token", policies_))["SecretID"]
    return found


async def put(http: httpx.AsyncClient, kind: str, body: object) -> dict[str, str]:
    """Write what ACLs are made of, as soon as this Consul takes it."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                reply = await http.put(f"/v1/acl/{kind}", json=body)
            except httpx.TransportError:
                pass
            else:
                if reply.is_success:
                    found: dict[str, str] = reply.json()
                    return found
            await trio.sleep(0.1)


@pytest.mark.skipif(
    CONSUL is None, reason="no Consul; benchmarks/README.md tells how to get one"
)
async def test_a_consul_that_denies_all_else_lets_them_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with guarded_consul(tmp_path) as url:
        await runs_whole(url, await consul_tokens(url), caplog)


# === etcd ===


async def etcd_tokens(store: Etcd) -> dict[str, str]:
    """Make a user of each role."""
    (member,) = store.members
    for name in ("root", *ROLES):
        await ask(member, "/v3/auth/user/add", name=name, password="secret")
        await ask(member, "/v3/auth/role/add", name=name)
        await ask(member, "/v3/auth/user/grant", user=name, role=name)
    for name, text in policies("etcd").items():
        for kind, key, is_prefix in GRANT.findall(text):
            perm = range_of(key.encode(), is_prefix=bool(is_prefix))
            perm["permType"] = kind.upper()
            await ask(member, "/v3/auth/role/grant", name=name, perm=perm)
    await ask(member, "/v3/auth/enable")
    return {name: f"{name}:secret" for name in ("root", *ROLES)}


@needs_etcd
async def test_an_etcd_with_users_lets_them_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with etcd(tmp_path) as store:
        await store.wait_ready()
        await runs_whole(store.url, await etcd_tokens(store), caplog)


def test_the_page_shows_what_the_command_prints() -> None:
    page = Path(__file__).parents[2] / "docs" / "sources.md"
    shown = page.read_text("utf-8")
    for store, is_operator in (("consul", False), ("etcd", False), ("etcd", True)):
        assert policy(store, "web", is_operator=is_operator) in shown
