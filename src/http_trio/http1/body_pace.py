"""What the sender of a body may take: time, which it earns, and room. Pure.

A wait between two bytes alone lets one byte in half a minute hold whatever hangs on a
request, for days. So each byte earns its share of a second (`Limits.body_rate`), waiting
uses it up, and no more than `Limits.body_s` is ever saved: who was fast may pause that
long, and who is slower than the rate is told so after little more than that. It is a
token bucket, as in Apache's `mod_reqtimeout` (`MinRate`) and Kestrel's
`MinRequestBodyDataRate`.

Room is for whoever passes the body on to bound. What is declared to be too large is
refused before anything is passed on; `BodyLimit` is for what only shows on its way, chunks
and streams of HTTP/2.

The rule that it obeys: only content counts, since framing may be made of anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from http_trio.errors import BadRequest
from http_trio.limits import Limits

TOO_SLOW = "the body did not come in time"
"""What a 408 for it says."""


class BodyPace:
    """One body's sender.

    Attributes:
        left_s: how long it may be waited for now; 0 where its time is over, however late
            that is found.

    >>> pace = BodyPace(Limits(body_s=30, body_rate=100))
    >>> pace.took(200, waited_s=10)
    >>> pace.left_s
    22.0
    """

    __slots__ = ("_byte_s", "_most_s", "left_s")

    def __init__(self, limits: Limits) -> None:
        self.left_s = self._most_s = limits.body_s
        self._byte_s = 1 / limits.body_rate if limits.body_rate else math.inf

    def __repr__(self) -> str:
        return f"<BodyPace left_s={self.left_s:.1f}>"

    def took(self, count: int, waited_s: float) -> None:
        """Note that so many bytes of content came, after a wait."""
        left_s = self.left_s - waited_s
        if count:
            left_s += count * self._byte_s
        self.left_s = max(0.0, min(self._most_s, left_s))


@attrs.frozen
class BodyLimit:
    """A bound on a body that is passed on.

    Attributes:
        size: bytes of content at most.
        on_exceeded: called when there are more; the request is refused then.
    """

    size: int
    on_exceeded: Callable[[], None]

    def check(self, size: int) -> None:
        """Look at how much has come.

        Raises:
            BadRequest: 413, it is too much.
        """
        if size > self.size:
            self.on_exceeded()
            raise BadRequest(413, f"the body is larger than {self.size} bytes")
