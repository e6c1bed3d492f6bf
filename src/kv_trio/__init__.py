"""A versioned key-value store with a fast watch, and its client."""

from typing import TYPE_CHECKING

from canary_health.face import lazy_face

if TYPE_CHECKING:
    from kv_trio.api.writing.audit_log import AuditLog
    from kv_trio.client.client import Client
    from kv_trio.client.key_set_watch import KeySetWatch
    from kv_trio.client.limits import ResponseLimits
    from kv_trio.client.live_value import Invalid, Live, live
    from kv_trio.client.results import Listing, Snapshot, WriteResult
    from kv_trio.client.transport import Transport
    from kv_trio.client.watch import Backoff, Contact, PrefixWatch, Watch
    from kv_trio.errors import (
        BadAuditLog,
        BadKey,
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
        UnexpectedResponse,
    )
    from kv_trio.etcd.client import EtcdClient
    from kv_trio.limits import StoreLimits
    from kv_trio.serving import KvServer, serve
    from kv_trio.state.entry import Entry, Revision, Session
    from kv_trio.state.roles import (
        Right,
        operator_rights,
        proxy_rights,
        role_name,
    )
    from kv_trio.state.txn_operation import (
        TransactionResult,
        TxnOperation,
        TxnOperationFailed,
    )
    from kv_trio.storage.history import Bounds
else:
    __getattr__, __dir__ = lazy_face(
        __name__,
        {
            "client.client": "Client",
            "client.key_set_watch": "KeySetWatch",
            "client.limits": "ResponseLimits",
            "client.live_value": "Invalid Live live",
            "client.results": "Listing Snapshot WriteResult",
            "client.transport": "Transport",
            "client.watch": "Backoff Contact PrefixWatch Watch",
            "api.writing.audit_log": "AuditLog",
            "errors": "BadAuditLog BadKey BadQuery BadTokens Compacted KvError LockLost StorageError StoreDamaged StoreLocked StoreRefused StoreUnreachable UnexpectedResponse",
            "etcd.client": "EtcdClient",
            "limits": "StoreLimits",
            "serving": "KvServer serve",
            "state.entry": "Entry Revision Session",
            "state.roles": "Right operator_rights proxy_rights role_name",
            "state.txn_operation": "TransactionResult TxnOperation TxnOperationFailed",
            "storage.history": "Bounds",
        },
    )

__all__ = [
    "AuditLog",
    "Backoff",
    "BadAuditLog",
    "BadKey",
    "BadQuery",
    "BadTokens",
    "Bounds",
    "Client",
    "Compacted",
    "Contact",
    "Entry",
    "EtcdClient",
    "Invalid",
    "KeySetWatch",
    "KvError",
    "KvServer",
    "Listing",
    "Live",
    "LockLost",
    "PrefixWatch",
    "ResponseLimits",
    "Revision",
    "Right",
    "Session",
    "Snapshot",
    "StorageError",
    "StoreDamaged",
    "StoreLimits",
    "StoreLocked",
    "StoreRefused",
    "StoreUnreachable",
    "TransactionResult",
    "Transport",
    "TxnOperation",
    "TxnOperationFailed",
    "UnexpectedResponse",
    "Watch",
    "WriteResult",
    "live",
    "operator_rights",
    "proxy_rights",
    "role_name",
    "serve",
]
