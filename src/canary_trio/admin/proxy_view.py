"""One proxy from the inside, for whoever looks at it: status, metrics, explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs
import trio

import http_trio
from canary_trio.admin.last_minute import LastMinute
from canary_trio.control.driving.driver import Driver
from canary_trio.control.driving.unconfirmed import Unconfirmed
from canary_trio.control.status import Status
from canary_trio.proxy.changing.long_connections import LongConnections
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.edge.model import Route


class Control(Protocol):
    """How a service, or a gateway, stands with its document.

    Attributes:
        instance: tells this life of the proxy from any other.
        ready: whether there is a first document.
    """

    instance: str
    status: Status
    ready: trio.Event

    @property
    def refused(self) -> trio.Event:
        """Set where it ends, since another proxy has its name."""

    @property
    def running(self) -> int:
        """The revision that requests are routed by; 0 for none."""

    @property
    def unconfirmed(self) -> Unconfirmed:
        """What waits to be confirmed."""

    @property
    def driver(self) -> Driver:
        """What acts for the service, or for the gateway."""


class GatewayParts(Protocol):
    """What a gateway has."""

    @property
    def update_rate(self) -> float:
        """Seconds after which the store is asked again at the latest."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the table."""

    @property
    def parts(self) -> Mapping[str, ProxyView]:
        """Its services, by name."""


@attrs.define(eq=False)
class ProxyView:
    """The parts of one proxy, or of one service of a gateway, that are shown.

    Attributes:
        service: its name.
        proxy_id: the proxy's name in the fleet.
        server: its listeners; None while they are not open, and of a part.
        long_connections: what a change does to them; None where nobody looks.
        gateway: what a gateway has; None for a service.
        is_part: whether it is a service of a gateway.
        minute: what its arms were counted at, within the last minute.
        admin_certificates: gives those of the admin listener.
    """

    service: str
    proxy_id: str
    runtime: Runtime = attrs.field(repr=False)
    control: Control = attrs.field(repr=False)
    server: http_trio.HttpServer | None = None
    long_connections: LongConnections | None = None
    gateway: GatewayParts | None = attrs.field(default=None, repr=False)
    is_part: bool = False
    minute: LastMinute = attrs.field(factory=LastMinute, repr=False)
    admin_certificates: Callable[[], Sequence[http_trio.ServedCertificate]] = tuple

    @property
    def all(self) -> list[ProxyView]:
        """Give it, and its services if it is a gateway's."""
        return [self, *(self.gateway.parts.values() if self.gateway else ())]
