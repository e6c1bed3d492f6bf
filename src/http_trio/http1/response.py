"""Responses of our own: values that are rendered once and sent to anybody.

A `Response` knows nothing of a connection. Whether it lives on is said by a
`Connection` line that goes between the rendered head and the body, so a thousand
parked exchanges can be sent the same bytes.
"""

from __future__ import annotations

import http
from email.utils import formatdate
from time import time as _now

import attrs

_PHRASES = {status.value: status.phrase.encode() for status in http.HTTPStatus}
_NO_BODY = frozenset({204, 304})


@attrs.define(eq=False, hash=False)
class Response:
    """A whole response. Treat it as frozen: what it renders to is kept for a second.

    A response that is kept and sent again later is rendered anew, with the Date of then
    (RFC 9110 section 6.6.1).

    Attributes:
        status: 200 to 599.
        body: its content; left out for HEAD by the engine.
        content_type: None for no such field.
        headers: further fields, as (name, value) pairs. Content-Length, Date,
            Connection and Transfer-Encoding are the engine's.
        grpc_status: what a call of gRPC is told; None for what the status stands for.

    >>> Response(404, b"no such key").head.splitlines()[0]
    b'HTTP/1.1 404 Not Found'
    """

    status: int
    body: bytes = b""
    content_type: bytes | None = b"text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    grpc_status: int | None = None
    _until: float = attrs.field(default=0.0, init=False, repr=False)
    _head: bytes = attrs.field(default=b"", init=False, repr=False)
    _whole: bytes = attrs.field(default=b"", init=False, repr=False)

    @property
    def head(self) -> bytes:
        """The status line and the fields, without the empty line that ends them."""
        if _now() >= self._until:
            self._head, self._whole = self._render_head(), b""
            self._until = _Clock.second + 1
        return self._head

    def render(self, *, for_head: bool = False, connection: bytes = b"") -> bytes:
        """Give the bytes to send.

        Args:
            for_head: the request was HEAD, so no body follows.
            connection: the value of the Connection field; none if empty.
        """
        if not connection and not for_head:
            if not self._whole or _now() >= self._until:
                self._whole = b"%b\r\n\r\n%b" % (self.head, self._sent_body)
            return self._whole
        line = b"\r\nConnection: " + connection if connection else b""
        body = b"" if for_head else self._sent_body
        return b"%b%b\r\n\r\n%b" % (self.head, line, body)

    @property
    def _sent_body(self) -> bytes:
        return b"" if self.status in _NO_BODY else self.body

    def render_start(self, *, chunked: bool, connection: bytes = b"") -> bytes:
        """Give the head of a response whose body follows in parts, of unknown length."""
        lines = self._lines()
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
        if connection:
            lines.append(b"Connection: " + connection)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _render_head(self) -> bytes:
        lines = self._lines()
        if self.status not in _NO_BODY:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines)

    def _lines(self) -> list[bytes]:
        phrase = _PHRASES.get(self.status, b"")
        lines = [b"HTTP/1.1 %d %b" % (self.status, phrase), b"Date: " + http_date()]
        if self.content_type is not None and self.status not in _NO_BODY:
            lines.append(b"Content-Type: " + self.content_type)
        return lines + [b"%b: %b" % pair for pair in self.headers]


class _Clock:
    """The current second as an HTTP date, written once a second."""

    second = -1
    text = b""


def http_date() -> bytes:
    """Give the time as a Date value (RFC 9110 section 5.6.7)."""
    second = int(_now())
    if second != _Clock.second:
        _Clock.second = second
        _Clock.text = formatdate(second, usegmt=True).encode()
    return _Clock.text


def error_response(
    status: int, reason: str, *, retry_after_s: int | None = None
) -> Response:
    """Give the response that stands for an error: its status in words, and the reason."""
    phrase = _PHRASES.get(status, b"Error").decode()
    text = f"{status} {phrase}: {reason}\n" if reason else f"{status} {phrase}\n"
    headers = (
        () if retry_after_s is None else ((b"Retry-After", b"%d" % retry_after_s),)
    )
    return Response(status, text.encode("utf-8", "replace"), headers=headers)
