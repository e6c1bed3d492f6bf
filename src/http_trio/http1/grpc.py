"""What of gRPC concerns who passes it on: what a call is, and what its statuses mean. Pure.

A call is a POST whose response is 200 whatever came of it; `grpc-status` says that, in the
trailers, or in the head of a response that has nothing else. The rule that it obeys: both
tables are those of the gRPC project, so that a proxy and a client agree on whose fault it
was (`http-grpc-status-mapping.md`; `Grpc::Utility::grpcToHttpStatus` of Envoy).
"""

from __future__ import annotations

import re

from http_trio.http1.response import Response

OK, UNKNOWN, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 0, 2, 8, 12, 14

_CONTENT_TYPE = re.compile(rb"application/grpc(?:[+;\s]|\Z)", re.IGNORECASE)
_STATUS = re.compile(rb"[0-9]{1,9}\Z")
_UNPRINTABLE = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_OF_HTTP = {
    400: 13,
    401: 16,
    403: 7,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}
_TO_HTTP = {
    0: 200,
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
_HEADERS_OF_BODY = frozenset({b"allow", b"content-encoding", b"content-language"})


def is_grpc(content_type: bytes | None) -> bool:
    """Tell whether a message is of gRPC.

    >>> is_grpc(b"application/grpc+proto"), is_grpc(b"application/grpc-web")
    (True, False)
    """
    return content_type is not None and _CONTENT_TYPE.match(content_type) is not None


def parse_grpc_status(value: bytes | None) -> int:
    """Give what a complete response's grpc-status says; UNKNOWN if that is nothing.

    >>> parse_grpc_status(b"14"), parse_grpc_status(None)
    (14, 2)
    """
    if value is None or _STATUS.match(value) is None:
        return UNKNOWN
    return int(value)


def http_status_of(grpc_status: int) -> int:
    """Give the HTTP status that a grpc-status stands for: from 500 the server's fault.

    These are UNKNOWN (2), DEADLINE_EXCEEDED (4), UNIMPLEMENTED (12), INTERNAL (13),
    UNAVAILABLE (14) and DATA_LOSS (15), and whatever is not known.

    >>> [http_status_of(code) for code in (0, 5, 14, 99)]
    [200, 404, 503, 500]
    """
    return _TO_HTTP.get(grpc_status, 500)


def grpc_status_of(http_status: int) -> int:
    """Give the grpc-status that an error of HTTP stands for.

    >>> [grpc_status_of(status) for status in (503, 404, 408)]
    [14, 12, 2]
    """
    return _OF_HTTP.get(http_status, UNKNOWN)


def health_request(service: str) -> bytes:
    """Give the message that asks for a service's health (`grpc.health.v1`).

    >>> health_request("a.B")
    b'\\x00\\x00\\x00\\x00\\x05\\n\\x03a.B'
    """
    name = service.encode()
    message = b"\x0a%c%b" % (len(name), name) if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def is_serving(body: bytes) -> bool:
    """Tell whether what was answered says SERVING.

    >>> is_serving(b"\\0\\0\\0\\0\\x02\\x08\\x01"), is_serving(b"")
    (True, False)
    """
    return body == b"\0\0\0\0\x02\x08\x01"


def grpc_error(response: Response) -> Response:
    """Give an error as gRPC says it: a head, and nothing else.

    >>> grpc_error(Response(503, b"full")).headers
    ((b'grpc-status', b'14'), (b'grpc-message', b'full'))
    """
    words = response.body.strip()[:1024]
    message = _UNPRINTABLE.sub(lambda found: b"%%%02X" % found[0][0], words)
    code = response.grpc_status
    if code is None:
        code = grpc_status_of(response.status)
    said = (b"grpc-status", b"%d" % code)
    kept = [one for one in response.headers if one[0].lower() not in _HEADERS_OF_BODY]
    return Response(
        200,
        content_type=b"application/grpc",
        headers=(said, (b"grpc-message", message), *kept),
    )
