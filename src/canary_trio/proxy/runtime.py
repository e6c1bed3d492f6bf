"""What outlives a configuration: pools, health, requests in flight, counters, debts.

A configuration is replaced whole; this stays. Upstreams are keyed by their address, so
a change keeps the warm connections; servers are keyed by arm and address, so that
one that serves two arms is counted and judged apart. A server that a configuration does
not name any more is kept until its last request has ended.

`Runtime.build` makes a configuration ready, in slices between which requests are served,
and no request notices; `install` puts it in place, in one short synchronous step.
`run` is what goes on beside: names are resolved, ejections end, servers are checked.

One file, since all of it is who holds what for how long.
"""

from __future__ import annotations

import math
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from types import MappingProxyType

import trio

from canary_trio.config.access import RateLimit
from canary_trio.config.auth import AuthRules
from canary_trio.config.model import Arm, Config, Server, ServerMode
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.auth.making import OF_SERVICE, RulesPlace, arm_of, make_auth
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.proxy.counting import counting_of
from canary_trio.proxy.live import LiveConfig, Seat, keeps_servers
from canary_trio.proxy.mirroring.making import mirrors_of
from canary_trio.routing.access.cells import SECRET, Cells
from canary_trio.routing.access.rate_limiter import RateLimiter
from canary_trio.routing.decision import Chance
from canary_trio.routing.rehearsal.ring import NOTED, NotedRequests
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from canary_trio.telemetry.decision_labels import LabelCache
from canary_trio.telemetry.event_sources.arm_events import ArmEvents
from canary_trio.telemetry.observer import Observer
from canary_trio.upstream.arm import ArmState, LiveArm
from canary_trio.upstream.consistent_hash import points_of
from canary_trio.upstream.dns import Resolve, Resolver, resolve_by_system
from canary_trio.upstream.endpoint import (
    Target,
    TlsContexts,
    make_upstream,
    target_of,
)
from canary_trio.upstream.health_checks import HealthChecker
from canary_trio.upstream.picker import Layout
from canary_trio.upstream.server import ServerState
from canary_trio.upstream.server_set import ServerSet
from http_trio import Upstream

Task = Callable[[], Awaitable[None]]
"""Something that goes on until cancelled."""

_SLICE = 50  # servers that are made ready before requests have their turn: half a ms


