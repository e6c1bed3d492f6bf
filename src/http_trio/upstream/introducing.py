"""One server that is told, by the PROXY protocol, for whom each connection is.

A connection begins with the header of its client, so only requests of that client may go over
it. Connections are told apart by that header, whole: the same address and port, the same
listener, the same TLS. The rule that it obeys: no request goes over a connection that began
with another header than its own. What waits for a client that does not come back makes way
for others, oldest first.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Sequence

from http_trio.hosts.introduction import LOCAL, ProxyVersion
from http_trio.net.connect import Address
from http_trio.net.event_loop import EventLoop
from http_trio.net.tls_socket import AnySocket, TlsSocket
from http_trio.upstream.channel import UpstreamChannel
from http_trio.upstream.connection import UpstreamConnection
from http_trio.upstream.failure import Failure
from http_trio.upstream.pool import Upstream, take_newest


class IntroducingUpstream(Upstream):
    """One server that is told of its clients by the PROXY protocol.

    The header goes before TLS. What is for no client, such as a check, begins with LOCAL.

    Attributes:
        lanes: by header, the connections that began with it.
    """

    __slots__ = ("lanes", "own_lead", "proxy_protocol")

    def __init__(
        self,
        name: str,
        addresses: Sequence[Address],
        host: bytes,
        *,
        version: ProxyVersion,
        prefix: bytes = b"",
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        super().__init__(
            name, addresses, host, prefix=prefix, tls=tls, server_name=server_name
        )
        self.proxy_protocol = version
        self.own_lead = LOCAL[version]
        self.lanes: dict[bytes, Lane] = {}

    def take_idle(self, *, peek: bool, lead: bytes = b"") -> UpstreamChannel | None:
        """Take the newest idle connection that began so."""
        lane = self.lanes.get(lead)
        return None if lane is None else take_newest(lane.idle, peek=peek)

    def connect(self, loop: EventLoop, lead: bytes = b"") -> UpstreamChannel | Failure:
        """Begin a new connection, with this; one that waits for another client may go."""
        limits = loop.limits
        if self.idle and (
            len(self.idle) >= limits.upstream_idle
            or self.open >= limits.upstream_connections
        ):
            next(iter(self.idle)).close()
        lane = self.lanes.get(lead)
        if lane is None:
            lane = self.lanes[lead] = Lane(self, lead)
        begun = self._begin_connection(loop, lane)
        if isinstance(begun, Failure):
            lane.drop_if_unused()
        return begun

    def leave(self, lead: bytes) -> None:
        """Close what waits for a client that is gone."""
        lane = self.lanes.get(lead)
        if lane is not None:
            for connection in list(lane.idle):
                connection.close()


class Lane:
    """The connections that began with one header: their `Pool`.

    Attributes:
        lead: the header.
        idle: those of them that wait for a request, oldest first.
    """

    __slots__ = ("_open", "_upstream", "idle", "lead")

    def __init__(self, upstream: IntroducingUpstream, lead: bytes) -> None:
        self.lead = lead
        self.idle: dict[UpstreamConnection, None] = _IdleOfLane(upstream.idle)
        self._upstream = upstream
        self._open = 0

    def __repr__(self) -> str:
        return f"<Lane of {self.name} open={self.open} idle={len(self.idle)}>"

    @property
    def name(self) -> str:
        """The name of the server."""
        return self._upstream.name

    @property
    def epoch(self) -> int:
        """Of which a connection is of use."""
        return self._upstream.epoch

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How TLS is spoken with it."""
        return self._upstream.tls

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open

    @open.setter  # noqa: A003
    def open(self, count: int) -> None:
        self._upstream.open += count - self._open
        self._open = count
        self.drop_if_unused()

    def drop_if_unused(self) -> None:
        """Be forgotten, if there is no connection."""
        lanes = self._upstream.lanes
        if not self._open and lanes.get(self.lead) is self:
            del lanes[self.lead]

    def open_socket(
        self, now: float, tried: Collection[Address]
    ) -> tuple[AnySocket, Address]:
        """Begin to connect, as `Upstream.open_socket`."""
        return self._upstream.open_socket(now, tried)

    def keep_session(self, sock: TlsSocket) -> None:
        """Let the next connection resume the session of this one."""
        self._upstream.keep_session(sock)

    def shun(self, address: Address, now: float) -> None:
        """Note that an address did not accept."""
        self._upstream.shun(address, now)


class _IdleOfLane(dict[UpstreamConnection, None]):
    """The idle connections of a lane, which are among those of the server too."""

    __slots__ = ("_all",)

    def __init__(self, of_server: dict[UpstreamConnection, None]) -> None:
        super().__init__()
        self._all = of_server

    def __setitem__(self, connection: UpstreamConnection, _: None) -> None:
        super().__setitem__(connection, None)
        self._all[connection] = None

    def pop(self, connection: UpstreamConnection, *_: None) -> None:  # type: ignore[override]
        super().pop(connection, None)
        self._all.pop(connection, None)

    def popitem(self) -> tuple[UpstreamConnection, None]:
        item = super().popitem()
        self._all.pop(item[0], None)
        return item
