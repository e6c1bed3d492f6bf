"""The faults that end an exchange in the slow path early, each named by who is at fault.

`BadRequest` is the third: a client that breaks the rules in the middle of its body.
"""

from __future__ import annotations

from http_trio.errors import BadRequest
from http_trio.upstream.failure import ChannelFailed, Failure, FailureReason


class ClientGone(Exception):
    """The client went away, or takes nothing any more."""


class HandlerFailed(Exception):
    """Code that decides on the exchange raised, elsewhere."""


class UpstreamFailed(Exception):
    """The upstream gave no response, or only a part of one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure

    @classmethod
    def because(
        cls, condition: FailureReason, upstream: str, detail: str = ""
    ) -> UpstreamFailed:
        """Say so of an upstream that may have got the request."""
        return cls(Failure(condition, upstream, sent=True, detail=detail))

    @classmethod
    def by(cls, exc: Exception, upstream: str) -> UpstreamFailed:
        """Say so of an upstream that could not be read from or written to."""
        if isinstance(exc, ChannelFailed):
            return cls(exc.failure)
        return cls.because(FailureReason.CLOSED, upstream, str(exc))


Fault = BadRequest | ClientGone | HandlerFailed | UpstreamFailed
FAULTS = (BadRequest, ClientGone, UpstreamFailed)
