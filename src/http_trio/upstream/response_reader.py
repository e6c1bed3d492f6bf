"""One reader of a response's head, for all tasks that read one.

The fast path has none: it is given what came and waits for nothing. Everybody else reads
here, and puts into words of its own what went wrong. The rule that it obeys: no more
than the limit and one read is ever held, and what came behind the head is given back.
"""

from __future__ import annotations

import math

from http_trio.http1.body import Truncated
from http_trio.http1.response_head import (
    ResponseHead,
    check_unfinished_response,
    parse_response_head,
)
from http_trio.net.stream import ByteStream


async def read_head(
    stream: ByteStream,
    method: bytes,
    *,
    limit: float = math.inf,
    idle_s: float = math.inf,
) -> tuple[ResponseHead, bytes]:
    """Read the next head, an interim one too, and give what came behind it.

    Who wants the final head, or more of the body, puts that back into `stream.buffer`.

    Args:
        stream: where the response comes from.
        method: of the request, for where the response ends (RFC 9112 section 6.3).
        limit: bytes of the head beyond which no more is read.
        idle_s: how long nothing may come.

    Raises:
        BadResponse: it is none of HTTP, or beyond the limit.
        Truncated: the connection was closed before the head's end.
        trio.TooSlowError: nothing came for idle_s seconds.
        OSError: the other side is gone.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n") + 4) < 4:
        check_unfinished_response(data, limit)
        more = await stream.receive(idle_s)
        if not more:
            raise Truncated("closed without a response")
        data += more
    return parse_response_head(data[:end], method), data[end:]
