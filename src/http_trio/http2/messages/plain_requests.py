"""Requests over HTTP/2 that most are: without a body, and with no field of a special kind.

All others are written as HTTP/1.1 and parsed (`heads.py`). These are taken as they are,
since what the parser would look for was looked at already: names and values by the
session (RFC 9113 section 8.2.1), the rest here. That is 4 us less of 9, for each request
of a browser.

The rule that it obeys: it gives what the parser would give, byte for byte, or nothing. A
test holds the two together.
"""

from __future__ import annotations

import re

from http_trio.hosts.host_field import is_host
from http_trio.http1.request_head import RequestHead, bodiless_request_head
from http_trio.http2.messages.heads import Field
from http_trio.limits import Limits

_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"DELETE"})
_TARGET = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]]*\Z")  # as of RFC 3986
_SPECIAL = frozenset(
    b"connection content-length cookie expect forwarded host keep-alive proxy-connection"
    b" sec-websocket-accept sec-websocket-key te trailer transfer-encoding upgrade"
    b" x-forwarded-for x-forwarded-host x-forwarded-proto".split()
)
_PSEUDO = 4  # :method, :scheme, :authority and :path


def plain_request(fields: tuple[Field, ...], limits: Limits) -> RequestHead | None:
    """Give the head of a request that has no body; None if it is none of the most.

    Args:
        fields: as they came, checked by the session, pseudo-header fields first.
        limits: that hold.

    >>> get = ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a"))
    >>> plain_request((*get, (b":authority", b"a.example")), Limits()).raw
    b'GET /a HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n'
    """
    pseudo = dict(fields[:_PSEUDO])
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    host = pseudo.get(b":authority", b"")
    lines, cookies = [b""], []
    for field in fields[_PSEUDO:]:
        name = field[0]
        if name not in _SPECIAL:
            lines.append(b": ".join(field))
        elif name == b"cookie":
            cookies.append(field[1])
        else:
            return None
    if cookies:
        lines.append(b"cookie: " + b"; ".join(cookies))  # RFC 9113 section 8.2.3
    if (
        method not in _METHODS
        or not host
        or _TARGET.match(target) is None
        or not is_host(host)
        or (len(lines) > 1 and lines[1][:1] == b":")
    ):
        return None
    kept = b"\r\n".join(lines)
    head = bodiless_request_head(method, target, host, kept)
    raw = head.raw
    if (
        raw.find(b"\r") > limits.request_line
        or len(lines) > limits.fields
        or len(raw) > limits.head
        or raw.count(b"\n") != len(lines) + 2
    ):
        return None
    return head
