"""An etcd as a source, by `etcd://` or `etcds://`."""

from __future__ import annotations

from kv_trio import EtcdClient


class EtcdSource(EtcdClient):
    """An etcd, of one member or of several.

    Attributes:
        read_only: empty: it can be written.
    """

    read_only = ""
