"""What happens to a proxy itself: told in its log, and kept as a stream of events.

    something happens -> Events.tell -> one line of the process log
                                    \\-> a ring of the last ones, for /events and the console

The rules that it obeys: nothing is silent, and nothing floods. What lasts is told as a
`http_trio.Trouble` is; what comes in crowds, such as 500 servers that are taken out at once,
is told one by one for the first `SINGLES`, and then in one line that says how many. A line
and an event are the same thing, so both are bounded alike. Requests are no events: the
hot path tells nothing here.

One file, since what is told, and how often, is decided in one place.
"""

from __future__ import annotations

import enum
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import attrs
import trio

from http_trio import Field, Notice, Trouble

_log = logging.getLogger(__name__)

KEPT = 1000
"""Events that are kept; of those before, a reader learns only that they are gone."""

SINGLES = 5
"""Of a crowd, those that are told one by one within `CROWD_S`."""

CROWD_S = 30.0
"""From one line about a crowd to the next, in seconds."""

GATHER_S = 1.0
"""How long a crowd gathers before it is told for the first time, in seconds."""

NAMED = 10
"""Of a crowd, those that its line names."""


class EventKind(enum.Enum):
    """What an event is about."""

    CHANGE = "change"
    """A document is live, or gone, or asks for what is worth a warning."""
    REFUSAL = "refusal"
    """A document, a secret or a file is refused; what ran before goes on."""
    EJECTION = "ejection"
    """A server is taken out, by how requests fared or by health checks."""
    RETURN = "return"
    """A server is taken back."""
    FALLBACK = "fallback"
    """An arm has no usable server, so another one serves; or it has one again."""
    PANIC = "panic"
    """An arm has too few healthy servers, so health is ignored; or it has enough again."""
    DRAIN = "drain"
    """The proxy began to stop, or is done."""
    CERTIFICATE = "certificate"
    """One was taken up, is refused, expires soon, or has."""
    STORE = "store"
    """The store cannot be reached, refuses what is asked, or is none; or is back."""
    NAME = "name"
    """The name of a server does not resolve, or does again."""
    AUTH = "auth"
    """Who a client is cannot be told: a file of users, a server that is asked; or can again."""
    ROLLOUT = "rollout"
    """A rollout went a step on, or back."""
    CLIENT = "client"
    """Clients are closed before they ask anything: for their TLS, or as no balancer's."""
    LIMIT = "limit"
    """Something is short: descriptors, places, or requests that a client may make."""
    SPLIT = "split"
    """The ratio's decisions are not those that were asked for."""
    LOG = "log"
    """Lines of the access log are lost."""


@attrs.frozen
class ProxyEvent:
    """One event.

    Attributes:
        number: 1, 2 and so on, in this life of the process.
        time: when it was, in seconds since 1970.
        kind: what it is about.
        service: whose it is; empty of what belongs to the process.
        level: as `logging` has them.
        message: in words.
        fields: the same for programs.
    """

    number: int
    time: float
    kind: EventKind
    service: str
    level: int
    message: str
    fields: Mapping[str, Field]

    def as_table(self) -> dict[str, Any]:
        """Give it as JSON has it; fields stand beside the rest."""
        return {
            **self.fields,
            "number": self.number,
            "time": round(self.time, 3),
            "kind": self.kind.value,
            "service": self.service,
            "level": logging.getLevelName(self.level).lower(),
            "message": self.message,
        }


@attrs.define(eq=False)
class _Crowd:
    """Things of one kind that may come in crowds, and how they are told together."""

    sum_up: Callable[[int, str], str]
    kind: EventKind
    level: int
    services: set[str] = attrs.field(factory=set)
    singles: deque[float] = attrs.field(factory=lambda: deque(maxlen=SINGLES))
    names: dict[str, None] = attrs.field(factory=dict)
    count: int = 0
    told_at: float = -math.inf
    due: float = math.inf

    def is_single(self, now: float) -> bool:
        """Tell whether one more is told by itself."""
        if self.count:
            return False
        if len(self.singles) == SINGLES and now - self.singles[0] < CROWD_S:
            return False
        self.singles.append(now)
        return True

    def gather(self, name: str, service: str, now: float) -> None:
        """Take one that is told with others."""
        if not self.count:
            self.due = max(now + GATHER_S, self.told_at + CROWD_S)
        self.count += 1
        if len(self.services) <= 1:
            self.services.add(service)
        if len(self.names) < NAMED:
            self.names[name] = None


def _clock() -> float:
    """Give trio's time; outside of trio, such as while a proxy is made, the system's."""
    try:
        return trio.current_time()
    except RuntimeError:
        return time.monotonic()


