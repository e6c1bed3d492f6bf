"""Where a message's body ends: the one framing decision (RFC 9112 section 6.3).

Both directions come here, and nothing else in the package reads Content-Length or
Transfer-Encoding. The rule that it obeys: when two readers could disagree about
where a message ends, it is refused. So both fields at once, a repeated length, any
coding but `chunked`, and `chunked` in HTTP/1.0 are refused, though the RFC lets a
recipient repair some of them.

A body's framing is a number: its length, or one of the two below zero.
"""

from __future__ import annotations

import re

from http_trio.errors import BadRequest, BadResponse

CHUNKED = -1
"""The body says itself where it ends."""

UNTIL_CLOSE = -2
"""The body ends with the connection; only a response can be framed so."""

_LENGTH = re.compile(rb"[0-9]{1,18}\Z")  # below 2**63: no overflow anywhere behind us


def request_framing(lengths: list[bytes], codings: list[bytes], *, http10: bool) -> int:
    """Decide how a request's body is framed.

    Args:
        lengths: the values of its Content-Length fields, as sent, without outer space.
        codings: the values of its Transfer-Encoding fields, likewise.
        http10: whether it came as HTTP/1.0.

    Raises:
        BadRequest: with 400, or 501 for a coding that we do not know.
    """
    if codings:
        if lengths:
            raise BadRequest(400, "both Content-Length and Transfer-Encoding")
        if http10:
            raise BadRequest(400, "Transfer-Encoding in HTTP/1.0")
        names = _coding_names(codings)
        if names == [b"chunked"]:
            return CHUNKED
        if names and names[-1] == b"chunked" and names.count(b"chunked") == 1:
            raise BadRequest(501, f"transfer coding {names[0]!r}")
        raise BadRequest(400, "Transfer-Encoding that does not end in chunked")
    if not lengths:
        return 0
    length = _length(lengths)
    if length is None:
        raise BadRequest(400, f"Content-Length {b', '.join(lengths)[:60]!r}")
    return length


def response_framing(
    status: int,
    method: bytes,
    lengths: list[bytes],
    codings: list[bytes],
    *,
    http10: bool,
) -> int:
    """Decide how a response's body is framed, given the method of its request.

    Raises:
        BadResponse: the framing is ambiguous or unknown.
    """
    if not codings and len(lengths) == 1 and status >= 200 and method != b"HEAD":
        length = _length(lengths)  # as most are
        if length is not None:
            return 0 if status in (204, 304) else length
    if codings:
        if lengths:
            raise BadResponse("both Content-Length and Transfer-Encoding")
        if http10 or _coding_names(codings) != [b"chunked"]:
            raise BadResponse(f"Transfer-Encoding {b', '.join(codings)[:60]!r}")
    length = _length(lengths) if lengths else None
    if lengths and length is None:
        raise BadResponse(f"Content-Length {b', '.join(lengths)[:60]!r}")
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return 0
    if codings:
        return CHUNKED
    return UNTIL_CLOSE if length is None else length


def _coding_names(codings: list[bytes]) -> list[bytes]:
    return [name.strip(b" \t").lower() for name in b",".join(codings).split(b",")]


def _length(values: list[bytes]) -> int | None:
    if len(values) != 1 or _LENGTH.match(values[0]) is None:
        return None
    return int(values[0])
