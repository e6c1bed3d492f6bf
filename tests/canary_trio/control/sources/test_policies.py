"""The least rights: a proxy runs whole with them, and without one it says which is missing."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio import BadName, change, read_document, wait_applied
from canary_trio.control.changes.confirming import write_unconfirmed
from canary_trio.control.changes.documents import (
    read_history,
    write_document,
    write_first,
)
from canary_trio.control.sources.policies import STORES, policy
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import (
    changes_prefix,
    config_key,
    driver_key,
    driver_state_key,
    evidence_key,
    freeze_key,
    past_document_key,
    pending_key,
    proxies_prefix,
    secret_key,
    seen_key,
)
from canary_trio.testing import PATIENCE_S
from kv_trio import Client, Right, operator_rights, proxy_rights, serve
from kv_trio.api.tokens import make_token
from tests.canary_trio.serving.test_gateway import gateway_on
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

ROUTES = {"routes": [{"host": "web.org", "service": "web"}]}


@asynccontextmanager
async def guarded(
    path: Path, rights: Sequence[Right]
) -> AsyncIterator[tuple[Client, str]]:
    """Serve a store with tokens; give a client that may do all, and a secret of these."""
    root, root_lines = make_token("root", [], [""])
    secret, lines = make_token(
        "it",
        [right.key for right in rights if not right.writes],
        [right.key for right in rights if right.writes],
    )
    file = path / "tokens.toml"
    file.write_text(root_lines + lines)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"], tokens=file))
        async with Client(server.url, token=root) as client:
            yield client, secret
        nursery.cancel_scope.cancel()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("drives", [True, False])
async def test_a_proxy_and_an_operator_need_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, drives: bool
) -> None:
    async with guarded(tmp_path, operator_rights("web")) as (root, token):
        async with Client(root.url, token=token) as operator:
            await write_document(operator, "web", DOCUMENT, over=0)
            text = (tmp_path / "tokens.toml").read_text()
            own = proxy_rights("web", drives=drives)
            reads = [right.key for right in own if not right.writes]
            writes = [right.key for right in own if right.writes]
            secret, lines = make_token("proxy", reads, writes)
            (tmp_path / "new").write_text(text + lines)
            (tmp_path / "new").replace(tmp_path / "tokens.toml")
            await until_known(root.url, secret)
            options = {"token": secret, "proxy_id": "p"}
            with trio.fail_after(PATIENCE_S):
                async with proxy_on(root, **options) as proxy:
                    revision = await change(operator, "web", "ratio=0.5")
                    await wait_applied(operator, "web", revision)
                    assert proxy.revision == revision
                    for key in (secret_key("web"), seen_key("web", "p")):
                        while (await operator.get(key)).entry is None:
                            await trio.sleep(0.01)
                    if drives:
                        await goes_back(operator)
        left = (await root.list(proxies_prefix("web"))).entries
        assert left == (), "it said goodbye, and took its note along"
    assert [told for told in warnings(caplog) if "was not confirmed" not in told] == []


async def goes_back(operator: KeyStore) -> None:
    """Change a document unconfirmed, and wait until a proxy has taken that back."""
    text, over = await read_document(operator, "web")
    document = json.loads(text) | {"ratio": 0.9}
    await write_unconfirmed(operator, "web", document, over=over, within_s=1.0)
    while b"0.9" in (await read_document(operator, "web"))[0]:
        await trio.sleep(0.05)
    while (await operator.get(pending_key("web"))).entry is not None:
        await trio.sleep(0.05)


async def until_known(url: str, secret: str) -> None:
    async with Client(url, token=secret) as client:
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    await client.get(config_key("web"))
                except Exception:  # the store has not read its file again yet
                    await trio.sleep(0.05)
                else:
                    return


async def test_a_gateway_needs_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(tmp_path, proxy_rights("@edge", ["web"])) as (root, token):
        await write_document(root, "web", DOCUMENT, over=0)
        await write_document(root, "@edge", ROUTES, over=0)
        with trio.fail_after(PATIENCE_S):
            async with gateway_on(root, token=token):
                revision = await change(root, "web", "ratio=0.5")
                await wait_applied(root, "web", revision)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("without", "words"),
    [
        (config_key("web"), "read {}"),
        (secret_key("web"), "read {}"),
        (proxies_prefix("web"), "read {}p"),
    ],
)
async def test_a_right_that_is_missing_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: str, words: str
) -> None:
    rights = [r for r in proxy_rights("web") if r.key != without]
    assert len(rights) == len(proxy_rights("web")) - 1, "it is one of them"
    async with guarded(tmp_path, rights) as (root, token):
        await write_document(root, "web", DOCUMENT, over=0)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_proxy, root, token)
                await until_told(caplog, words.format(without))
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("right", ["config", "secret", "proxies/p"])
async def test_who_may_read_and_finds_none_is_told_that_it_must_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, right: str
) -> None:
    key = f"canary/web/{right}"
    rights = [r for r in proxy_rights("web") if not key.startswith(r.key)]
    rights.append(Right(False, key))
    async with guarded(tmp_path, rights) as (root, token):
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_proxy, root, token)
                await until_told(caplog, f"write {key}")
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("canary/@edge/config", "read {}"),
        ("canary/@edge/proxies/", "read {}g"),
        ("canary/web/config", "read {}"),
        ("canary/web/secret", "read {}"),
        ("canary/web/proxies/", "write {}g"),
    ],
)
async def test_a_right_that_a_gateway_misses_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, without: str, words: str
) -> None:
    rights = [r for r in proxy_rights("@edge", ["web"]) if r.key != without]
    async with guarded(tmp_path, rights) as (root, token):
        await write_document(root, "web", DOCUMENT, over=0)
        await write_document(root, "@edge", ROUTES, over=0)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_gateway, root, token)
                await until_told(caplog, words.format(without))
                nursery.cancel_scope.cancel()


async def test_who_may_write_nothing_beside_it_writes_the_first_document(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rights = [Right(True, config_key("web"))]
    document = json.dumps(DOCUMENT).encode()
    async with guarded(tmp_path, rights) as (root, token):
        async with Client(root.url, token=token) as client:
            await write_first(client, "web", document)
            await write_first(client, "web", b"{}")  # there is one
        assert (await read_document(root, "web"))[0] == document
        assert (await read_history(root, "web")).changes[0].by_hand
    assert len(warnings(caplog)) == 1
    assert "the first document of web has no history" in warnings(caplog)[0]


async def run_proxy(root: Client, token: str) -> None:
    async with proxy_on(root, token=token, proxy_id="p"):
        await trio.sleep_forever()


async def run_gateway(root: Client, token: str) -> None:
    async with gateway_on(root, token=token):
        await trio.sleep_forever()


async def until_told(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until a warning names a key, and the right to it."""
    while not any(words in told for told in warnings(caplog)):
        await trio.sleep(0.02)


def test_every_key_of_a_service_is_one_that_a_right_is_for() -> None:
    keys = [config_key("web"), secret_key("web"), proxies_prefix("web") + "p"]
    keys += [driver_key("web"), driver_state_key("web"), seen_key("web", "p")]
    keys += [evidence_key("web", "p"), freeze_key("web"), pending_key("web")]
    keys += [changes_prefix("web") + "1", past_document_key("web", "1")]
    for key in keys:
        assert any(
            key == right.key or (right.is_prefix and key.startswith(right.key))
            for right in proxy_rights("web")
        )


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("is_operator", [True, False])
def test_each_store_is_told_of_all_keys_and_of_no_others(
    store: str, *, is_operator: bool
) -> None:
    told = policy(store, "web", is_operator=is_operator)
    rights = operator_rights("web") if is_operator else proxy_rights("web")
    for right in rights:
        assert right.key in told
    assert ("session" in told) is (store == "consul" and not is_operator)
    assert len(re.findall("canary(-history)?/", told)) == len(rights)


@pytest.mark.parametrize("name", ["a b", "../x", "we@b", ""])
def test_what_is_no_name_makes_no_policy(name: str) -> None:
    with pytest.raises(BadName):
        policy("consul", name)
