"""A proxy's admin listener with TLS: by token, by certificate, and for who has neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from canary_trio.admin.asking.client import (
    AdminCredentials,
    is_other_proxy,
    read_status,
)
from canary_trio.admin.asking.tokens import make_admin_token
from canary_trio.control.fleet.report import Report
from http_trio import Tls
from kv_trio import Client
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on
from tests.http_trio.support.certificates import Authority


def secured(tmp_path: Path, **more: Any) -> tuple[Authority, dict[str, Any], str]:
    """Give an authority, a proxy's options, and the secret of a token that may write."""
    authority = Authority(tmp_path)
    cert, key = authority.issue()
    file = tmp_path / "admin.toml"
    secret, lines = make_admin_token("anna", "write")
    file.write_text(lines)
    file.chmod(0o600)
    tls = Tls(cert, key, **more)
    return authority, {"admin_tls": tls, "admin_token_file": file}, secret


async def reported(client: Client) -> str:
    """Give the admin listener that the one proxy reports, once it does."""
    with trio.fail_after(30):
        while not (found := (await client.list("canary/web/proxies/")).entries):
            await trio.sleep(0.01)
    report = Report.load(found[0].value)
    assert report is not None
    return report.admin


async def test_a_token_is_shown_to_who_has_a_certificate_of_the_authority(
    tmp_path: Path,
) -> None:
    authority, options, secret = secured(tmp_path)
    async with in_memory_store() as client, proxy_on(client, **options) as proxy:
        assert proxy.admin_url.startswith("https://127.0.0.1:")
        shown = AdminCredentials(secret, ca=authority.ca_file)

        said = await read_status(proxy.admin_url, shown)

        assert said["id"] == proxy.id
        files = [one["file"] for one in said["certificates"]]
        assert files == [str(options["admin_tls"].cert)]
        assert await reported(client) == proxy.admin_url


async def test_the_name_of_a_proxy_is_told_to_who_has_no_token(tmp_path: Path) -> None:
    _, options, _ = secured(tmp_path)
    async with in_memory_store() as client, proxy_on(client, **options) as proxy:
        asked = {"service": "web", "proxy_id": proxy.id}

        assert await is_other_proxy(proxy.admin_url, **asked, instance="another life")
        own = str(proxy.status()["instance"])
        assert not await is_other_proxy(proxy.admin_url, **asked, instance=own)
        assert not await is_other_proxy(
            proxy.admin_url, service="web", proxy_id="b", instance="x"
        )


@pytest.mark.parametrize("listed", [True, False])
async def test_a_certificate_of_the_authority_may_read_and_a_listed_one_write(
    tmp_path: Path, listed: bool
) -> None:
    clients = Authority(tmp_path / "clients")
    clients.directory.mkdir()
    authority, options, _ = secured(
        tmp_path, client_ca=clients.ca_file, client_required=False
    )
    cert, key = clients.issue("anna@example.org", stem="anna", common_name="anna")
    if listed:
        found = read_subject(await trio.Path(cert).read_text())
        assert "CN=anna" in found
        with options["admin_token_file"].open("a") as file:
            file.write(f'[[certificate]]\nsubject = "{found}"\nrole = "write"\n')
    context = authority.trusting()
    context.load_cert_chain(cert, key)
    async with in_memory_store() as client, proxy_on(client, **options) as proxy:
        async with httpx.AsyncClient(verify=context) as anna:
            reads = await anna.get(f"{proxy.admin_url}/status")
            writes = await anna.post(f"{proxy.admin_url}/nothing-there")

            assert reads.status_code == 200
            assert writes.status_code == (405 if listed else 403)


def read_subject(pem: str) -> str:
    from http_trio.net.certificates.x509 import read_pem  # noqa: PLC0415

    return read_pem(pem.encode()).subject


async def test_a_proxy_without_an_admin_listener_says_so_to_the_fleet() -> None:
    async with in_memory_store() as client, proxy_on(client, admin=None) as proxy:
        assert proxy.admin_url == ""
        assert await reported(client) == ""
