"""An etcd as a source, by `etcd://` or `etcds://`."""

from __future__ import annotations

from canary_trio.errors import WrongServer
from kv_trio import EtcdClient, UnexpectedResponse


class EtcdSource(EtcdClient):
    """An etcd, of one member or of several.

    Attributes:
        read_only: empty: it can be written.
    """

    read_only = ""

    def doubt(self) -> None:
        """Do nothing: a watch looks every two seconds whether it is the same etcd."""

    async def check_server(self, key: str) -> None:
        """Look whether a member of it is an etcd.

        Raises:
            WrongServer: each of them is another server.
            KvError: that cannot be told now.
        """
        try:
            await self.get(key)
        except UnexpectedResponse as exc:
            raise WrongServer(
                f"{self.url} is no etcd: {exc}; a kv-trio or a Consul is http://HOST:PORT"
            ) from exc
