"""What the one who forwards a request adds, decides and learns.

Whoever carries the request asks its `ForwardHooks` at the few places where there is a
choice. The rule that they obey: hooks decide at once and touch no socket. What they may
ask of the request is stated here, so that they know nothing of how it is carried.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import attrs

from http_trio.http1.response import Response, error_response
from http_trio.http1.response_head import ResponseHead
from http_trio.limits import Timeouts
from http_trio.proxy.codings.coders import Encoder
from http_trio.server.exchange import Exchange
from http_trio.upstream.failure import Failure, FailureReason
from http_trio.upstream.pool import Upstream

_FULL_RETRY_AFTER_S = 1


@attrs.frozen
class Retry:
    """Try an upstream, but only after a pause, in seconds.

    A client that leaves meanwhile ends the exchange.
    """

    upstream: Upstream
    after_s: float


class ForwardedRequest(Protocol):
    """The request, as its hooks see it."""

    @property
    def exchange(self) -> Exchange:
        """The exchange that is forwarded."""

    @property
    def body(self) -> bytes | None:
        """The request's body, if it is held whole; None if it is streamed."""

    @property
    def can_repeat(self) -> bool:
        """Whether it is held whole, and nothing of a response has gone out."""

    @property
    def content_bytes(self) -> int:
        """Bytes of the response's content as its server sent it, once it has ended."""

    @property
    def grpc_status(self) -> int | None:
        """What a call of gRPC came to; None if it is none, or is not over."""


class ForwardHooks:
    """What the one who forwards adds, decides and learns. Made to be subclassed.

    Attributes:
        request_fields: lines added to the request, each led by CRLF.
        response_fields: lines added to the response, each led by CRLF.
        fields: what of the request's own fields goes on, each line led by CRLF, without
            Host; None for `head.kept`.
        timeouts: how long this request may take; None for the limits of `serve`.
        reads_responses: whether `on_response` is to be called.
        encoder: what encodes the response's body; `on_response` sets it, and the fields
            that say so, and it is taken from there. None to pass the body on as it is.
    """

    __slots__ = ("fields", "request_fields", "response_fields", "timeouts")

    reads_responses: ClassVar[bool] = False
    encoder: Encoder | None = None

    def __init__(
        self,
        request_fields: bytes = b"",
        response_fields: bytes = b"",
        timeouts: Timeouts | None = None,
    ) -> None:
        self.fields: bytes | None = None
        self.request_fields = request_fields
        self.response_fields = response_fields
        self.timeouts = timeouts

    def on_failure(
        self, request: ForwardedRequest, failure: Failure
    ) -> Upstream | Retry | None:
        """Give another upstream to try, or None to answer with an error.

        Called when nothing of a response has gone out. Where `failure.sent`, only a
        request whose `head.repeatable` holds may be sent again.
        """
        del request, failure
        return None

    def on_response(
        self, request: ForwardedRequest, head: ResponseHead
    ) -> Upstream | Retry | None:
        """Look at a final response's head, of which nothing has gone out; None lets it.

        Called only where `reads_responses` holds. It may change `head.kept`, the
        fields that go to the client, and `response_fields`. To give an upstream drops
        this response and sends the request there; only while `request.can_repeat`.
        """
        del request, head
        return None

    def passes_trailer(self, line: bytes) -> bool:
        """Tell whether a trailer of the request may go on, as far as its name goes.

        Whoever leaves out or adds fields decides here what no client may say behind its
        body: servers may read trailers as fields. It is called for each, with its line.
        """
        del line
        return True

    def error_response(self, request: ForwardedRequest, failure: Failure) -> Response:
        """Give the response for a failure that is final."""
        del request
        full = failure.condition is FailureReason.FULL
        return error_response(
            failure.status,
            failure.condition.value,
            retry_after_s=_FULL_RETRY_AFTER_S if full else None,
        )

    def on_end(
        self, request: ForwardedRequest, status: int, failure: Failure | None
    ) -> None:
        """Learn the end: the status that went out (0 if none), and what went wrong.

        Neither a status nor a failure means that the client went away first.
        """
