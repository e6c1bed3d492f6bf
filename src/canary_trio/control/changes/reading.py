"""Reading a document as it stands: what a command prints needs nothing of what checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary_trio.control.store_keys import config_key
from canary_trio.errors import NoDocument

if TYPE_CHECKING:
    from canary_trio.control.sources.source import KeyStore


async def read_document(client: KeyStore, service: str) -> tuple[bytes, int]:
    """Give a service's document, as it is written, and its revision.

    Raises:
        NoDocument: there is none.
        KvError: the store cannot be read.
    """
    entry = (await client.get(config_key(service))).entry
    if entry is None:
        raise NoDocument(service)
    return entry.value, entry.modify_index
