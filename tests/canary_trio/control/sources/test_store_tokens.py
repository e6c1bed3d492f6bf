"""A token is shown to the stores that the operator named, and to no other."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
import trio

from canary_trio.control.sources.store_tokens import (
    TOKEN_BYTES,
    StoreTokens,
    read_token,
)
from canary_trio.errors import BadToken
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

FIRST, OTHER = "http://127.0.0.1:8500", "https://kv.example.org"
TOKENS = StoreTokens.of(FIRST, "one", {OTHER: "two"})


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (FIRST, "one"),
        (FIRST + "/", "one"),
        ("http://127.0.0.1:8500/base", "one"),
        (OTHER, "two"),
        ("https://KV.example.org:443/", "two"),
        ("http://kv.example.org", None),
        ("https://kv.example.org:8443", None),
        ("https://kv.example.org.evil.example", None),
        ("https://kv.example.org@evil.example", None),
        ("http://127.0.0.1:8501", None),
        ("https://127.0.0.1:8500", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_a_token_belongs_to_a_scheme_host_and_port(url: str, token: str | None) -> None:
    assert TOKENS.get(url) == token


def test_what_is_no_url_has_no_token() -> None:
    assert (
        StoreTokens.of("http://[", "one", {"http://a:b": "two"}).get("http://[") is None
    )
    assert "one" not in repr(TOKENS)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "nothing in it"),
        (b" \n", "nothing in it"),
        (b"two words", "spaces or line ends"),
        (b"one\nfor each line", "spaces or line ends"),
        (b"tab\tin it", "spaces or line ends"),
        (b"caf\xc3\xa9", "beyond ASCII"),
        (b"\x00", "expected one word"),
        (b"x" * (TOKEN_BYTES + 1), f"more than {TOKEN_BYTES} bytes"),
        (None, "No such file"),
    ],
)
def test_a_file_without_a_token_is_refused_and_later_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None, why: str
) -> None:
    broken, other = tmp_path / "broken", tmp_path / "other"
    broken.write_text("one\n")
    other.write_text(" two \n")
    files = {FIRST: broken, OTHER: other}
    tokens = StoreTokens.of(FIRST, None, {}, files)
    assert (tokens.get(FIRST), tokens.get(OTHER)) == ("one", "two")
    if content is None:
        broken.unlink()
    else:
        broken.write_bytes(content)
    other.write_text("three")
    tokens.reload()
    assert (tokens.get(FIRST), tokens.get(OTHER)) == ("one", "three")
    assert f"the token for {FIRST} stays as it was: " in caplog.text
    assert why in caplog.text
    with pytest.raises(BadToken, match=str(broken)):
        StoreTokens.of(FIRST, None, {}, files)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadToken, match="no regular file"):
        read_token(tmp_path / "pipe")


async def test_a_document_that_moves_the_fleet_gives_nobody_its_token() -> None:
    seen = b""

    async def listen(stream: trio.SocketStream) -> None:
        nonlocal seen
        seen += await stream.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, listen, 0, host="127.0.0.1")
        )
        port = listener.socket.getsockname()[1]
        async with (
            in_memory_store() as client,
            proxy_on(client, token="fleet-token") as proxy,
        ):
            moved = DOCUMENT | {"config_server": f"http://127.0.0.1:{port}"}
            await client.put("canary/web/config", json.dumps(moved).encode())
            with trio.fail_after(30):
                while not seen:
                    await trio.sleep(0.01)
            assert proxy.revision > 0
        nursery.cancel_scope.cancel()

    assert b"GET /v1/kv/canary/web/config" in seen
    assert b"fleet-token" not in seen
