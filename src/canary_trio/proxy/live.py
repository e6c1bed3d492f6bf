"""A configuration made ready: what requests of one revision are served by.

It is made beside the running one, and changes nothing until it is installed: what the
servers are to be then is noted in its seats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import attrs
import trio

from canary_trio.config.model import Config, Server, ServerMode
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.rollout.fleet.arm_tally import Counting
from canary_trio.routing.router import Router
from canary_trio.telemetry.decision_labels import LabelCache
from canary_trio.upstream.arm import LiveArm
from canary_trio.upstream.consistent_hash import points_of
from canary_trio.upstream.picker import Layout, Picker
from canary_trio.upstream.server import ServerState
from http_trio import Upstream


class Beside(Protocol):
    """A document that some requests try beside the present one: a `Trial`."""

    @property
    def revision(self) -> int:
        """By which it is known."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress by it."""

    def in_flight(self, arm: str) -> int:
        """Give its requests in progress at an arm."""

    def beside(self, live: LiveConfig) -> LiveConfig:
        """Give the present document as it is while this one is tried."""

    def use_secrets(self, secrets: Sequence[bytes]) -> None:
        """Sign and verify cookies with others from now on."""

    async def run(self) -> None:
        """Do what goes on beside its requests, until cancelled."""

    def retire(self) -> None:
        """Let it serve nobody any more."""


SLICE = 50
"""Servers that are made ready before requests have their turn: half a millisecond."""


@attrs.define(eq=False)
class Seat:
    """What a server's state is to be once its configuration is installed."""

    state: ServerState
    server: Server
    upstream: Upstream


@attrs.frozen(eq=False)
class LiveConfig:
    """A configuration made ready.

    Attributes:
        revision: of its document in the store.
        config: the document as a value.
        router: which arm a request gets.
        arms: by name.
        labels: what is said of its decisions.
        auth: who asks, and what that needs; None where nobody is asked.
        counting: what is counted for the judge of a rollout; None for nothing.
        layouts: of the arms that choose by a key, where there is a new one.
        trial: another document that some requests try; None for none.
    """

    revision: int
    config: Config
    router: Router
    arms: Mapping[str, LiveArm]
    labels: LabelCache
    auth: Authenticator | None
    counting: Counting | None
    layouts: Mapping[str, Layout] = attrs.field(repr=False)
    _seats: Mapping[str, tuple[Seat, ...]] = attrs.field(repr=False)
    trial: Beside | None = None

    def use_secrets(self, secrets: Sequence[bytes]) -> None:
        """Sign and verify cookies with others from now on."""
        self.router.use_secrets(secrets)
        if self.trial is not None:
            self.trial.use_secrets(secrets)

    def configure(self, now: float) -> None:
        """Let the arms choose among the servers that they have here."""
        for name, arm in self.arms.items():
            fallback = arm.config.fallback
            arm.state.server_set.configure(
                arm.config,
                arm.servers,
                falls_back=fallback not in (None, name) and fallback in self.arms,
                sticky=keeps_servers(self.config),
                layout=self.layouts.get(name),
                now=now,
            )

    def seats(self) -> Iterator[tuple[str, Seat]]:
        """Give all servers, by arm."""
        for name, seats in self._seats.items():
            for seat in seats:
                yield name, seat


async def lay_out(picker: Picker, seats: Sequence[Seat]) -> Layout:
    """Lay out servers for hashing, which takes longer than a swap may."""
    for number, seat in enumerate(seats):
        points_of(seat.server.url)  # it keeps them
        if number % SLICE == SLICE - 1:
            await trio.lowlevel.checkpoint()
    return picker.lay_out(
        [
            seat.state
            for seat in seats
            if seat.server.mode is not ServerMode.MAINTENANCE and seat.state.healthy
        ]
    )


def keeps_servers(config: Config) -> bool:
    """Tell whether users are sticky to servers."""
    sticky = config.sticky_sessions
    return sticky is not None and sticky.server
