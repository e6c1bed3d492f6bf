"""`Max-Forwards`: how many more proxies a TRACE or OPTIONS may pass. Pure.

RFC 9110 section 7.6.2: at 0 the proxy is the one that is asked; above it, it passes the
request on with one less. Other methods may say it too, and it means nothing there.
"""

from __future__ import annotations

import re

from http_trio.http1.response import Response

METHODS = frozenset({b"TRACE", b"OPTIONS"})

_FIELD = re.compile(
    rb"\r\nmax-forwards:[ \t]*([0-9]{1,10})[ \t]*(?=\r\n|\Z)", re.IGNORECASE
)
_ALLOWED = (b"Allow", b"GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH")


def hops_left(fields: bytes) -> int | None:
    """Give the value of a request's field; None if it has none that makes sense."""
    match = _FIELD.search(fields)
    return None if match is None else int(match[1])


def one_less(fields: bytes) -> bytes:
    """Give the fields with the value lowered by one, for the next proxy.

    >>> one_less(b"\\r\\nMax-Forwards: 3\\r\\nA: b")
    b'\\r\\nMax-Forwards: 2\\r\\nA: b'
    """
    return _FIELD.sub(
        lambda match: b"\r\nMax-Forwards: %d" % (int(match[1]) - 1), fields
    )


def respond_here(method: bytes) -> Response:
    """Answer as the last one; a TRACE is not echoed, since it may hold secrets."""
    if method == b"OPTIONS":
        return Response(204, headers=(_ALLOWED,))
    return Response(405, b"this proxy does not echo requests\n", headers=(_ALLOWED,))
