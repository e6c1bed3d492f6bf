"""A configuration made ready: what requests of one revision are served by.

It is made beside the running one, and changes nothing until it is installed: what the
servers are to be then is noted in its seats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from canary_trio.config.model import Config, Server
from canary_trio.proxy.auth.authenticator import Authenticator
from canary_trio.rollout.fleet.arm_tally import Counting
from canary_trio.routing.router import Router
from canary_trio.telemetry.decision_labels import LabelCache
from canary_trio.upstream.arm import LiveArm
from canary_trio.upstream.picker import Layout
from canary_trio.upstream.server import ServerState
from http_trio import Upstream


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

    def seats(self) -> Iterator[tuple[str, Seat]]:
        """Give all servers, by arm."""
        for name, seats in self._seats.items():
            for seat in seats:
                yield name, seat


def keeps_servers(config: Config) -> bool:
    """Tell whether users are sticky to servers."""
    sticky = config.sticky_sessions
    return sticky is not None and sticky.server
