"""Access control: what a client may read and write, by key prefix. Pure.

To write includes to read. A prefix is of bytes, as in the rest of the API: `canary/`
gives what is below it, `canary` also `canary2`.
"""

from __future__ import annotations

import attrs


@attrs.frozen(cache_hash=True)
class Acl:
    """The rights of one client.

    Attributes:
        name: for logs and for people.
        read: prefixes under which it may read.
        write: prefixes under which it may read and write.
    """

    name: str
    read: tuple[bytes, ...] = ()
    write: tuple[bytes, ...] = ()
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


EVERYTHING = Acl("everything", write=(b"",))
"""The rights of everybody where there are no tokens."""

NOTHING = Acl("nobody")
"""The rights of a client without a token where there are tokens."""
