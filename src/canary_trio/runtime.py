"""What outlives a configuration: pools, requests in flight, counters, debts.

A configuration is replaced whole; this stays. Upstreams are keyed by their address, so
a change keeps the warm connections; servers are keyed by arm and address, so that
one that serves two arms is counted apart.

`Runtime.build` makes a configuration ready, and no request notices; `install` puts it
in place, in one synchronous step, and lets go of what it no longer names.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
import trio

from canary_trio import balance
from canary_trio.config import Balance, Config, Server
from canary_trio.marks import Marks
from canary_trio.observer import Observer
from canary_trio.routing import Chance, Routes
from canary_trio.split import Sequence
from http_trio import Upstream

_log = logging.getLogger(__name__)

RESOLVE_S = 3.0
"""How long a name may take to resolve; then its server has no address for now."""

RESOLVE_AGAIN_S = 30.0
"""How often the names of servers are resolved again."""


@attrs.define(eq=False)
class ServerState:
    """One server of one arm.

    Attributes:
        requests: answered with whatever it said.
        failures: tries that gave no usable answer.
    """

    server: Server
    upstream: Upstream
    weight: int
    in_flight: int = 0
    turn: int = 0
    requests: int = 0
    failures: int = 0


@attrs.define(eq=False)
class ArmState:
    """One arm's counters.

    Attributes:
        requests: sent to it.
        errors: of these, answered with an error of ours or with 5xx.
    """

    name: str
    requests: int = 0
    errors: int = 0


@attrs.frozen(eq=False)
class LiveArm:
    """An arm made ready: its servers, and how one of them is chosen."""

    state: ArmState
    servers: tuple[ServerState, ...]
    pick: Callable[[], ServerState]


@attrs.frozen(eq=False)
class Live:
    """A configuration made ready."""

    revision: int
    config: Config
    routes: Routes
    arms: Mapping[str, LiveArm]
    marks: Marks


class Runtime:
    """The state of one proxy.

    Attributes:
        live: what requests are routed by; None before the first document.
        sequence: the exact split's debts.
        observer: what is told of each request.
    """

    def __init__(
        self,
        service: str,
        chance: Chance | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.live: Live | None = None
        self.observer = observer or Observer()
        self.sequence = Sequence()
        self.chance = chance or Chance(random.random, secrets.token_bytes)
        self.arms: dict[str, ArmState] = {}
        self._service = service
        self._upstreams: dict[str, Upstream] = {}
        self._servers: dict[tuple[str, str], ServerState] = {}

    def __repr__(self) -> str:
        revision = self.live.revision if self.live else None
        return f"<Runtime {self._service} revision={revision}>"

    async def build(self, config: Config, revision: int, secret: bytes) -> Live:
        """Make a configuration ready; names that do not resolve now are tried later."""
        urls = {
            server.url: server for arm in config.arms.values() for server in arm.servers
        }
        async with trio.open_nursery() as nursery:
            for url, server in urls.items():
                if url not in self._upstreams:
                    upstream = _upstream(server)
                    self._upstreams[url] = upstream
                    if not upstream.addresses:
                        nursery.start_soon(self._resolve, server)
        return Live(
            revision=revision,
            config=config,
            routes=Routes(config, service=self._service, secret=secret),
            arms=MappingProxyType(
                {name: self._arm(name, config) for name in config.arms}
            ),
            marks=Marks(
                config,
                revision,
                self.observer.tally,
                before=self.live.marks if self.live else None,
            ),
        )

    def install(self, live: Live) -> None:
        """Route by this from the next request on."""
        for arm in live.arms.values():
            for state in arm.servers:
                state.weight = state.server.weight
        self.live = live
        used = {s.upstream.name for arm in live.arms.values() for s in arm.servers}
        for url in [url for url in self._upstreams if url not in used]:
            self._upstreams.pop(url).close_idle()
        kept = {
            (arm.state.name, s.server.url)
            for arm in live.arms.values()
            for s in arm.servers
        }
        self._servers = {key: s for key, s in self._servers.items() if key in kept}

    async def keep_resolving(self) -> None:
        """Resolve the names of servers again and again, until cancelled."""
        while True:
            await trio.sleep(RESOLVE_AGAIN_S)
            live = self.live
            servers = (
                [s.server for arm in live.arms.values() for s in arm.servers]
                if live
                else []
            )
            async with trio.open_nursery() as nursery:
                for server in {
                    s.url: s for s in servers if _literal(s.host) is None
                }.values():
                    nursery.start_soon(self._resolve, server)

    def _arm(self, name: str, config: Config) -> LiveArm:
        arm = config.arms[name]
        servers = tuple(self._server(name, server) for server in arm.servers)
        state = self.arms.setdefault(name, ArmState(name))
        return LiveArm(
            state, servers, _policy(arm.balance, servers, self.chance.uniform)
        )

    def _server(self, arm: str, server: Server) -> ServerState:
        state = self._servers.get((arm, server.url))
        if state is None:
            upstream = self._upstreams[server.url]
            state = ServerState(server, upstream, server.weight)
            self._servers[arm, server.url] = state
        elif state.server != server:
            state.server = server
        return state

    async def _resolve(self, server: Server) -> None:
        upstream = self._upstreams.get(server.url)
        if upstream is None:
            return
        try:
            with trio.fail_after(RESOLVE_S):
                found = await trio.socket.getaddrinfo(
                    server.host, server.port, type=socket.SOCK_STREAM
                )
        except (OSError, trio.TooSlowError) as exc:
            _log.warning("%s: its name does not resolve: %s", server.url, exc)
        else:
            upstream.addresses = tuple((family, at) for family, _, _, _, at in found)


def _policy(
    kind: Balance, servers: tuple[ServerState, ...], draw: Callable[[], float]
) -> Callable[[], ServerState]:
    """Degrade to the simpler case here, so that no request has to ask."""
    if len(servers) == 1:
        only = servers[0]
        return lambda: only
    match kind:
        case Balance.ROUND_ROBIN:
            return lambda: balance.round_robin(servers)
        case Balance.RANDOM:
            return lambda: balance.random_choice(servers, draw)
        case Balance.LEAST_REQUESTS | Balance.HASH:
            return lambda: balance.least_requests(servers, draw)


def _upstream(server: Server) -> Upstream:
    host = server.url.removeprefix("http://").encode()
    family = _literal(server.host)
    addresses = [] if family is None else [(family, (server.host, server.port))]
    return Upstream(server.url, addresses, host)


def _literal(host: str) -> socket.AddressFamily | None:
    """Give the family of an address; None for a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return socket.AF_INET if version == 4 else socket.AF_INET6
