"""What outlives a configuration: pools, health, requests in flight, counters, debts.

A configuration is replaced whole; this stays. Upstreams are keyed by their address, so
a change keeps the warm connections; servers are keyed by arm and address, so that
one that serves two arms is counted and judged apart. A server that a configuration does
not name any more is kept until its last request has ended.

`Runtime.build` makes a configuration ready, in slices between which requests are served,
and no request notices; `install` puts it in place, in one short synchronous step.
`run` is what goes on beside: names are resolved, ejections end, servers are checked. A
document that is tried beside the present one has a runtime of its own.

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
from typing import Any

import attrs
import trio

from canary_trio.config.access import RateLimit
from canary_trio.config.auth import AuthRules
from canary_trio.config.model import Arm, Config, Server
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.proxy.auth.making import OF_SERVICE, RulesPlace, arm_of, make_auth
from canary_trio.proxy.auth.password_lists import PasswordLists
from canary_trio.proxy.counting import counting_of
from canary_trio.proxy.live import (
    SLICE,
    Beside,
    LiveConfig,
    Seat,
    keeps_servers,
    lay_out,
)
from canary_trio.proxy.mirroring.making import mirrors_of
from canary_trio.routing.access.cells import SECRET, Cells
from canary_trio.routing.access.rate_limiter import RateLimiter
from canary_trio.routing.decision import Chance
from canary_trio.routing.rehearsal.ring import NOTED, NotedRequests
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from canary_trio.telemetry.decision_labels import LabelCache, Side
from canary_trio.telemetry.event_sources.arm_events import ArmEvents
from canary_trio.telemetry.event_sources.outside import Outside
from canary_trio.telemetry.observer import Observer
from canary_trio.upstream.arm import ArmState, ArmTimes, LiveArm, TriedArmState
from canary_trio.upstream.dns import Resolve, resolve_by_system
from canary_trio.upstream.endpoint import UpstreamTable
from canary_trio.upstream.health_checks import HealthChecker
from canary_trio.upstream.picker import Layout
from canary_trio.upstream.server import ServerState
from canary_trio.upstream.server_set import ServerSet

Task = Callable[[], Awaitable[None]]
"""Something that goes on until cancelled."""


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
        whole: Runtime | None = None,
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
        self._whole = whole
        self._on_due = on_due
        self._passwords = passwords or PasswordLists()
        self.outside = Outside(self.observer.events, service)
        self._upstreams = UpstreamTable(resolve, self.outside.tell_name)
        self._shared = {
            "now": now,
            "resolve": resolve,
            "on_due": on_due,
            "check_places": check_places,
            "passwords": self._passwords,
            "noted_requests": 0,
        }
        self._servers: dict[tuple[str, str], ServerState] = {}
        self._changed = trio.Event()
        self._checks = HealthChecker(self.chance.uniform, now, places=check_places)
        self._times = ArmTimes(now)
        self.asking: tuple[Authenticator, ...] = ()

    def __repr__(self) -> str:
        revision = self.live.revision if self.live else None
        return f"<Runtime {self.service} revision={revision}>"

    def limiter_of(self, limits: Sequence[RateLimit]) -> RateLimiter | None:
        """Make limits of this service ready, which count where they did; None for none."""
        if not limits:
            return None
        of_limit = self.observer.counters.of_limit
        return RateLimiter(self.service, limits, self._own_cells(), of_limit)

    async def build(
        self,
        config: Config,
        revision: int,
        *secrets: bytes,
        is_trial: bool = False,
        side: Side | None = None,
    ) -> LiveConfig:
        """Make a configuration ready; names that do not resolve now are tried later.

        Args:
            config: what requests are to be routed by.
            revision: of its document.
            secrets: that verify cookies; the first of them signs.
            is_trial: whether it is tried in place of the present one.
            side: what is counted of it, where it is tried beside the present one.

        Raises:
            http_trio.BadCertificate: of an arm's `tls`.
            InvalidConfig: a file of users cannot be used here.
        """
        router = Router(config, service=self.service, secrets=secrets)
        config = router.config
        seats: dict[str, tuple[Seat, ...]] = {}
        layouts: dict[str, Layout] = {}
        await self._upstreams.contexts.prepare(config.arms.values())
        before = self.live.auth if self.live else None
        auth = await self.make_auth(config.access, before, OF_SERVICE)
        for name, arm in config.arms.items():
            taken = seats[name] = await self._seat_all(name, arm)
            states = [seat.state for seat in taken]
            server_set = self.arm_of(name).server_set
            if server_set.needs_layout(arm, states, sticky=keeps_servers(config)):
                layouts[name] = await lay_out(server_set.picker, taken)
        await self._upstreams.resolver.wait_first()
        arms = {
            name: LiveArm(
                config.arms[name],
                self.arm_of(name),
                tuple(seat.state for seat in taken),
            )
            for name, taken in seats.items()
        }
        running = self.live.counting if self.live else None
        counting = None if side else counting_of(config, running, self.chance)
        labels = LabelCache(
            config,
            revision,
            self.observer.counters,
            before=self.live.labels if self.live else None,
            service=self.service,
            counting=counting,
            mirrors=mirrors_of(config, arms, counting, self.observer, self.service),
            is_trial=is_trial,
            side=side,
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
            await self._upstreams.contexts.prepare([arm_of(rules.forward_auth)])
        passwords, counters = self._passwords, self.observer.counters
        return await make_auth(
            *(rules, before, passwords, counters, self._upstreams.of_asked, place),
            tell=self.outside.tell_auth,
        )

    async def wait_names(self) -> None:
        """Wait, for some seconds at most, until the new names are resolved."""
        await self._upstreams.resolver.wait_first()

    def use_auth(self, used: Iterable[Authenticator]) -> None:
        """Keep what these ask, and nobody else who was asked."""
        self.asking = tuple(used)
        self._upstreams.keep_asked(up for one in self.asking for up in one.upstreams)
        self._drop_unused()

    def install(self, live: LiveConfig) -> None:
        """Route by this from the next request on; what is tried ends with its document."""
        now, before = self.now(), self.live
        if before is not None and before.trial is not None:
            if before.revision == live.revision:
                live = before.trial.beside(live)
            else:
                before.trial.retire()
        kept = self._servers
        self._servers = {}
        for arm_name, seat in live.seats():
            seat.state.server, seat.state.upstream = seat.server, seat.upstream
            self._servers[arm_name, seat.server.url] = seat.state
        live.configure(now)
        for name, arm in self.arms.items():
            if name not in live.arms:
                arm.server_set.retire()
        self._go_on_with(live)
        for key, state in kept.items():
            if state.in_flight and key not in self._servers:
                self._servers[key] = state
        self.use_auth(() if live.auth is None else [live.auth])
        self._checks.follow(
            (server, arm.config.health)
            for arm in live.arms.values()
            for server in arm.servers
        )

    def try_beside(self, trial: Beside | None) -> None:
        """Let some requests try another document beside the one that is live, or none."""
        live = self.live
        assert live is not None, "there is one that it is tried beside"
        if live.trial is not None:
            live.trial.retire()
        alone = attrs.evolve(live, trial=None, labels=live.labels.beside(None))
        self._go_on_with(alone if trial is None else trial.beside(live))
        self._on_due()

    def retire(self) -> None:
        """Serve nobody any more; what is in progress ends as it does."""
        for arm in self.arms.values():
            arm.server_set.retire()
        servers = self._servers.items()
        self._servers = {key: one for key, one in servers if one.in_flight}
        self._checks.follow(())
        self.use_auth(())

    @property
    def shared(self) -> dict[str, Any]:
        """What one that serves another document of this service is made with, too."""
        return {**self._shared, "cells": self._own_cells(), "whole": self}

    async def wait_other(self, known: LiveConfig | None) -> LiveConfig:
        """Wait until another configuration than this is live, and give it."""
        while self.live is None or self.live is known:
            await self._changed.wait()
        return self.live

    def in_flight(self, arm: str) -> int:
        """Give the requests in progress at an arm, at removed servers too."""
        tried = self.live.trial.in_flight(arm) if self.live and self.live.trial else 0
        return tried + sum(
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
            "dns": bool(self._upstreams.resolver),
            "health_checks": bool(self._checks),
            "time": any(a.server_set.next_due < math.inf for a in self.arms.values()),
            "certificates": bool(self._upstreams.contexts),
        }
        return {name: task for name, task in self._tasks.items() if needed[name]}

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress at a server."""
        trial = self.live.trial if self.live else None
        tries = trial is not None and trial.is_busy
        return tries or any(state.in_flight for state in self._servers.values())

    def close_idle(self) -> None:
        """Close the connections that nobody uses: it serves no more."""
        self._upstreams.close_idle()
        if self.live is not None and self.live.trial is not None:
            self.live.trial.retire()

    @property
    def _tasks(self) -> dict[str, Task]:
        return {
            "dns": self._upstreams.resolver.keep,
            "health_checks": self._checks.run,
            "time": partial(self._times.keep, self.arms),
            "certificates": self._upstreams.watch_files,
        }

    # === private ===

    def _own_cells(self) -> Cells:
        if self.cells is None:
            self.cells = Cells.private(self.chance.bytes(SECRET))
        return self.cells

    def _go_on_with(self, live: LiveConfig) -> None:
        self.live = live
        self._changed.set()
        self._changed = trio.Event()

    async def _seat_all(self, name: str, arm: Arm) -> tuple[Seat, ...]:
        seats = []
        for number, server in enumerate(arm.servers):
            seats.append(self._seat(name, arm, server))
            if number % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
        return tuple(seats)

    def _seat(self, name: str, arm: Arm, server: Server) -> Seat:
        upstream = self._upstreams.of(arm, server)
        key = name, server.url
        state = self._servers.get(key)
        if state is None:
            server_set = self.arm_of(name).server_set
            state = self._servers[key] = ServerState(server, upstream, server_set)
        return Seat(state, server, upstream)

    def arm_of(self, name: str) -> ArmState:
        """Give an arm's state; that of one that is new where there is none."""
        arm = self.arms.get(name)
        if arm is None:
            server_set = ServerSet(
                self.chance.uniform,
                on_due=self._wake,
                on_left=lambda state: self._left(name, state),
                on_unreachable=lambda it: self._upstreams.resolver.refresh_soon(
                    it.upstream
                ),
                on_news=partial(self._arm_events.tell, name),
            )
            arm = ArmState(name, server_set)
            if self._whole is not None:
                arm = TriedArmState(name, server_set, self._whole.arm_of(name))
            self.arms[name] = arm
        return arm

    def _left(self, arm: str, state: ServerState) -> None:
        """Forget a removed server whose last request has ended."""
        key = arm, state.server.url
        if self._servers.get(key) is state:
            del self._servers[key]
            self._drop_unused()

    def _drop_unused(self) -> None:
        self._upstreams.keep_only(one.upstream for one in self._servers.values())

    def _wake(self) -> None:
        self._times.wake()
        self._on_due()
