"""A request's head as it goes to a server. Pure.

The rule that it obeys: the fields that are end to end go on as they came; what says how the
connection is used, and where the body ends, is ours (RFC 9110 section 7.6).
"""

from __future__ import annotations

from http_trio.http1.framing import CHUNKED
from http_trio.http1.heads.head_values import HeadValues

BODY_METHODS = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose requests say how long their body is, even if they have none."""


def request_start(
    head: HeadValues, kept: bytes, host: bytes, prefix: bytes, framing: int
) -> bytes:
    """Give the head up to our own fields; the arguments are as of `render_request`."""
    if framing == CHUNKED:
        frame = b"\r\nTransfer-Encoding: chunked"
        if head.trailer:
            frame += b"\r\nTrailer: " + head.trailer
    elif framing or head.framing or head.method in BODY_METHODS:
        frame = b"\r\nContent-Length: %d" % framing
    else:
        frame = b""
    if head.upgrade is not None:
        frame += b"\r\nConnection: Upgrade\r\nUpgrade: " + head.upgrade
    elif head.takes_trailers:
        frame += b"\r\nConnection: TE\r\nTE: trailers"
    if head.expects_continue:
        frame += b"\r\nExpect: 100-continue"
    target = prefix + head.target if prefix and head.target != b"*" else head.target
    return b"".join(
        (head.method, b" ", target, b" HTTP/1.1\r\nHost: ", host, kept, frame)
    )
