"""A copy of a request, as the arm that gets it would get the original.

It says `X-Canary-Mirror: 1`, so that its receiver can tell it apart, and has a connection of
its own, which ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_trio import FetchResult, Upstream, introduce
from http_trio.http1.grpc import http_status_of, is_grpc, parse_grpc_status
from http_trio.http1.request_head import render_request

if TYPE_CHECKING:
    from http_trio import Exchange

_ADDED = b"\r\nX-Canary-Mirror: 1\r\nConnection: close"


class Copy:
    """One request to be sent again.

    Attributes:
        method: of it.
        request: all of it.
        upstream: where to.
        lead: what its connection begins with.
    """

    __slots__ = ("lead", "method", "request", "upstream")

    def __init__(
        self, exchange: Exchange, fields: bytes, body: bytes, upstream: Upstream
    ) -> None:
        head = exchange.head
        added = exchange.forwarded_fields() + _ADDED
        rendered = render_request(
            *(head, upstream.host, added, len(body)),
            prefix=upstream.prefix,
            kept=fields,
        )
        self.method = head.method
        self.request = rendered + body
        self.upstream = upstream
        version = upstream.proxy_protocol
        self.lead = b"" if version is None else introduce(exchange, version)

    def __repr__(self) -> str:
        return f"<Copy {self.method!r} to {self.upstream}>"


def stands_for(response: FetchResult) -> int:
    """Give the status of a response, or that which its grpc-status stands for."""
    if not is_grpc(response.value(b"content-type")):
        return response.status
    return http_status_of(parse_grpc_status(response.value(b"grpc-status")))