class Runtime:
    """The state of one proxy.

    Attributes:
        live: what requests are routed by; None before the first document.
        sequence: the exact split's debts.
        observer: what is told of each request.
        arms: by name.
        now: the clock, the same as the event loop's.
        asking: what asks who clients are, of the service or of a gateway's routes.
        service: its name.
        cells: where it is kept what clients have left; None while nobody asks.
        noted: the last requests, for who asks what another document would do.
    """

    def __init__(
        self,
        service: str,
        chance: Chance | None = None,
        observer: Observer | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        resolve: Resolve = resolve_by_system,
        on_due: Callable[[], None] = lambda: None,
        check_places: trio.Semaphore | None = None,
        cells: Cells | None = None,
        passwords: PasswordLists | None = None,
        noted_requests: int = NOTED,
    ) -> None:
        self.live: LiveConfig | None = None
        self.observer = observer or Observer(service=service)
        self.sequence = WeightedSequence()
        self.chance = chance or Chance(random.random, secrets.token_bytes)
        self.noted = NotedRequests(noted_requests, random.random, secrets.token_bytes)
        self.arms: dict[str, ArmState] = {}
        self.now, self.service = now, service
        self._arm_events = ArmEvents(service, self.observer.events, self.arms, now)
        self.cells = cells
        self._on_due = on_due
        self._upstreams: dict[Target, Upstream] = {}
        self._contexts = TlsContexts()
        self._servers: dict[tuple[str, str], ServerState] = {}
        self._resolver = Resolver(resolve)
        self._changed = trio.Event()
        self._checks = HealthChecker(self.chance.uniform, now, places=check_places)
        self._sooner = trio.Event()
        self._passwords = passwords or PasswordLists()
        self.asking: tuple[Authenticator, ...] = ()
        self._asked: set[Upstream] = set()  # who is asked by a document, or will be

    def __repr__(self) -> str:
        revision = self.live.revision if self.live else None
        return f"<Runtime {self.service} revision={revision}>"

    def limiter_of(self, limits: Sequence[RateLimit]) -> RateLimiter | None:
        """Make limits of this service ready, which count where they did; None for none."""
        if not limits:
            return None
        if self.cells is None:
            self.cells = Cells.private(self.chance.bytes(SECRET))
        of_limit = self.observer.counters.of_limit
        return RateLimiter(self.service, limits, self.cells, of_limit)

    async def build(self, config: Config, revision: int, *secrets: bytes) -> LiveConfig:
        """Make a configuration ready; names that do not resolve now are tried later.

        Args:
            config: what requests are to be routed by.
            revision: of its document.
            secrets: that verify cookies; the first of them signs.

        Raises:
            http_trio.BadCertificate: of an arm's `tls`.
            InvalidConfig: a file of users cannot be used here.
        """
        router = Router(config, service=self.service, secrets=secrets)
        config = router.config
        seats: dict[str, tuple[Seat, ...]] = {}
        layouts: dict[str, Layout] = {}
        await self._contexts.prepare(config.arms.values())
        before = self.live.auth if self.live else None
        auth = await self.make_auth(config.access, before, OF_SERVICE)
        for name, arm in config.arms.items():
            taken = seats[name] = await self._seat_all(name, arm)
            states = [seat.state for seat in taken]
            server_set = self._arm(name).server_set
            if server_set.needs_layout(arm, states, sticky=keeps_servers(config)):
                layouts[name] = await self._lay_out(server_set, taken)
        await self._resolver.wait_first()
        arms = {
            name: LiveArm(
                config.arms[name],
                self._arm(name),
                tuple(seat.state for seat in taken),
            )
            for name, taken in seats.items()
        }
        running = self.live.counting if self.live else None
        counting = counting_of(config, running, self.chance)
        labels = LabelCache(
            config,
            revision,
            self.observer.counters,
            before=self.live.labels if self.live else None,
            service=self.service,
            counting=counting,
            mirrors=mirrors_of(config, arms, counting, self.observer, self.service),
        )
        return LiveConfig(
            revision=revision,
            config=config,
            router=router,
            arms=MappingProxyType(arms),
            labels=labels,
            auth=auth,
            counting=counting,
            seats=seats,
            layouts=layouts,
        )

    async def make_auth(
        self, rules: AuthRules, before: Authenticator | None, place: RulesPlace
    ) -> Authenticator | None:
        """Make ready what asks who a client is; None where nothing does.

        Of what was made before, what is the same goes on. Raises as `build`.
        """
        if rules.forward_auth is not None:
            await self._contexts.prepare([arm_of(rules.forward_auth)])
        passwords, counters = self._passwords, self.observer.counters
        return await make_auth(
            *(rules, before, passwords, counters, self._upstream_asked, place)
        )

    async def wait_names(self) -> None:
        """Wait, for some seconds at most, until the new names are resolved."""
        await self._resolver.wait_first()

    def use_auth(self, used: Iterable[Authenticator]) -> None:
        """Keep what these ask, and nobody else who was asked."""
        self.asking = tuple(used)
        self._asked = {up for one in self.asking for up in one.upstreams}
        self._drop_unused()

    def install(self, live: LiveConfig) -> None:
        """Route by this from the next request on."""
        now = self.now()
        kept = self._servers
        self._servers = {}
        for arm_name, seat in live.seats():
            seat.state.server, seat.state.upstream = seat.server, seat.upstream
            self._servers[arm_name, seat.server.url] = seat.state
        self._configure(live, now)
        self.live = live
        self._changed.set()
        self._changed = trio.Event()
        for key, state in kept.items():
            if state.in_flight and key not in self._servers:
                self._servers[key] = state
        self.use_auth(() if live.auth is None else [live.auth])
        self._checks.follow(
            (server, arm.config.health)
            for arm in live.arms.values()
            for server in arm.servers
        )

    async def wait_other(self, known: LiveConfig | None) -> LiveConfig:
        """Wait until another configuration than this is live, and give it."""
        while self.live is None or self.live is known:
            await self._changed.wait()
        return self.live

    def in_flight(self, arm: str) -> int:
        """Give the requests in progress at an arm, at removed servers too."""
        return sum(
            state.in_flight for (name, _), state in self._servers.items() if name == arm
        )

    async def run(self) -> None:
        """Do what goes on beside the requests, until cancelled."""
        async with trio.open_nursery() as nursery:
            for name, task in self._tasks.items():
                nursery.start_soon(self.observer.tasks.run, name, task)

    def needed_tasks(self) -> dict[str, Task]:
        """Give those of `run` that have something to do, for who has many runtimes.

        It changes with what is installed, and when `on_due` is called.
        """
        needed = {
            "dns": bool(self._resolver),
            "health_checks": bool(self._checks),
            "time": any(a.server_set.next_due < math.inf for a in self.arms.values()),
            "certificates": bool(self._contexts),
        }
        return {name: task for name, task in self._tasks.items() if needed[name]}

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress at a server."""
        return any(state.in_flight for state in self._servers.values())

    def close_idle(self) -> None:
        """Close the connections that nobody uses: it serves no more."""
        for upstream in self._upstreams.values():
            upstream.close_idle()

    @property
    def _tasks(self) -> dict[str, Task]:
        return {
            "dns": self._resolver.keep,
            "health_checks": self._checks.run,
            "time": self._keep_time,
            "certificates": partial(self._contexts.watch, self._upstreams),
        }

    # === private ===

    async def _seat_all(self, name: str, arm: Arm) -> tuple[Seat, ...]:
        seats = []
        for number, server in enumerate(arm.servers):
            seats.append(self._seat(name, arm, server))
            if number % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()
        return tuple(seats)

    async def _lay_out(self, server_set: ServerSet, seats: tuple[Seat, ...]) -> Layout:
        """Lay out the servers for hashing, which takes longer than a swap may."""
        for number, seat in enumerate(seats):
            points_of(seat.server.url)  # it keeps them
            if number % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()
        return server_set.picker.lay_out(
            [
                seat.state
                for seat in seats
                if seat.server.mode is not ServerMode.MAINTENANCE and seat.state.healthy
            ]
        )

    def _upstream_asked(self, arm: Arm) -> Upstream:
        """Give the upstream of a server that is asked who may pass."""
        upstream = self._upstream(arm, arm.servers[0])
        self._asked.add(upstream)
        return upstream

    def _upstream(self, arm: Arm, server: Server) -> Upstream:
        target = target_of(server, arm.tls)
        upstream = self._upstreams.get(target)
        if upstream is None:
            upstream = self._upstreams[target] = make_upstream(
                server, target, self._contexts
            )
            if not upstream.addresses:
                self._resolver.add(server, upstream)
        return upstream

    def _seat(self, name: str, arm: Arm, server: Server) -> Seat:
        upstream = self._upstream(arm, server)
        key = name, server.url
        state = self._servers.get(key)
        if state is None:
            server_set = self._arm(name).server_set
            state = self._servers[key] = ServerState(server, upstream, server_set)
        return Seat(state, server, upstream)

    def _arm(self, name: str) -> ArmState:
        arm = self.arms.get(name)
        if arm is None:
            server_set = ServerSet(
                self.chance.uniform,
                on_due=self._wake,
                on_left=lambda state: self._left(name, state),
                on_unreachable=lambda it: self._resolver.refresh_soon(it.upstream),
                on_news=partial(self._arm_events.tell, name),
            )
            arm = self.arms[name] = ArmState(name, server_set)
        return arm

    def _configure(self, live: LiveConfig, now: float) -> None:
        sticky = keeps_servers(live.config)
        for name, arm in live.arms.items():
            fallback = arm.config.fallback
            arm.state.server_set.configure(
                arm.config,
                arm.servers,
                falls_back=fallback not in (None, name) and fallback in live.arms,
                sticky=sticky,
                layout=live.layouts.get(name),
                now=now,
            )
        for name, state in self.arms.items():
            if name not in live.arms:
                state.server_set.retire()

    def _left(self, arm: str, state: ServerState) -> None:
        """Forget a removed server whose last request has ended."""
        key = arm, state.server.url
        if self._servers.get(key) is state:
            del self._servers[key]
            self._drop_unused()

    def _drop_unused(self) -> None:
        used = {state.upstream for state in self._servers.values()} | self._asked
        for target in [t for t, up in self._upstreams.items() if up not in used]:
            upstream = self._upstreams.pop(target)
            upstream.close_idle()
            self._resolver.discard(upstream)
        self._contexts.keep_only(self._upstreams)

    def _wake(self) -> None:
        self._sooner.set()
        self._on_due()

    async def _keep_time(self) -> None:
        """Call each arm's `tick` when something of it is due."""
        while True:
            self._sooner = trio.Event()
            now = self.now()
            soonest = math.inf
            for arm in list(self.arms.values()):
                arm.server_set.tick(now)
                soonest = min(soonest, arm.server_set.next_due)
            with trio.move_on_after(max(0.0, soonest - now)):
                await self._sooner.wait()
