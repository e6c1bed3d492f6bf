"""What is counted of the clients of one server: plain whole numbers, by names.

The rule that it obeys: what happens for each request adds to one number here, and all
else is done when somebody reads. Numbers only grow, but for `open`.
"""

from __future__ import annotations

from collections import Counter

CLIENT, PROXY, SERVER = "client", "proxy", "upstream"
"""Who ended a stream before its time."""


FAULTS = frozenset({"fault", "flood"})
"""Reasons of a GOAWAY that are the client's fault."""


class TrafficCounts:
    """The counts of one server.

    Attributes:
        connections: those of which it is known what they speak, by protocol:
            `"HTTP/1.1"`, which is 1.0 too, or `"HTTP/2"`.
        open: those that are open, by protocol; empty where it is not known yet.
        streams: requests over HTTP/2, whatever became of them.
        ended_streams: those that are over.
        resets: streams that were reset, by who did it or made us do it (`"client"`,
            `"proxy"` or `"upstream"`) and the error code's name, such as `"CANCEL"`.
        goaways: HTTP/2 connections that we ended by GOAWAY, by the reason
            (`"draining"`, `"idle"`, `"full"`, `"flood"` or `"fault"`) and the error
            code's name.
    """

    __slots__ = (
        "connections",
        "ended_streams",
        "goaways",
        "open",
        "resets",
        "streams",
    )

    def __init__(self) -> None:
        self.connections: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.streams = self.ended_streams = 0
        self.resets: Counter[tuple[str, str]] = Counter()
        self.goaways: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f"<TrafficCounts open={dict(self.open)} streams={self.open_streams}>"

    @property
    def open_streams(self) -> int:
        """Requests over HTTP/2 that are in progress."""
        return self.streams - self.ended_streams

    def connected(self, protocol: str) -> None:
        """Count a connection of which it is known what it speaks, or not yet."""
        self.open[protocol] += 1
        if protocol:
            self.connections[protocol] += 1

    def disconnected(self, protocol: str) -> None:
        """Count that one is closed, or has become another."""
        self.open[protocol] -= 1
