"""The servers of one arm: which are usable now, and which one serves a request. Pure.

The set is told what changes (a check, a failure, a place taken, a new
configuration, time) and keeps the usable servers and their weights current; a
pick only asks the arm's policy. It outlives configurations, so what was learnt of a
server, and what a policy owes it, stay.

    configured, and ready        what new users may get
      healthy                    up, and not ejected
        usable                   the healthy; in a panic, all but the unreachable
          open                   usable, and not full: what the policy holds

The rules that it obeys: passive checks never take out the last healthy server, unless
it cannot even be connected to and the arm has another to fall back to. If fewer than
the panic threshold are healthy, health is ignored, since those few would be overrun;
but an arm without any healthy server falls back, if it can. With a server that is
usable there is always a choice, be it a full one to wait at.

One file, since everything that changes ends in the same step, `_refresh`: what is usable
is worked out anew from all that is known of the servers.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Collection, Sequence

from canary_trio.config.model import Arm, Balance, ServerMode
from canary_trio.upstream.balancers import Draw
from canary_trio.upstream.picker import Layout, Picker, follow
from canary_trio.upstream.server import ArmNews, OnNews, ServerState

_LEAST_WARM = 0.1  # of its weight that a cold server begins with: Envoy's default
_WARMING_STEPS = 20  # of a slow start

_Due = tuple[float, int, ServerState]


class ServerSet:
    """The servers of one arm; it is their `ServerListener`.

    Attributes:
        servers: as configured, in order.
        picker: which one serves a request; `pick`, `pick_other`, `filled` and `freed`
            are its own, since requests call them.
        panic: whether health is ignored.
        panics: how often that began.
    """

    def __init__(
        self,
        draw: Draw,
        *,
        on_due: Callable[[], None] = lambda: None,
        on_left: Callable[[ServerState], None] = lambda _: None,
        on_unreachable: Callable[[ServerState], None] = lambda _: None,
        on_news: OnNews = lambda *_: None,
    ) -> None:
        """Begin empty.

        Args:
            draw: chance.
            on_due: called when `next_due` is earlier than it was.
            on_left: called when the last request of a removed server has ended.
            on_unreachable: called when a server could not be connected to.
            on_news: called when a server or the arm fares better or worse.
        """
        self.servers: tuple[ServerState, ...] = ()
        self.picker = Picker(draw)
        self.pick = self.picker.pick
        self.pick_other = self.picker.pick_other
        self.filled = self.picker.filled
        self.freed = self.picker.freed
        self.panic = False
        self.panics = 0
        self._on_due = on_due
        self._on_left = on_left
        self._on_unreachable = on_unreachable
        self._on_news = on_news
        self._is_empty = False
        self._arm: Arm | None = None
        self._falls_back = False
        self._due: list[_Due] = []
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return (
            f"<ServerSet usable={len(self.usable)}/{len(self.servers)}"
            f" open={len(self.picker.open)} panic={self.panic}>"
        )

    @property
    def usable(self) -> Collection[ServerState]:
        """The servers that may serve new users now."""
        return self.picker.usable

    @property
    def fallback(self) -> str | None:
        """The arm that serves when no server is usable here; None for none."""
        return self._arm.fallback if self._arm and self._falls_back else None

    # === what changes ===

    def configure(
        self,
        arm: Arm,
        servers: Sequence[ServerState],
        *,
        falls_back: bool,
        sticky: bool,
        now: float,
        layout: Layout | None = None,
    ) -> None:
        """Take over a configuration.

        Args:
            arm: it.
            servers: its servers, in order, whose `server` is up to date.
            falls_back: whether another arm serves when none is usable here.
            sticky: whether a key keeps its server.
            now: the time.
            layout: its servers laid out for hashing, if that is needed: with many
                of them that takes too long for now.
        """
        before, self._arm = self._arm, arm
        self._falls_back = falls_back
        self._take_members(servers)
        picker = self.picker
        hashed = layout if arm.balance is Balance.HASH else None
        if hashed is not None:
            picker.suspend_policy()
        elif before is None or before.balance is not arm.balance:
            picker.choose_by(arm.balance)
        for server in servers:
            server.limit_to(arm.limits)
            self._check_full(server)
            self._set_weight(server, now)
        if not sticky:
            picker.sticky = None
        elif layout is not None or picker.sticky is None:
            picker.sticky = layout.copy() if layout else picker.lay_out(())
        self._refresh(now, warm=before is None)
        if hashed is not None:
            picker.choose_by_layout(hashed)

    def needs_layout(
        self, arm: Arm, servers: Collection[ServerState], *, sticky: bool
    ) -> bool:
        """Tell whether `configure` is to be given a layout: other servers to be hashed."""
        if arm.balance is not Balance.HASH and not sticky:
            return False
        lacking = (sticky and self.picker.sticky is None) or (
            arm.balance is Balance.HASH and not self.picker.is_hashed
        )
        return lacking or set(servers) != set(self.servers)

    def retire(self) -> None:
        """Take that the configuration has the arm no more."""
        self._take_members(())
        for server in list(self.usable):
            self.picker.remove(server)
        self.picker.sticky = None
        self._is_empty = self.panic = False

    def left(self, server: ServerState) -> None:
        """Take that the last request of a removed server has ended."""
        self._on_left(server)

    def failed(self, server: ServerState, now: float, *, unreachable: bool) -> None:
        """Take that a request failed at a server."""
        assert self._arm is not None, "a server is configured before it is used"
        rule = self._arm.ejection
        if unreachable:
            self._on_unreachable(server)
        if server.removed or not server.healthy:
            return
        if server.record.failed(rule) and self._can_spare(server, unreachable):
            server.ejected_until = server.record.ejected(
                rule, now, unreachable=unreachable
            )
            server.unreachable = unreachable
            self._tell(ArmNews.EJECTED, server)
            self._remind(server.ejected_until, server)
            self._refresh(now)

    def checked(
        self, server: ServerState, now: float, *, up: bool, unreachable: bool = False
    ) -> None:
        """Take what active checks have decided of a server."""
        if up != server.up and not server.removed:
            self._tell(ArmNews.UP if up else ArmNews.DOWN, server)
        server.up = up
        server.unreachable = unreachable and not up
        if server.unreachable:
            self._on_unreachable(server)
        if not server.removed:
            self._refresh(now)

    def reached(self, server: ServerState, now: float) -> None:
        """Take that an active check finds a server well, whatever requests found.

        That says nothing of failures to answer, but all of failures to connect.
        """
        if server.ejected_until and server.record.cut_off:
            self._readmit(server, now)
            if not server.removed:
                self._refresh(now)

    def tick(self, now: float) -> None:
        """Do what is due: ejections end, cold servers grow warmer."""
        changed = False
        while self._due and self._due[0][0] <= now:
            _, _, server = heapq.heappop(self._due)
            if 0 < server.ejected_until <= now:
                self._readmit(server, now)
                changed = True
            elif server.warm_from and not server.removed:
                self._set_weight(server, now)
        if changed:
            self._refresh(now)

    @property
    def next_due(self) -> float:
        """When `tick` has something to do; inf for never."""
        return self._due[0][0] if self._due else math.inf

    # === private ===

    def _take_members(self, servers: Sequence[ServerState]) -> None:
        for server in self.servers:
            server.removed = True
        for server in servers:
            server.removed = False
        self.servers = tuple(servers)

    def _check_full(self, server: ServerState) -> None:
        full = server.in_flight >= server.limit
        if full != server.full:
            server.full = full
            (self.picker.filled if full else self.picker.freed)(server)

    def _set_weight(self, server: ServerState, now: float) -> None:
        """Give a server its weight of this moment."""
        assert self._arm is not None, "it is configured first"
        weight = float(server.server.weight)
        slow_start = self._arm.slow_start
        if server.warm_from:
            age = now - server.warm_from
            if age < slow_start:
                weight *= max(_LEAST_WARM, age / slow_start)
                self._remind_warming(server, now)
            else:
                server.warm_from = 0.0
        if weight == server.weight:
            return
        server.weight = weight
        self.picker.reweigh(server)

    def _readmit(self, server: ServerState, now: float) -> None:
        server.ejected_until = 0.0
        server.unreachable = server.unreachable and not server.up
        server.record.came_back(now)
        if not server.removed:
            self._tell(ArmNews.READMITTED, server)

    def _tell(self, news: ArmNews, server: ServerState) -> None:
        server.since = time.time()
        self._on_news(news, server)

    def _remind(self, due: float, server: ServerState) -> None:
        sooner = due < self.next_due
        heapq.heappush(self._due, (due, next(self._numbers), server))
        if sooner:
            self._on_due()

    def _remind_warming(self, server: ServerState, now: float) -> None:
        """Have one reminder at a time, however often the configuration changes."""
        assert self._arm is not None, "it is configured first"
        if now >= server.warmer_at:
            server.warmer_at = now + self._arm.slow_start / _WARMING_STEPS
            self._remind(server.warmer_at, server)

    def _can_spare(self, server: ServerState, unreachable: bool) -> bool:  # noqa: FBT001
        if unreachable and self._falls_back:
            return True
        others = (other for other in self.servers if other is not server)
        return any(other.ready and other.healthy for other in others)

    def _refresh(self, now: float, *, warm: bool = False) -> None:
        """Bring the usable, and what the policy holds of them, up to date.

        Args:
            now: the time.
            warm: whether those that come are warm already.
        """
        usable = self._find_usable()
        for server in [old for old in self.usable if old not in usable]:
            self.picker.remove(server)
        for server in usable:
            if server not in self.usable:
                self._add_usable(server, now, warm=warm or self.panic)
        if self.picker.sticky is not None:
            self._refresh_sticky(self.picker.sticky)
        if self._is_empty == bool(usable):
            self._is_empty = not usable
            self._on_news(ArmNews.SERVING if usable else ArmNews.EMPTY, None)

    def _find_usable(self) -> dict[ServerState, None]:
        assert self._arm is not None, "it is configured first"
        ready = [server for server in self.servers if server.ready]
        healthy = [server for server in ready if server.healthy]
        enough = len(healthy) >= self._arm.panic_threshold * len(ready)
        panic = not enough and bool(healthy or not self._falls_back)
        self.panics += panic and not self.panic
        if panic != self.panic:
            self.panic = panic
            self._on_news(ArmNews.PANIC if panic else ArmNews.CALM, None)
        return dict.fromkeys(_reachable(ready) if panic else healthy)

    def _add_usable(self, server: ServerState, now: float, *, warm: bool) -> None:
        assert self._arm is not None, "it is configured first"
        if not warm and self._arm.slow_start:
            server.warm_from = now
            self._set_weight(server, now)
        self.picker.add(server)

    def _refresh_sticky(self, sticky: Layout) -> None:
        """Sticky users are served by draining servers too, and wait at full ones."""
        held = [
            server for server in self.servers if server.server.mode is not _MAINTENANCE
        ]
        healthy = [server for server in held if server.healthy]
        follow(sticky, _reachable(held) if self.panic else healthy)


_MAINTENANCE = ServerMode.MAINTENANCE


def _reachable(servers: Sequence[ServerState]) -> Sequence[ServerState]:
    """Leave out those that nobody can connect to, unless that is all of them."""
    return [server for server in servers if not server.unreachable] or servers
