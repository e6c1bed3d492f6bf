"""Access control: what a client may read and write, by key prefix. Pure.

To write includes to read. A prefix is of bytes, as in the rest of the API: `canary/`
gives what is below it, `canary` also `canary2`.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from kv_trio.state.entry import Session


@attrs.frozen(cache_hash=True)
class Acl:
    """The rights of one client.

    Attributes:
        name: for logs and for people.
        read: prefixes under which it may read.
        write: prefixes under which it may read and write.
        token: the hash of the secret that grants them; a new secret is a new client.
    """

    name: str
    read: tuple[bytes, ...] = ()
    write: tuple[bytes, ...] = ()
    token: bytes = attrs.field(default=b"", repr=False)
    _readable: tuple[bytes, ...] = attrs.field(init=False, eq=False, repr=False)

    @_readable.default
    def _(self) -> tuple[bytes, ...]:
        return self.read + self.write

    def may_read(self, key: bytes) -> bool:
        """Tell whether the client may read a key."""
        return key.startswith(self._readable)

    def may_write(self, key: bytes) -> bool:
        """Tell whether the client may write a key."""
        return key.startswith(self.write)

    def may_write_under(self, prefix: bytes) -> bool:
        """Tell whether the client may write every key with a prefix."""
        return prefix.startswith(self.write)

    def may_read_under(self, prefix: bytes) -> bool:
        """Tell whether the client may read every key with a prefix."""
        return prefix.startswith(self._readable)

    def readable_under(self, prefix: bytes) -> list[bytes]:
        """Give the prefixes, sorted and disjoint, of the keys with a prefix that it may read.

        So what it may not read is not even looked at.
        """
        if self.may_read_under(prefix):
            return [prefix]
        found: list[bytes] = []
        for one in sorted(self._readable):
            if one.startswith(prefix) and not (found and one.startswith(found[-1])):
                found.append(one)
        return found

    def may_use(self, session: Session, held: Collection[bytes]) -> bool:
        """Tell whether the client may lock by a session, renew it or end it.

        Its owner may, and whoever may write all that it holds.
        """
        if self.may_write_under(b"") or self._owns(session):
            return True
        return bool(held) and all(map(self.may_write, held))

    def may_see(self, session: Session, held: Collection[bytes]) -> bool:
        """Tell whether the client may see a session: its own, or what it may read of."""
        if self.may_read_under(b"") or self._owns(session):
            return True
        return any(map(self.may_read, held))

    def _owns(self, session: Session) -> bool:
        return bool(session.owner) and session.owner == self.name


EVERYTHING = Acl("everything", write=(b"",))
"""The rights of everybody where there are no tokens."""

NOTHING = Acl("nobody")
"""The rights of a client without a token where there are tokens."""
