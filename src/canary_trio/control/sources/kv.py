"""A kv-trio or a Consul as a source, by `http://` or `https://`: the store's own client."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

import trio

from canary_trio.control.sources.other_server import ask_or_look, what_speaks
from canary_trio.control.sources.source import WAIT_S
from canary_trio.errors import WrongServer
from kv_trio import (
    Client,
    Contact,
    KeySetWatch,
    KvError,
    Snapshot,
    StoreRefused,
    Transport,
    UnexpectedResponse,
    Watch,
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

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str | None] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make a client; the arguments are those of `kv_trio.Client`, and a certificate.

        Args:
            url: of the server.
            token: that it is shown.
            ca_file: the authorities that it is verified by.
            cert_file: the certificate that it is shown, with its private key.
        """
        super().__init__(url, token=token, ca_file=ca_file)
        self._transport = Transport(url, token, ca_file, cert_file=cert_file)
        self._followed: WeakSet[Watch[Any] | KeySetWatch] = WeakSet()

    def doubt(self) -> None:
        """Ask anew for all that is followed: its server may be another one by now.

        A poll waits for an index that a store which was restored, or that another one
        behind the same address, may not reach for long.
        """
        for watch in tuple(self._followed):
            watch.ask_anew()

    async def check_server(self, key: str) -> None:
        """Look whether a kv-trio or a Consul is there: each says the index of a key.

        Raises:
            WrongServer: it is another server.
            KvError: that cannot be told now.
        """
        try:
            await ask_or_look(partial(self.get, key), self._look)
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

    async def _look(self) -> None:
        if said := await what_speaks(self.url):
            raise WrongServer(self._is_none(said))

    def _is_none(self, reason: object) -> str:
        return f"{self.url} is no kv-trio and no Consul: {reason}; {HINT}"

    @asynccontextmanager
    async def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> AsyncIterator[KeySetWatch]:
        """Follow many keys, whose present states come first."""
        watch = KeySetWatch(self, keys, contact=contact)
        self._followed.add(watch)
        yield watch
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def watch(
        self, key: str, *, wait_s: float = WAIT_S, contact: Contact | None = None
    ) -> AsyncIterator[Watch[Snapshot]]:
        """Follow a key, as `kv_trio.Client.watch`."""
        async with super().watch(key, wait_s=wait_s, contact=contact) as states:
            self._followed.add(states)
            yield states
