"""A plain server of HTTP as a source, by `http+poll://` or `https+poll://`.

    http+poll://host/canary/            web.json, @edge.json, and web.secret beside it
    http+poll://host/canary/web.json    of whichever service is served, and web.secret

Its documents are asked for again and again, every `update_rate` seconds, with the `ETag` that
came with them; a server that knows it says 304, and one that has none sends all again.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import trio

from canary_trio.control.sources.read_only import (
    Clock,
    ReadOnlySource,
    entry_of,
    resource_of,
)
from canary_trio.errors import BadSource
from kv_trio import Entry, StoreRefused, Transport

DOCUMENT_BYTES = 2 * 1024 * 1024
"""Bytes of a document at most."""

TAG_BYTES = 1024
"""Bytes of an ETag at most; a longer one is not sent back."""

_SUFFIXES = {"config": ".json", "secret": ".secret"}
_ALSO = (HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

Secret = str | Callable[[], str | None] | None


class PollSource(ReadOnlySource):
    """A server that is asked for documents at a rate."""

    read_only = "a plain server is only asked; change the document where it has it from"

    def __init__(
        self,
        url: str,
        *,
        token: Secret = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Take the URL of a document, or with / at its end of a place of many.

        Raises:
            BadSource: it is none.
            http_trio.BadCertificate: the authorities cannot be read.
        """
        self.url = url
        parts = urlsplit(url.replace("+poll", "", 1))
        if not parts.hostname or "@" in parts.netloc or parts.fragment or parts.query:
            shown = re.sub(r"//[^/@]*@", "//...@", url)
            raise BadSource(
                f"found {shown!r}, expected http+poll://HOST[:PORT]/PATH/FILE.json, or"
                " http+poll://HOST[:PORT]/DIRECTORY/; a secret is the token"
            )
        self._path = parts.path or "/"
        self.is_directory = self._path.endswith("/")
        self._token = token
        server = f"{parts.scheme}://{parts.netloc}"
        self._transport = Transport(server, None, ca_file, cert_file=cert_file)
        self._known: dict[str, tuple[str, Entry]] = {}  # tag and entry, by path

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._transport.__aexit__(kind, error, trace)  # noqa: ASYNC102  # shields

    def path_of(self, key: str) -> str | None:
        """Give the path of a key; None if it can have none."""
        resource = resource_of(key)
        if resource is None:
            return None
        service, kind = resource
        if self.is_directory:
            return self._path + quote(service, safe="@") + _SUFFIXES[kind]
        if kind == "config":
            return self._path
        stem, dot, _ = self._path.rpartition(".json")
        return stem + ".secret" if dot else None

    async def read(self, key: str) -> Entry | None:
        """Ask for the document of a key."""
        path = self.path_of(key)
        if path is None:
            await trio.lowlevel.checkpoint()
            return None
        token = self._token() if callable(self._token) else self._token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        tag, known = self._known.get(path, ("", None))
        if tag:
            headers["If-None-Match"] = tag
        reply = await self._transport.request(
            "GET", path, {}, limit=DOCUMENT_BYTES, also=_ALSO, headers=headers
        )
        if reply.status == HTTPStatus.NOT_MODIFIED:
            if known is None:
                raise StoreRefused(reply.status, "but it was not asked whether")
            return known
        if reply.status in _ALSO:
            self._known.pop(path, None)
            return None
        entry = entry_of(key, reply.body)
        has_tag = bool(reply.tag) and len(reply.tag) <= TAG_BYTES
        self._known[path] = (reply.tag if has_tag else "", entry)
        return entry

    @asynccontextmanager
    async def hints(self) -> AsyncIterator[Clock]:
        """Give what only the clock says."""
        yield Clock()
        await trio.lowlevel.checkpoint()
