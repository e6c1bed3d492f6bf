"""From a URL to a source."""

from __future__ import annotations

import pytest

from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource, KeyStore
from canary_trio.errors import BadSource
from kv_trio import Client, EtcdClient


async def test_a_store_is_a_source_that_can_be_written() -> None:
    async with open_source("http://127.0.0.1:9", token="secret") as source:
        assert isinstance(source, Client)
        assert (source.url, source.read_only) == ("http://127.0.0.1:9", "")


async def test_the_stores_client_is_what_the_control_plane_takes() -> None:
    async with Client("http://127.0.0.1:9") as client:
        store: KeyStore = client  # which the type checker holds
        assert store.url == "http://127.0.0.1:9"


def test_what_is_opened_is_told_by_its_type() -> None:
    source: DocumentSource = open_source("http://127.0.0.1:9/")
    assert source.url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8500", "//127.0.0.1", "ftp://a", "consul://a:8500", "http:a"),
        *("etcd://", "etcd://a/b", "etcd://u:secret@a", "zk://u:secret@a"),
    ],
)
def test_what_is_no_source_is_refused_with_words(url: str) -> None:
    with pytest.raises(BadSource, match="expected") as caught:
        open_source(url)
    assert "secret" not in str(caught.value)


async def test_an_etcd_is_a_source_that_can_be_written() -> None:
    async with open_source("etcd://a:1,b/", token="web:secret") as source:
        assert isinstance(source, EtcdClient)
        assert (source.url, source.read_only) == ("etcd://a:1,b", "")
