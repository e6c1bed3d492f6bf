"""A kv-trio or a Consul as a source, by `http://` or `https://`: the store's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from canary_trio.errors import WrongServer
from kv_trio import (
    Client,
    Contact,
    KeySetWatch,
    StoreRefused,
    UnexpectedResponse,
)

HINT = "an etcd is etcd://HOST:PORT"
"""What else it may be."""

_OF_OTHERS = frozenset({301, 302, 303, 307, 308, 400, 405, 406, 410, 501})
"""Statuses that neither of them gives for a key that is read."""


class KvSource(Client):
    """A kv-trio or a Consul.

    Attributes:
        read_only: empty: it can be written.
    """

    read_only = ""

    async def check_server(self, key: str) -> None:
        """Look whether a kv-trio or a Consul is there: each says the index of a key.

        Raises:
            WrongServer: it is another server.
            KvError: that cannot be told now.
        """
        try:
            await self.get(key)
        except UnexpectedResponse as exc:
            raise WrongServer(self._is_none(exc)) from exc
        except StoreRefused as exc:
            if exc.status in _OF_OTHERS:
                raise WrongServer(self._is_none(exc)) from exc
            raise

    def _is_none(self, reason: Exception) -> str:
        return f"{self.url} is no kv-trio and no Consul: {reason}; {HINT}"

    @asynccontextmanager
    async def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AsyncIterator[KeySetWatch]:
        """Follow many keys, whose present states come first."""
        yield KeySetWatch(self, keys, contact=contact)
        await trio.lowlevel.checkpoint()
