"""What can go wrong with the store, named by condition."""

from __future__ import annotations


class KvError(Exception):
    """The root of the errors of this package."""


class StorageError(KvError):
    """The disk refused a write: it is full, read-only or broken. The machine's fault.

    Nothing of the write took effect; it may be repeated once the reason is gone.
    """


class OperationFailed(KvError):
    """An operation failed in a way that nobody foresaw. The fault is in the store.

    Nothing of it took effect; the reason is in the server's log.
    """


class StoreLocked(KvError):
    """Another server has the data directory open. The operator's fault."""


class StoreDamaged(KvError):
    """The database in the data directory cannot be read; nothing was changed in it.

    Restore it from a backup, or move it away to begin with an empty store.
    """


class BadQuery(KvError):
    """A request's parameters make no sense. The client's fault.

    Attributes:
        status: the status code that Consul answers in this case.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Moved(KvError):
    """A request's path is not in its clean form.

    Attributes:
        location: the clean path, percent-encoded.
    """

    def __init__(self, location: str) -> None:
        super().__init__(f"moved to {location}")
        self.location = location


class StoreUnreachable(KvError):
    """There is no connection to the server, or it broke. A new try may succeed."""


class NoConnection(StoreUnreachable):
    """There was no connection to the server, so nothing was sent. A new try does no harm."""


class StoreRefused(KvError):
    """The server answered with an error.

    Attributes:
        status: the status code of its response.
        key: that was asked for, where a right to it was missing; else empty.
        right: that was missing: `key:read`, `key:write`, `session:read` or
            `session:write`; else empty.
    """

    def __init__(
        self, status: int, text: str, *, key: str = "", right: str = ""
    ) -> None:
        super().__init__(f"the store answered {status}: {text}")
        self.status = status
        self.key = key
        self.right = right


class UnexpectedResponse(KvError):
    """The response is not one of Consul's KV API. Whoever gave the URL is at fault."""


class BadKey(KvError):
    """A key, or the id of a session, cannot be named in a request. The caller's fault."""


class Compacted(KvError):
    """A read of the past is about a time that is forgotten. The client's fault.

    Attributes:
        index: the index of that time.
        oldest: the first index that is still known.
    """

    def __init__(self, index: int, oldest: int) -> None:
        super().__init__(
            f"index {index} is compacted; the oldest that is still known is {oldest}"
        )
        self.index = index
        self.oldest = oldest


class BadTokens(KvError):
    """A token file makes no sense, or cannot be read. The operator's fault.

    Attributes:
        faults: each with its place in the file.
    """

    def __init__(self, faults: list[str], path: str = "the token file") -> None:
        super().__init__(f"{path}: {'; '.join(faults)}")
        self.faults = faults


class BadAuditLog(KvError):
    """The audit log cannot be opened. The operator's fault."""


class LockLost(KvError):
    """A lock was lost while it was needed: its session ended, or could not be renewed."""
