"""Which store is shown which token, and the files that tokens are read from.

Whoever writes a document may name another store in it (`config_server`). That must not
give them the fleet's token: a token is shown only to a store that the operator named
together with it, where the proxy was started.

A file is read again when that is asked for. One that is broken then changes nothing: the
token that was read last is shown on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from canary_trio.errors import BadToken
from http_trio import read_file

_log = logging.getLogger(__name__)

TOKEN_BYTES = 4096
"""Of a file that holds a token at most."""

_PORTS = {"http": 80, "https": 443}

_OF_SEVERAL = ("etcd", "etcds")  # whose members are one server

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""


def origin_of(url: str) -> Origin | None:
    """Give what makes two URLs the same server (RFC 6454); None for what is no URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _OF_SEVERAL:
            return parts.scheme, ",".join(sorted(parts.netloc.lower().split(","))), None
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        return scheme, host, parts.port or _PORTS.get(scheme)
    except ValueError:
        return None


@attrs.define(eq=False)
class StoreTokens:
    """The tokens of the stores that the operator named.

    Attributes:
        by_origin: the token of each; a store that is not in it is shown none.
        files: those that tokens are read from, by the URL of the store.
    """

    by_origin: dict[Origin | None, str] = attrs.field(factory=dict, repr=False)
    files: Mapping[str, str | os.PathLike[str]] = attrs.field(factory=dict)

    @classmethod
    def of(
        cls,
        config_server: str,
        token: str | None,
        others: Mapping[str, str],
        files: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> StoreTokens:
        """Take the first store's token, and those of stores that may be moved to.

        Raises:
            BadToken: one of the files holds none.
        """
        found = {origin_of(url): secret for url, secret in others.items()}
        if token:
            found[origin_of(config_server)] = token
        files = dict(files or {})
        found |= {origin_of(url): read_token(path) for url, path in files.items()}
        found.pop(None, None)
        return cls(found, files)

    def get(self, url: str) -> str | None:
        """Give the token that a store is shown; None for no token."""
        return self.by_origin.get(origin_of(url))

    def reload(self) -> None:
        """Read the files again; what is read is shown from the next request on."""
        for url, path in self.files.items():
            origin = origin_of(url)
            try:
                token = read_token(path)
            except BadToken as exc:
                _log.error("the token for %s stays as it was: %s", url, exc)
                continue
            if origin is not None and token != self.by_origin.get(origin):
                self.by_origin[origin] = token
                _log.info("the token for %s was read from %s", url, path)


def read_token(path: str | os.PathLike[str]) -> str:
    """Read the token that is in a file, with nothing else but space around it.

    Raises:
        BadToken: there is none, or what is there is none.
    """
    try:
        token = read_file(path, TOKEN_BYTES).decode("ascii").strip()
    except OSError as exc:
        raise BadToken(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise BadToken(f"{path} holds no token: found bytes beyond ASCII") from exc
    if not token or not token.isprintable() or " " in token:
        what = "spaces or line ends in it" if token else "nothing in it"
        raise BadToken(f"{path} holds no token: found {what}, expected one word")
    return token
