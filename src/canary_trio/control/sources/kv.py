"""A kv-trio or a Consul as a source, by `http://` or `https://`: the store's own client."""

from __future__ import annotations

from collections.abc import Iterable

from kv_trio import Client, Contact, KeySetWatch


class KvSource(Client):
    """A kv-trio or a Consul.

    Attributes:
        read_only: empty: it can be written.
    """

    read_only = ""

    def watch_keys(
        self, keys: Iterable[str], *, contact: Contact | None = None
    ) -> KeySetWatch:
        """Follow many keys, whose present states come first."""
        return KeySetWatch(self, keys, contact=contact)
