"""HTTP/2 fields to HTTP/1.1 bytes, and back, pure.

Within the engine a message is written as HTTP/1.1 writes it. A stream's request becomes
such bytes before anybody looks at it, and goes through the one parser that all requests
go through; so whatever HTTP/2 can say and HTTP/1.1 cannot (RFC 9113 section 8.2.1) is
refused before it reaches a server, and there is one place that decides what passes.
What goes out is taken apart again.

The rule that it obeys: what would read differently on the other side is refused, never
repaired. Names are in lower case in HTTP/2 (section 8.2), and stay so.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterable

from http_trio.errors import BadRequest, ProtocolError
from http_trio.http1.fields import find_value
from http_trio.http1.framing import CHUNKED, UNTIL_CLOSE

Field = tuple[bytes, bytes]

_NOT_IN_HTTP2 = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade".split()
)
"""Fields that speak of one connection (RFC 9113 section 8.2.2)."""

_SPECIAL = _NOT_IN_HTTP2 | {
    *(b"cookie", b"host", b"content-length"),
    *(b"sec-websocket-key", b"sec-websocket-accept"),  # of HTTP/1.1 only (RFC 8441)
}
_BODILESS = (b"204", b"304")  # RFC 9110 section 6.4.1
_WEBSOCKET_ANSWER = _NOT_IN_HTTP2 | {b"sec-websocket-accept", b"content-length"}
_KNOWN = 512  # heads of responses that are kept,
_KNOWN_SIZE = 2048  # bytes of one of them
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_BREAKS = (b"\r", b"\n", b"\0")


class Malformed(ProtocolError):
    """A message that HTTP/1.1 would read otherwise; the stream is to be reset."""


def request_head(
    fields: tuple[Field, ...], *, ended: bool, draw: Callable[[int], bytes]
) -> tuple[bytes, bytes]:
    """Give a request's head as HTTP/1.1 writes it, and a WebSocket's key if it opens one.

    An extended CONNECT becomes an opening handshake (RFC 8441 section 5), which has a
    key that HTTP/2 does not have.

    Args:
        fields: as they came, pseudo-header fields first.
        ended: whether no body follows.
        draw: gives random bytes, so many.

    Raises:
        Malformed: it cannot be written so.
        BadRequest: it is for a protocol that is not known.

    >>> get = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a"))
    >>> request_head((*get, (b":authority", b"a.example")), ended=True, draw=bytes)
    (b'GET /a HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n', b'')
    """
    special = [one for one in fields if one[0] in _SPECIAL]
    if special:
        fields = tuple([one for one in fields if one[0] not in _SPECIAL])
    at = 2  # a CONNECT has two, all others more (RFC 9113 sections 8.3.1 and 8.5)
    while fields[at : at + 1] and fields[at][0][:1] == b":":
        at += 1
    pseudo = dict(fields[:at])
    lines = list(map(b": ".join, fields[at:]))
    hosts, has_length = _write_special(special, lines)
    method, target = pseudo.get(b":method"), pseudo.get(b":path")
    authority = _authority(pseudo.get(b":authority"), hosts)
    key = b""
    if b":protocol" in pseudo:
        if has_length:
            raise Malformed("a length of what has no end")
        key = draw(16)
        lines += _handshake(method, pseudo[b":protocol"], key)
        method = b"GET"
    elif method == b"CONNECT":
        target = authority  # RFC 9113 section 8.5; refused by who parses it
    elif not ended and not has_length:
        lines.append(b"Transfer-Encoding: chunked")
    if method is None or target is None or authority is None:
        raise Malformed("no method, no path or no authority")
    if target[:1] != b"/" and target is not authority and target != b"*":
        raise Malformed(f":path {target[:40]!r}")  # in HTTP/1.1 it would name a host
    start = b"%b %b HTTP/1.1\r\nHost: %b" % (method, target, authority)
    data = b"\r\n".join([start, *lines, b"\r\n"])
    if data.count(b"\r\n") != len(lines) + 3:
        raise Malformed("a line end within a field")
    return data, key


def accepts_websocket(head: bytes, key: bytes) -> bool:
    """Tell whether a 101 answers the key of its opening handshake.

    The client of HTTP/2 cannot look, since it never saw one (RFC 6455 section 4.2.2).
    """
    wanted = base64.b64encode(
        hashlib.sha1(base64.b64encode(key) + _GUID, usedforsecurity=False).digest()
    )
    return find_value(head, b"sec-websocket-accept") == wanted


def response_fields(
    head: bytes, *, is_websocket: bool = False
) -> tuple[tuple[Field, ...], int]:
    """Give the fields of a response's head, `:status` first, and its body's framing.

    Args:
        head: status line and field lines as the engine writes them, without the empty
            line.
        is_websocket: a 101 it is, which says 200 in HTTP/2 (RFC 8441 section 5).

    >>> response_fields(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\nConnection: close")
    (((b':status', b'200'), (b'content-length', b'3')), 3)
    """
    read = _read_known if len(head) <= _KNOWN_SIZE else _read_response
    return read(head, is_websocket)


def _read_response(
    head: bytes,
    is_websocket: bool,  # noqa: FBT001  # positional: so it is looked up
) -> tuple[tuple[Field, ...], int]:
    lines = head.split(b"\r\n")
    fields = [(b":status", b"200" if is_websocket else lines[0][9:12])]
    leave_out = _WEBSOCKET_ANSWER if is_websocket else _NOT_IN_HTTP2
    framing = UNTIL_CLOSE
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name not in leave_out:
            fields.append((name, value))
            if name == b"content-length":
                framing = int(value)
        elif name == b"transfer-encoding":
            framing = CHUNKED
    if fields[0][1] in _BODILESS:
        framing = 0
    return tuple(fields), framing


_read_known = functools.lru_cache(_KNOWN)(_read_response)
"""Responses come again, byte for byte, up to their Date's next second."""


def trailer_fields(lines: Iterable[bytes]) -> list[Field]:
    """Give the fields of trailer lines, as HTTP/1.1 writes them."""
    fields = []
    for line in lines:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def trailer_lines(fields: tuple[Field, ...]) -> bytes:
    """Give trailers as HTTP/1.1 writes them, each line ended by CRLF.

    Raises:
        Malformed: they cannot be written so.
    """
    for name, value in fields:
        if any(mark in name or mark in value for mark in _BREAKS):
            raise Malformed("a CR, LF or NUL in a trailer")
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def _only(seen: bytes | None, value: bytes) -> bytes:
    if seen is not None:
        raise Malformed("more than one host")
    return value


def _write_special(
    special: list[Field], lines: list[bytes]
) -> tuple[list[bytes], bool]:
    """Write the fields that differ in HTTP/1.1.

    Gives the hosts that they name, and whether one is the body's length.
    """
    hosts, cookies, has_length = [], [], False
    for name, value in special:
        if name == b"cookie":
            cookies.append(value)
        elif name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            has_length = True
            lines.append(b"content-length: " + value)
        elif name in _NOT_IN_HTTP2:
            raise Malformed("a field that speaks of the connection")
    if cookies:  # RFC 9113 section 8.2.3
        lines.append(b"cookie: " + b"; ".join(cookies))
    return hosts, has_length


def _authority(authority: bytes | None, hosts: list[bytes]) -> bytes | None:
    """Give whom the request is for (RFC 9113 section 8.3.1)."""
    if len(hosts) > 1:
        raise Malformed("more than one host")
    if not hosts:
        return authority
    if authority is not None and hosts[0] != authority:
        raise Malformed(f":authority {authority[:60]!r} but host {hosts[0][:60]!r}")
    return hosts[0]


def _handshake(method: bytes | None, protocol: bytes, key: bytes) -> list[bytes]:
    if method != b"CONNECT":
        raise Malformed(":protocol without CONNECT")
    if protocol != b"websocket":
        raise BadRequest(501, f":protocol {protocol[:40]!r}, only websocket is known")
    return [
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: " + base64.b64encode(key),
    ]
