"""Why a server gave no usable response, as a value.

A server that fails is an ordinary event, so a `Failure` is no exception: it is told to
whoever chose the server, who decides what follows.
"""

from __future__ import annotations

import enum
import errno

import attrs


class FailureReason(enum.Enum):
    """Why an upstream gave no usable response."""

    UNREACHABLE = "unreachable"
    """The connection was refused, or there is no route for it."""

    UNTRUSTED = "untrusted"
    """The TLS handshake failed, or the certificate is not one that we trust."""

    CONNECT_TIMEOUT = "connect timeout"
    """No connection within `Limits.connect_s`."""

    FULL = "full"
    """`Limits.upstream_connections` are open already, or no descriptor is left to us."""

    CLOSED = "closed"
    """The upstream closed or reset the connection before its response was complete."""

    RESPONSE_TIMEOUT = "response timeout"
    """No response header within `Limits.answer_s`."""

    STALLED = "stalled"
    """No byte of a started response for `Limits.stream_idle_s`."""

    BAD_RESPONSE = "bad response"
    """What came is not HTTP of the version that was spoken."""

    UNSUPPORTED = "unsupported"
    """The upstream does not take such a request: a WebSocket over HTTP/2 (RFC 8441)."""

    REQUEST_TIMEOUT = "request timeout"
    """The whole exchange took longer than `Waits.request_s`."""

    @property
    def verdict(self) -> bool | None:
        """What it says of the server: False, or None where it is not at fault."""
        return None if self in _NO_FAULT else False

    @property
    def is_unreachable(self) -> bool:
        """Whether there was no connection, so that the server got nothing at all."""
        return self in _UNREACHABLE


@attrs.frozen
class Failure:
    """One failed try at one upstream.

    Attributes:
        condition: what happened.
        upstream: the name of the upstream.
        sent: whether a byte of the request may have reached the upstream. Where it
            has not, any request may be tried elsewhere; where it has, only an
            idempotent one (RFC 9110 section 9.2.2).
        detail: the reason in words, for a log.
    """

    condition: FailureReason
    upstream: str
    sent: bool
    detail: str = ""

    def as_error(self) -> ChannelFailed:
        """Give it as what a task is told that reads or writes."""
        return ChannelFailed(self)

    @property
    def status(self) -> int:
        """The status that stands for it: 502, 503 or 504 (RFC 9110 section 15.6)."""
        return _STATUS.get(self.condition, 502)


class ChannelFailed(ConnectionResetError):
    """A read or write of one who knows more than that the peer is gone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(errno.ECONNRESET, failure.detail)
        self.failure = failure


_STATUS = {
    FailureReason.FULL: 503,
    FailureReason.CONNECT_TIMEOUT: 504,
    FailureReason.RESPONSE_TIMEOUT: 504,
    FailureReason.STALLED: 504,
    FailureReason.REQUEST_TIMEOUT: 504,
}
_NO_FAULT = frozenset({FailureReason.FULL, FailureReason.UNSUPPORTED})
_UNREACHABLE = frozenset(
    {FailureReason.UNREACHABLE, FailureReason.CONNECT_TIMEOUT, FailureReason.UNTRUSTED}
)
