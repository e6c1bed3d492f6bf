"""How many requests of each client wait, so that no client has all the places. Pure.

A client is an address: many programs may be behind one, so the limit is generous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from kv_trio.errors import BadQuery


class ClientCounts:
    """The waiting requests of each client."""

    def __init__(self, limit: int) -> None:
        """Count, up to a limit for each client."""
        self._limit = limit
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<ClientCounts of {len(self._counts)}>"

    def add(self, client: str) -> None:
        """Count one more.

        Raises:
            BadQuery: the client has as many as it may.
        """
        count = self._counts.get(client, 0)
        if count >= self._limit:
            raise BadQuery(
                429,
                f"{count} requests from {client} wait already, and {self._limit} may; end"
                " some, or raise the store's limit: --limit watchers_per_client=NUMBER",
            )
        self._counts[client] = count + 1

    def discard(self, clients: Collection[str]) -> None:
        """Count one less for each; the same client may be there many times."""
        if len(clients) == 1:  # most often
            (client,) = clients
            self._lower(client, 1)
            return
        for client, count in Counter(clients).items():
            self._lower(client, count)

    def _lower(self, client: str, count: int) -> None:
        left = self._counts[client] - count
        if left > 0:
            self._counts[client] = left
        else:
            del self._counts[client]
