"""From a URL to a source."""

from __future__ import annotations

from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource, KeyStore
from kv_trio import Client


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
