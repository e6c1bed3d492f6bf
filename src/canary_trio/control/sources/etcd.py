"""An etcd as a source, by `etcd://` or `etcds://`."""

from __future__ import annotations

from functools import partial

from canary_trio.control.sources.other_server import ask_or_look, what_speaks
from canary_trio.errors import WrongServer
from kv_trio import EtcdClient, StoreRefused, UnexpectedResponse

_MOVED = range(300, 400)  # statuses that no etcd gives


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
            await ask_or_look(partial(self.get, key), self._look_at_members)
        except UnexpectedResponse as exc:
            raise WrongServer(self._is_none(exc)) from exc
        except StoreRefused as exc:
            if exc.status in _MOVED:
                raise WrongServer(self._is_none(exc)) from exc
            raise

    async def _look_at_members(self) -> None:
        """Raise WrongServer if each member is a server of another kind."""
        said = ""
        for url in self.members:
            said = await what_speaks(url)
            if not said:
                return
        raise WrongServer(self._is_none(said))

    def _is_none(self, reason: object) -> str:
        return f"{self.url} is no etcd: {reason}; a kv-trio or a Consul is http://HOST:PORT"
