"""Requests from HTTP/1.1 bytes to HTTP/2 fields, and responses back, pure.

Requests were checked when they came, so they are only taken apart here. Responses become
what the one parser of responses reads; whatever HTTP/2 can say and HTTP/1.1 cannot is
refused before it reaches a client.

The rule that it obeys: a response's Content-Length is kept; a body without one, and
trailers, are chunked, so that an end of a response is one only where the server said so.
"""

from __future__ import annotations

import base64
import hashlib
import http

import attrs

from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE
from http_trio.http2.messages.heads import Field, Malformed

_PHRASES = {b"%d" % one.value: one.phrase.encode() for one in http.HTTPStatus}
_OF_ONE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade".split()
)
"""Fields that speak of one connection (RFC 9113 section 8.2.2)."""

_NOT_IN_WEBSOCKET = frozenset({b"sec-websocket-accept", b"content-length"})
_NO_BODY = (b"204", b"304")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


@attrs.frozen
class Http2Request:
    """A request's head, as HTTP/2 says it.

    Attributes:
        fields: pseudo-header fields first.
        framing: of the body that follows, as it is written here.
        is_head: whether its response has no body.
        websocket_key: of an opening handshake, which HTTP/2 does not have; empty if it
            is none.
        takes_trailers: whether it says that trailers are of use.
    """

    fields: list[Field]
    framing: int
    is_head: bool
    websocket_key: bytes = b""
    takes_trailers: bool = False


def request_fields(head: bytes, scheme: bytes) -> Http2Request:
    r"""Take a request's head apart, which is whole and without the empty line.

    >>> request_fields(b"GET /a HTTP/1.1\r\nHost: b\r\nX-C: d", b"http").fields[2:]
    [(b':path', b'/a'), (b':authority', b'b'), (b'x-c', b'd')]
    """
    start, *lines = head.split(b"\r\n")
    method, target, _ = start.split(b" ")
    framing, key, authority, is_websocket = 0, b"", b"", False
    fields: list[Field] = []
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            authority = value
        elif name == b"sec-websocket-key":
            key = value
        elif name == b"upgrade":
            is_websocket = value == b"websocket"
        elif name == b"transfer-encoding":
            framing = CHUNKED
        elif name not in _OF_ONE_CONNECTION:
            fields.append((name, value))
            if name == b"content-length":
                framing = int(value)
    first = [
        (b":method", b"CONNECT" if is_websocket else method),
        (b":scheme", scheme),
        (b":path", target),
        (b":authority", authority),
    ]
    if is_websocket:  # RFC 8441 section 4
        first.append((b":protocol", b"websocket"))
        framing = UNTIL_CLOSE
    elif key:
        fields.append((b"sec-websocket-key", key))
        key = b""
    return Http2Request(
        first + fields, framing, method == b"HEAD", key, b"\r\nTE: " in head
    )


def interim_head(fields: tuple[Field, ...]) -> bytes:
    """Give the head of a 1xx response as HTTP/1.1 writes it.

    Raises:
        Malformed: it cannot be written so.
    """
    status, lines, _ = _take_apart(fields, frozenset())
    if status == b"101":
        raise Malformed("101 does not exist in HTTP/2")
    return _join(status, lines)


def response_head(
    fields: tuple[Field, ...], *, is_head: bool, websocket_key: bytes = b""
) -> tuple[bytes, int]:
    """Give a final response's head as HTTP/1.1 writes it, and its body's framing.

    Args:
        fields: as they came.
        is_head: whether the request was HEAD.
        websocket_key: what a 2xx is to accept, as a 101 (RFC 8441 section 5); empty if
            the request opened no WebSocket.

    Raises:
        Malformed: it cannot be written so.

    >>> response_head(((b":status", b"200"), (b"content-length", b"3")), is_head=False)
    (b'HTTP/1.1 200 OK\\r\\ncontent-length: 3\\r\\n\\r\\n', 3)
    """
    if websocket_key and fields[0][1][:1] == b"2":
        _, lines, _ = _take_apart(fields, _NOT_IN_WEBSOCKET)
        accept = hashlib.sha1(websocket_key + _GUID, usedforsecurity=False).digest()
        lines += [
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept),
        ]
        return _join(b"101", lines), UNTIL_CLOSE
    status, lines, length = _take_apart(fields, frozenset())
    if is_head or status in _NO_BODY:
        return _join(status, lines), 0
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
        return _join(status, lines), CHUNKED
    return _join(status, lines), length


def _take_apart(
    fields: tuple[Field, ...], leave_out: frozenset[bytes]
) -> tuple[bytes, list[bytes], int | None]:
    """Give the status, the other fields as lines, and the length that they state."""
    status, length = b"", None
    lines = []
    for name, value in fields:
        if name == b":status":
            status = value
        elif name in _OF_ONE_CONNECTION:
            raise Malformed(f"{name.decode()}, a field that speaks of the connection")
        elif name not in leave_out:
            lines.append(b"%b: %b" % (name, value))
            if name == b"content-length":
                if length is not None or not value.isdigit():
                    raise Malformed(f"content-length {value[:40]!r}")
                length = int(value)
    return status, lines, length


def _join(status: bytes, lines: list[bytes]) -> bytes:
    start = b"HTTP/1.1 %b %b" % (status, _PHRASES.get(status, b""))
    head = b"\r\n".join([start, *lines, b"\r\n"])
    if head.count(b"\r") != len(lines) + 2 or head.count(b"\n") != len(lines) + 2:
        raise Malformed("a line end within a field")
    return head
