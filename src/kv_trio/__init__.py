"""A versioned key-value store with a fast watch, and its client."""

from kv_trio.client import Client
from kv_trio.core import Entry, Revision, Session
from kv_trio.errors import (
    BadQuery,
    BadTokens,
    Compacted,
    KvError,
    LockLost,
    StorageError,
    StoreDamaged,
    StoreLocked,
    StoreRefused,
    StoreUnreachable,
    UnexpectedAnswer,
)
from kv_trio.following import Contact, Watch
from kv_trio.history import Bounds
from kv_trio.live_value import Invalid, Live, live
from kv_trio.server import KvServer, serve
from kv_trio.states import Listing, Snapshot, Written
from kv_trio.txn import Step, StepFailed, Transacted

__all__ = [
    "BadQuery",
    "BadTokens",
    "Bounds",
    "Client",
    "Compacted",
    "Contact",
    "Entry",
    "Invalid",
    "KvError",
    "KvServer",
    "Listing",
    "Live",
    "LockLost",
    "Revision",
    "Session",
    "Snapshot",
    "Step",
    "StepFailed",
    "StorageError",
    "StoreDamaged",
    "StoreLocked",
    "StoreRefused",
    "StoreUnreachable",
    "Transacted",
    "UnexpectedAnswer",
    "Watch",
    "Written",
    "live",
    "serve",
]
