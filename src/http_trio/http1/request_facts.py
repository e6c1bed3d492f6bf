"""What a handler reads of a request, by names rather than out of its head. Pure.

The rule that it obeys: everything here is looked up when it is asked for, since most
handlers ask for little.
"""

from __future__ import annotations

from http_trio.http1.fields import find_value, find_values
from http_trio.http1.grpc import grpc_error, is_grpc
from http_trio.http1.request_head import RequestHead
from http_trio.http1.response import Response


class RequestFacts:
    """A request.

    Attributes:
        head: its head.
    """

    __slots__ = ()
    head: RequestHead

    @property
    def protocol(self) -> str:
        """By what the request came: `"HTTP/1.0"`, `"HTTP/1.1"` or `"HTTP/2"`."""
        return "HTTP/1.0" if self.head.http10 else "HTTP/1.1"

    @property
    def method(self) -> str:
        """The method, `"GET"`."""
        return self.head.method.decode("ascii")

    @property
    def target(self) -> bytes:
        """The path and the query, percent-encoded as sent."""
        return self.head.target

    @property
    def path(self) -> bytes:
        """The target up to `?`, percent-encoded as sent."""
        return self.head.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The target after `?`, percent-encoded as sent; empty if there is none."""
        return self.head.target.partition(b"?")[2]

    @property
    def is_grpc(self) -> bool:
        """Whether it is a call of gRPC."""
        return self.head.method == b"POST" and is_grpc(self.header(b"content-type"))

    def header(self, name: bytes) -> bytes | None:
        """Give a field's first value without outer space; None if it is absent."""
        return find_value(self.head.raw, name)

    def headers(self, name: bytes) -> list[bytes]:
        """Give all values of a field, in order."""
        return find_values(self.head.raw, name)

    def suited(self, response: Response) -> Response:
        """Give an error as whoever asked can read it."""
        return grpc_error(response) if self.is_grpc else response

    def connection_value(self, *, keep: bool) -> bytes:
        """Give the value of the response's Connection field; empty for none."""
        if not keep:
            return b"close"
        return b"keep-alive" if self.head.http10 else b""
