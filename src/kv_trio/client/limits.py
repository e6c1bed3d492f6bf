"""The limits of what a store may respond. Pure."""

from __future__ import annotations

import attrs


@attrs.frozen
class ResponseLimits:
    """The bytes of a response at most; one that is larger is ended with its connection.

    A store is somebody else's program: what it sends without end must not take the
    memory, and its JSON is read in one go, which takes 10 ms for each MiB.

    Attributes:
        document: of one key, a write, or a session. A value of 512 KiB, the largest that
            this store and Consul as it is take, is 0.7 MiB in base64; where a Consul's
            `kv_max_value_size` is raised, this must be too.
        listing: of many keys, their history, or the sessions. 64 MiB hold 300,000 keys
            of a line each, or all values that fit in 48 MiB.
    """

    document: int = 2 * 1024 * 1024
    listing: int = 64 * 1024 * 1024
