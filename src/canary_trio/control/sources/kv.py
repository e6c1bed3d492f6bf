"""A kv-trio or a Consul as a source, by `http://` or `https://`: the store's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from kv_trio import Client, Contact, KeySetWatch


class KvSource(Client):
    """A kv-trio or a Consul.

    Attributes:
        read_only: empty: it can be written.
    """

    read_only = ""

    @asynccontextmanager
    async def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AsyncIterator[KeySetWatch]:
        """Follow many keys, whose present states come first."""
        yield KeySetWatch(self, keys, contact=contact)
        await trio.lowlevel.checkpoint()
