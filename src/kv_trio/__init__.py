"""A versioned key-value store with a fast watch, and its client."""

from kv_trio.client import Client, Contact, Listing, Snapshot, Watch, Written
from kv_trio.core import Entry, Session
from kv_trio.errors import (
    BadQuery,
    BadTokens,
    Compacted,
    KvError,
    StorageError,
    StoreDamaged,
    StoreLocked,
    StoreRefused,
    StoreUnreachable,
    UnexpectedAnswer,
)
from kv_trio.server import KvServer, serve

__all__ = [
    "BadQuery",
    "BadTokens",
    "Client",
    "Compacted",
    "Contact",
    "Entry",
    "KvError",
    "KvServer",
    "Listing",
    "Session",
    "Snapshot",
    "StorageError",
    "StoreDamaged",
    "StoreLocked",
    "StoreRefused",
    "StoreUnreachable",
    "UnexpectedAnswer",
    "Watch",
    "Written",
    "serve",
]
