"""What the store says of a gateway's services: which key is whose, and what it is."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import attrs

from canary_trio.control.store_keys import config_key, pending_key, secret_key
from kv_trio import Entry


class KeyKind(enum.Enum):
    """What a key of a service holds."""

    DOCUMENT = enum.auto()
    SECRET = enum.auto()
    PENDING = enum.auto()


_KEYS = {
    KeyKind.DOCUMENT: config_key,
    KeyKind.SECRET: secret_key,
    KeyKind.PENDING: pending_key,
}


class FollowedKeys:
    """The keys of some services."""

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._found = {
            make(service): (service, kind)
            for service in services
            for kind, make in _KEYS.items()
        }

    def __repr__(self) -> str:
        return f"<FollowedKeys {len(self._found)}>"

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return iter(self._found)

    def find(self, key: str) -> tuple[str, KeyKind] | None:
        """Give whose key it is, and what it holds; None if it is none of them."""
        return self._found.get(key)


@attrs.define
class ServiceNews:
    """What the store says of a service: the entries of those keys that have changed."""

    entries: dict[KeyKind, Entry | None] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def has(self, kind: KeyKind) -> bool:
        """Tell whether one of the keys has changed."""
        return kind in self.entries

    def of(self, kind: KeyKind) -> Entry | None:
        """Give what the key is now, if it has changed; None if it is absent."""
        return self.entries.get(kind)

    def note(self, kind: KeyKind, entry: Entry | None) -> None:
        """Note what one of the keys is now."""
        self.entries[kind] = entry

    def over(self, older: ServiceNews) -> ServiceNews:
        """Give what is still to be taken: this, and what it does not say of before."""
        return ServiceNews({**older.entries, **self.entries})
