"""One proxy from the inside, for whoever looks at it: status, metrics, explain."""

from __future__ import annotations

import attrs

import http_trio
from canary_trio.control.supervisor import Supervisor
from canary_trio.proxy.long_connections import LongConnections
from canary_trio.proxy.runtime import Runtime


@attrs.define(eq=False)
class ProxyView:
    """The parts of one proxy that are shown.

    Attributes:
        service: its name.
        proxy_id: the proxy's name in the fleet.
        server: its listeners; None while they are not open.
        long_connections: what a change does to them; None while there are no listeners.
    """

    service: str
    proxy_id: str
    runtime: Runtime = attrs.field(repr=False)
    control: Supervisor = attrs.field(repr=False)
    server: http_trio.HttpServer | None = None
    long_connections: LongConnections | None = None
