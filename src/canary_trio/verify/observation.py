"""What clients saw and what was done meanwhile: values, and the record of a run. Pure.

Times are seconds of one clock, which stands at 0 when the run begins. The rule that it
obeys: whatever a checker needs is in the record, so the same record has the same verdict,
whoever made it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs


class ClientKind(enum.StrEnum):
    """What a client did."""

    KEPT = "kept"
    """Requests over a connection of HTTP/1.1 that is kept."""
    NEW = "new"
    """A request over a connection of its own."""
    HTTP2 = "http2"
    """Requests over streams of one connection of HTTP/2."""
    WEBSOCKET = "websocket"
    """A WebSocket, over which messages go for seconds."""
    WEBSOCKET2 = "http2 websocket"
    """The same over a stream of HTTP/2 (RFC 8441)."""
    CALL = "grpc call"
    """One message, and one back."""
    STREAM = "grpc stream"
    """Messages both ways for a while."""
    UPLOAD = "slow upload"
    """A body of the request that takes a second."""
    DOWNLOAD = "slow download"
    """A body of the response that takes a second."""


REPEATABLE = frozenset({ClientKind.KEPT, ClientKind.NEW, ClientKind.HTTP2})
"""GET, whose response is small: whatever happens to a server, another one can be asked."""

WEBSOCKETS = frozenset({ClientKind.WEBSOCKET, ClientKind.WEBSOCKET2})

GOING = frozenset({1001, 1012})
"""A WebSocket's close codes of who goes away, and comes again (RFC 6455; IANA)."""


@attrs.frozen(kw_only=True)
class Observation:
    """One request, or one WebSocket, as its client saw it.

    Attributes:
        kind: of client.
        proxy: that was asked.
        began: when its first byte was sent.
        ended: when its last one had come, or it was lost.
        failure: why it was lost; empty if it was not.
        user: the key that it showed (`X-User`).
        cookie: the key cookie that it had when it was over; empty for none.
        fresh: whether the response gave that cookie.
        revision: that routed it, as its response says; 0 where that says nothing.
        arm: that served it; empty where nothing is said.
        chosen: the arm that was chosen at first.
        reason: why that one.
        rule: that chose, if one did.
        server: the address of the server that responded, as that says itself.
        close_code: of a WebSocket that the proxy ended; 0 for none.
    """

    kind: ClientKind
    proxy: str
    began: float
    ended: float
    failure: str = ""
    user: str = ""
    cookie: str = ""
    fresh: bool = False
    revision: int = 0
    arm: str = ""
    chosen: str = ""
    reason: str = ""
    rule: str = ""
    server: str = ""
    close_code: int = 0


class DoneTo(enum.Enum):
    """What was done to a process on purpose."""

    SERVER_KILLED = "a server was killed"
    PROXY_ENDING = "a proxy was asked to end"
    STORE_AWAY = "the store was killed, or hung"


@attrs.frozen
class Incident:
    """A fault that we made: it may cost a request which nothing can save, or hold up a change.

    Attributes:
        fault: what it was.
        of: the servers' addresses, or the proxy's; nobody's of the store.
        begun: when.
        over: when the process was gone; of the store, when it took writes again.
    """

    fault: DoneTo
    of: frozenset[str]
    begun: float
    over: float


@attrs.frozen
class WrittenChange:
    """A change of ours.

    Attributes:
        revision: that it became.
        begun: when it was begun, the read before it included.
        acknowledged: when the store had said that it is written.
    """

    revision: int
    begun: float
    acknowledged: float


@attrs.frozen
class FirstSeen:
    """The first response of a proxy by a revision, or by a later one.

    Attributes:
        revision: that was waited for.
        proxy: whose response.
        at: when its request was sent.
    """

    revision: int
    proxy: str
    at: float


@attrs.frozen
class LiveSince:
    """The moment at which the fleet was said to route by a revision (`--wait`)."""

    revision: int
    at: float


@attrs.frozen
class StepRun:
    """A step of the plan.

    Attributes:
        number: its place in the plan.
        name: what was done.
        begun: when.
        over: when it was over; a fault's load is still looked at until the next one begins.
        stuck: what did not come to its end in time; empty if all did.
    """

    number: int
    name: str
    begun: float
    over: float
    stuck: str = ""


@attrs.define
class Record:
    """All that there is to judge.

    Attributes:
        service: whose document was changed.
        observations: of all clients.
        documents: by revision, all that the store had.
        written: our changes; each must be among the documents.
        seen, live, incidents, steps: as the values say.
        history: the revisions that the store knew at the end.
        missing: revisions that the store itself keeps no document of.
        whole: whether the documents are all that there were.
        unread: whether the store could not be read at the end.
    """

    service: str
    observations: list[Observation] = attrs.field(factory=list)
    documents: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)
    written: list[WrittenChange] = attrs.field(factory=list)
    seen: list[FirstSeen] = attrs.field(factory=list)
    live: list[LiveSince] = attrs.field(factory=list)
    incidents: list[Incident] = attrs.field(factory=list)
    steps: list[StepRun] = attrs.field(factory=list)
    history: set[int] = attrs.field(factory=set)
    missing: set[int] = attrs.field(factory=set)
    whole: bool = True
    unread: bool = False

    def __repr__(self) -> str:
        return (
            f"<Record {len(self.observations)} observations, {len(self.steps)} steps>"
        )

    def step_at(self, at: float) -> str:
        """Say during which step something was; empty before the first one."""
        found = ""
        for step in self.steps:
            if step.begun > at:
                break
            found = f"{step.number} {step.name}"
        return found
