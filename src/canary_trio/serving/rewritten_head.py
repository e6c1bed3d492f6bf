"""A request's head that goes on with another target than it came with. Pure.

Heads are shared by requests and never change; so this is another one. What was asked for
is kept beside it, for logs, and as it was understood, for those who judge by it.
"""

from __future__ import annotations

import attrs

from http_trio.http1.request_head import RequestHead

_OWN = frozenset({"target", "_start"})


class RewrittenHead(RequestHead):
    """A head with another target.

    Attributes:
        asked: the target that the client sent.
        judged: the same, as far as the service will see what is in it.
    """

    __slots__ = ("asked", "judged")
    asked: bytes
    judged: bytes


def with_target(head: RequestHead, target: bytes, judged: bytes) -> RequestHead:
    """Give the head of the same request for another target.

    Args:
        head: as it came, or was made so before.
        target: what is asked of the service.
        judged: by what is said whether it may pass.

    >>> from http_trio.http1.request_head import parse_request_head
    >>> from http_trio.limits import Limits
    >>> head = parse_request_head(b"GET /api/x HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", Limits())
    >>> other = with_target(head, b"/x", b"/api/x")
    >>> other.target, other.asked, other.start
    (b'/x', b'/api/x', b'GET /x HTTP/1.1\\r\\nHost: a')
    """
    made = object.__new__(RewrittenHead)
    for field in attrs.fields(RequestHead):
        name = field.name
        if name not in _OWN:
            object.__setattr__(made, name, getattr(head, name))
    object.__setattr__(made, "target", target)
    object.__setattr__(made, "_start", b"")
    object.__setattr__(made, "asked", head.asked)
    object.__setattr__(made, "judged", judged)
    return made
