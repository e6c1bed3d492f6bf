"""A request's head as rules see it once it is known who asks. Pure.

What a check grants is what rules test and keys are made of, and never what a client wrote by
the same name: so a rule may lead a group of users to an arm. Heads are shared by requests and
never change; so this is another one.
"""

from __future__ import annotations

import re
from operator import attrgetter

import attrs

from http_trio.http1.request_head import RequestHead

_OWN = frozenset({"raw", "_start", "passed", "is_quiet", "shared", "cookie"})
_SAME = tuple(
    (field.name, attrgetter(field.name))
    for field in attrs.fields(RequestHead)
    if field.name not in _OWN
)
_set = object.__setattr__  # heads are frozen


def granted_head(
    head: RequestHead, hidden: re.Pattern[bytes] | None, lines: bytes
) -> RequestHead:
    r"""Give a head without some fields, and with others.

    Args:
        head: of the request.
        hidden: finds the fields that only checks may write, each led by CRLF.
        lines: that they wrote, each led by CRLF.

    >>> from http_trio.http1.request_head import parse_request_head
    >>> from http_trio.limits import Limits
    >>> raw = b"GET / HTTP/1.1\r\nHost: a\r\nx-user: root\r\n\r\n"
    >>> hidden = re.compile(rb"\r\nx-user:[^\r\n]*")
    >>> granted_head(parse_request_head(raw, Limits()), hidden, b"\r\nX-User: ann").raw
    b'GET / HTTP/1.1\r\nHost: a\r\nX-User: ann\r\n\r\n'
    """
    raw = head.raw if hidden is None else hidden.sub(b"", head.raw)
    if raw == head.raw and not lines:
        return head
    made = object.__new__(RequestHead)
    for name, get in _SAME:
        _set(made, name, get(head))
    _set(made, "raw", b"%b%b\r\n\r\n" % (raw[:-4], lines))
    _set(made, "_start", b"")
    _set(made, "passed", None)
    _set(made, "is_quiet", False)
    _set(made, "shared", None)
    _set(made, "cookie", b"")
    return made
