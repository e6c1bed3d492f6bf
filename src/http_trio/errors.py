"""What can go wrong on the wire, named by condition.

`ProtocolError` and its leaves are raised by the pure modules, which know the rule
that was broken; the lanes turn them into an answer or a closed connection. A
`Failure` is a value, not an exception: an upstream that fails is an ordinary
event, and whoever chose the upstream decides what follows.
"""

from __future__ import annotations

import enum

import attrs


class HttpError(Exception):
    """The root of the errors of this package."""


class BadBind(HttpError):
    """An address to listen on makes no sense, or cannot be had. The operator's fault.

    The message names the address, what is wrong with it, and what to do.
    """


class BadCertificate(HttpError):
    """A certificate, its key or an authority cannot be used. The operator's fault.

    The message names the file and what is wrong with it.
    """


class ProtocolError(HttpError):
    """A peer broke the rules of HTTP/1.1; its connection is of no further use."""


class BadRequest(ProtocolError):
    """A request that cannot be accepted. The client's fault; not to be retried as is.

    Attributes:
        status: the status code to answer with.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BadAnswer(ProtocolError):
    """An answer that cannot be passed on. The upstream's fault; answered with 502."""


class Condition(enum.Enum):
    """Why an upstream gave no usable answer."""

    UNREACHABLE = "unreachable"
    """The connection was refused, or there is no route for it."""

    UNTRUSTED = "untrusted"
    """The TLS handshake failed, or the certificate is not one that we trust."""

    CONNECT_TIMEOUT = "connect timeout"
    """No connection within `Limits.connect_s`."""

    FULL = "full"
    """`Limits.upstream_connections` are open already, or no descriptor is left to us."""

    CLOSED = "closed"
    """The upstream closed or reset the connection before its answer was complete."""

    ANSWER_TIMEOUT = "answer timeout"
    """No answer header within `Limits.answer_s`."""

    STALLED = "stalled"
    """No byte of a started answer for `Limits.stream_idle_s`."""

    BAD_ANSWER = "bad answer"
    """What came is not HTTP/1.1."""

    REQUEST_TIMEOUT = "request timeout"
    """The whole exchange took longer than `Waits.request_s`."""


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

    condition: Condition
    upstream: str
    sent: bool
    detail: str = ""

    @property
    def status(self) -> int:
        """The status that stands for it: 502, 503 or 504 (RFC 9110 section 15.6)."""
        return _STATUS.get(self.condition, 502)


_STATUS = {
    Condition.FULL: 503,
    Condition.CONNECT_TIMEOUT: 504,
    Condition.ANSWER_TIMEOUT: 504,
    Condition.STALLED: 504,
    Condition.REQUEST_TIMEOUT: 504,
}
