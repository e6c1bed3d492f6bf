"""A kv-trio or a Consul as a source, by `http://` or `https://`: the store's own client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from canary_trio.errors import WrongServer
from kv_trio import (
    Client,
    Contact,
    KeySetWatch,
    KvError,
    StoreRefused,
    UnexpectedResponse,
)

HINT = "an etcd is etcd://HOST:PORT"
"""What else it may be."""

_OF_OTHERS = frozenset({301, 302, 303, 307, 308, 400, 405, 406, 410, 501})
"""Statuses that neither of them gives for a key that is read."""

_SELF_BYTES = 64 * 1024  # of a token with its policies


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

    async def token_name(self) -> str:
        """Give the name of the token that it is shown; empty where nobody knows one.

        It is a kv-trio's name of it, or a Consul's description.
        """
        token = self._transport._token  # noqa: SLF001  # it is asked what it shows
        if not (token() if callable(token) else token):
            return ""
        try:
            path = "/v1/acl/token/self"
            reply = await self._transport.request("GET", path, {}, limit=_SELF_BYTES)
            found = json.loads(reply.body)["Description"]
        except (KvError, ValueError, LookupError, TypeError, RecursionError):
            return ""  # it has no tokens, or will not say
        return " ".join(found.split()) if isinstance(found, str) else ""

    def _is_none(self, reason: Exception) -> str:
        return f"{self.url} is no kv-trio and no Consul: {reason}; {HINT}"

    @asynccontextmanager
    async def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AsyncIterator[KeySetWatch]:
        """Follow many keys, whose present states come first."""
        yield KeySetWatch(self, keys, contact=contact)
        await trio.lowlevel.checkpoint()