class Events:
    """The events of one process; all services of a gateway share them."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = _clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.now = now
        self.counts: Counter[tuple[str, EventKind]] = Counter()
        """Of events, by service and kind."""
        self._wall = wall
        self._ring: deque[ProxyEvent] = deque(maxlen=KEPT)
        self._number = 0
        self._news = trio.Event()
        self._sooner = trio.Event()
        self._troubles: dict[Hashable, Trouble] = {}
        self._crowds: dict[Hashable, _Crowd] = {}

    def __repr__(self) -> str:
        return f"<Events last={self._number} troubles={len(self._troubles)}>"

    # === who reads ===

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._number

    def after(self, number: int) -> Sequence[ProxyEvent]:
        """Give the events after a number, oldest first, as far as they are kept.

        The first has the number behind it, unless some are gone, or the number is of
        another life of the process: then all that are kept are given.
        """
        if number > self._number:
            number = 0
        return [event for event in self._ring if event.number > number]

    async def wait_after(self, number: int) -> Sequence[ProxyEvent]:
        """Wait until there are events after a number, and give them; see `after`."""
        while number == self._number:
            await self._news.wait()
        return self.after(number)

    # === who tells ===

    def tell(
        self,
        kind: EventKind,
        message: str,
        /,
        *,
        level: int = logging.INFO,
        service: str = "",
        **fields: Field,
    ) -> None:
        """Tell what happened, in the log and to who reads events.

        Args:
            kind: what it is about.
            message: in words, whole without the fields.
            level: as `logging` has them.
            service: whose it is; empty of what belongs to the process.
            fields: the same for programs; None is left out.
        """
        self._tell(kind, message, level, service, fields)

    def take(self, notice: Notice) -> None:
        """Take what the engine tells."""
        kind = EventKind(notice.kind)
        self._tell(kind, notice.message, notice.level, "", notice.fields)

    def _tell(
        self,
        kind: EventKind,
        message: str,
        level: int,
        service: str,
        fields: Mapping[str, Field],
    ) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        self._number += 1
        self.counts[service, kind] += 1
        event = ProxyEvent(
            self._number, self._wall(), kind, service, level, message, given
        )
        self._ring.append(event)
        news, self._news = self._news, trio.Event()
        news.set()
        extra = {"kind": kind.value, **given}
        if service:
            extra["service"] = service
        _log.log(level, "%s", message, extra=extra)

    def tell_trouble(
        self,
        key: Hashable,
        kind: EventKind,
        message: str,
        /,
        *,
        level: int = logging.WARNING,
        times: int = 1,
        service: str = "",
        **fields: Field,
    ) -> None:
        """Tell what is wrong at once, and then at most once in `http_trio.TELL_S`.

        Args:
            key: of the trouble, which `tell_over` ends.
            kind: as in `tell`.
            message: as in `tell`.
            level: as in `tell`.
            times: how often it happened; since it was told last is a field.
            service: as in `tell`.
            fields: as in `tell`.
        """
        trouble = self._troubles.get(key)
        if trouble is None:
            trouble = self._troubles[key] = Trouble()
        told = trouble.happens(self.now(), times)
        if told:
            more = {} if told == 1 else {"times": told}
            self._tell(kind, message, level, service, {**fields, **more})

    def tell_over(
        self,
        key: Hashable,
        kind: EventKind,
        message: str,
        /,
        *,
        service: str = "",
        **fields: Field,
    ) -> None:
        """Tell that a trouble is over, if it was told; nothing if there was none."""
        trouble = self._troubles.get(key)
        lasted_s = None if trouble is None else trouble.ends(self.now())
        if lasted_s is not None:
            all_fields = {**fields, "lasted_s": round(lasted_s, 1)}
            self._tell(kind, message, logging.INFO, service, all_fields)

    def forget(self, key: Hashable) -> None:
        """Forget a trouble of what is no more."""
        self._troubles.pop(key, None)

    def tell_one_of(
        self,
        key: Hashable,
        kind: EventKind,
        message: str,
        /,
        *,
        name: str,
        sum_up: Callable[[int, str], str],
        level: int = logging.INFO,
        service: str = "",
        **fields: Field,
    ) -> None:
        """Tell what may come in a crowd: the first by themselves, the rest together.

        Args:
            key: of the crowd, of all services; the line that sums it up has the fields
                `count` and `names`.
            kind: as in `tell`.
            message: of this one, as in `tell`.
            name: of this one.
            sum_up: gives the words for so many, of which some are named.
            level: as in `tell`.
            service: as in `tell`.
            fields: as in `tell`.
        """
        self.sum_up_due()
        gathered = self._crowds.get(key)
        if gathered is None:
            gathered = self._crowds[key] = _Crowd(sum_up, kind, level)
        now = self.now()
        if gathered.is_single(now):
            self.tell(kind, message, level=level, service=service, **fields)
            return
        gathered.gather(name, service, now)
        self._sooner.set()

    def sum_up_due(self, *, everything: bool = False) -> float:
        """Tell the crowds whose time has come; give when the next one's does."""
        now = self.now()
        for crowd in self._crowds.values():
            if crowd.count and (everything or crowd.due <= now):
                some = ", ".join(crowd.names)
                more = crowd.count - len(crowd.names)
                names = f"{some} and {more} more" if more > 0 else some
                told = crowd.sum_up(crowd.count, names)
                fields: dict[str, Field] = {"count": crowd.count, "names": names}
                service = next(iter(crowd.services)) if len(crowd.services) == 1 else ""
                crowd.count, crowd.told_at, crowd.due = 0, now, math.inf
                crowd.names.clear()
                crowd.services.clear()
                self._tell(crowd.kind, told, crowd.level, service, fields)
        return min((crowd.due for crowd in self._crowds.values()), default=math.inf)

    async def run(self) -> None:
        """Tell the crowds in time, until cancelled; then what is left of them."""
        try:
            while True:
                due = self.sum_up_due()
                self._sooner = trio.Event()
                with trio.move_on_after(max(0.0, due - trio.current_time())):
                    await self._sooner.wait()
        finally:
            self.sum_up_due(everything=True)
