"""What can go wrong with the store, named by condition."""

from __future__ import annotations


class KvError(Exception):
    """The root of the errors of this package."""


class StorageError(KvError):
    """The disk refused a write: it is full, read-only or broken. The machine's fault.

    Nothing of the write took effect; it may be repeated once the reason is gone.
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
        location: the clean one, percent-encoded.
    """

    def __init__(self, location: str) -> None:
        super().__init__(f"moved to {location}")
        self.location = location


class StoreUnreachable(KvError):
    """No connection to the server, or it broke. It may be tried again."""


class StoreRefused(KvError):
    """The server answered with an error.

    Attributes:
        status: the status code of its answer.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the store answered {status}: {text}")
        self.status = status


class UnexpectedAnswer(KvError):
    """What answered does not speak Consul's KV API."""


class Compacted(KvError):
    """What was asked of the past is forgotten.

    Attributes:
        index: the one that was asked for.
        oldest: the first that is still known.
    """

    def __init__(self, index: int, oldest: int) -> None:
        super().__init__(
            f"index {index} is compacted; the oldest that is still known is {oldest}"
        )
        self.index = index
        self.oldest = oldest


class BadTokens(KvError):
    """A token file makes no sense, or cannot be read.

    Attributes:
        faults: what is wrong, each with its place.
    """

    def __init__(self, faults: list[str], path: str = "the token file") -> None:
        super().__init__(f"{path}: {'; '.join(faults)}")
        self.faults = faults


class LockLost(KvError):
    """A lock was lost while it was needed: its session ended, or could not be renewed."""
