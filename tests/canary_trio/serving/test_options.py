"""What can be chosen of a proxy: one value, checked where it is made."""

from __future__ import annotations

import attrs
import pytest

from canary_trio import ProxyOptions
from http_trio import Limits
from http_trio.testing.peers import connected
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on


def test_addresses_are_several_in_any_sequence() -> None:
    assert ProxyOptions(binds=["a:1", "b:2"]).binds == ("a:1", "b:2")
    assert ProxyOptions(binds=(one for one in ("a:1",))).binds == ("a:1",)
    with pytest.raises(TypeError, match="got one address"):
        ProxyOptions(binds="127.0.0.1:80")
    with pytest.raises(TypeError, match="one address"):
        ProxyOptions(tls_binds="127.0.0.1:443")


def test_what_is_chosen_does_not_change() -> None:
    options = ProxyOptions()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        options.admin = "a:1"  # type: ignore[misc]
    assert attrs.evolve(options, admin="a:1").admin == "a:1"


def test_secrets_are_not_shown() -> None:
    assert "xyzzy" not in repr(ProxyOptions(token="xyzzy", bootstrap=b"xyzzy"))


async def test_clients_beyond_the_limit_are_told() -> None:
    limits = Limits(connections=1)
    async with in_memory_store() as client, proxy_on(client, limits=limits) as proxy:
        async with connected(proxy._server), connected(proxy._server) as late:
            head, body = await late.response()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"\r\nRetry-After: 1" in head
    assert b"too many clients" in body
