"""Which store is shown which token. Pure.

Whoever writes a document may name another store in it (`config_server`). That must not
give them the fleet's token: a token is shown only to a store that the operator named
together with it, where the proxy was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]
"""Scheme, host and port."""


def origin_of(url: str) -> Origin | None:
    """Give what makes two URLs the same server (RFC 6454); None for what is no URL."""
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        return scheme, host, parts.port or _PORTS.get(scheme)
    except ValueError:
        return None


@attrs.frozen
class StoreTokens:
    """The tokens of the stores that the operator named.

    Attributes:
        by_origin: the token of each; a store that is not in it is shown none.
    """

    by_origin: Mapping[Origin | None, str] = attrs.field(repr=False)

    @classmethod
    def of(
        cls, config_server: str, token: str | None, others: Mapping[str, str]
    ) -> StoreTokens:
        """Take the first store's token, and those of stores that may be moved to."""
        found = {origin_of(url): secret for url, secret in others.items()}
        if token:
            found[origin_of(config_server)] = token
        found.pop(None, None)
        return cls(found)

    def get(self, url: str) -> str | None:
        """Give the token that a store is shown; None for no token."""
        return self.by_origin.get(origin_of(url))
